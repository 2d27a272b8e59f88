"""The house style of the book's figures: one palette with fixed meanings, intervals, labels beside lines.

A chapter calls :func:`use_style` once, draws with matplotlib, and takes from here what every figure shares.
A figure has dark ink on white and is drawn at twice the resolution of the page; in dark mode the page shows
it on a white card. Colours are those of Okabe and Ito (the vermilion darker, for text), which readers with any
common colour blindness tell apart, and a colour never carries a meaning alone: the line's name stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

BATCH_NORM = "#0072B2"
"""Blue: the network, curve or quantity with batch normalization."""

NONE = "#C24E00"
"""Vermilion: the same without normalization."""

REFERENCE = "#6B6B6B"
"""Grey: a theory, a target, a line of no effect."""

OTHERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Green, purple, orange, sky: further series, in this order, with no fixed meaning."""

INK = "#1F2328"

WIDTH = 7.0
"""Width of a figure in inches. Keep it, and vary the height: then text has one size throughout the book."""


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("bncourse.plots needs matplotlib: pip install 'bncourse[lab]'") from error
    return plt


def use_style() -> None:
    """Set matplotlib's defaults to the house style, for the rest of the session.

    Raises
    ------
    ImportError : if matplotlib is not installed; the message says how to install it.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from bncourse.plots import use_style
    >>> with plt.rc_context():
    ...     use_style()
    ...     upper_edge = plt.rcParams["axes.spines.top"]
    >>> upper_edge
    False
    """
    plt = _pyplot()
    plt.rcParams.update(
        {
            "figure.figsize": (WIDTH, 3.8),
            "figure.dpi": 200,
            "savefig.dpi": 200,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "figure.constrained_layout.use": True,
            "font.family": "DejaVu Sans",
            "mathtext.fontset": "dejavusans",
            "font.size": 10,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "axes.facecolor": "white",
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "axes.titlecolor": INK,
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#E3E3E3",
            "grid.linewidth": 0.8,
            "lines.linewidth": 2.0,
            "lines.markersize": 6,
            "legend.frameon": False,
            "axes.prop_cycle": plt.cycler(color=[BATCH_NORM, NONE, *OTHERS]),
        }
    )


def band(ax: Axes, x: ArrayLike, estimate: ArrayLike, low: ArrayLike, high: ArrayLike, color: str, **line: Any) -> None:
    """Draw an estimate as a line and its interval as a band of the same colour.

    Parameters
    ----------
    ax : where to draw.
    x, estimate, low, high : (n,) each.
    color : one of this module's colours.
    **line : passed to ``ax.plot`` (a marker, a line style).
    """
    ax.plot(x, estimate, color=color, **line)
    ax.fill_between(np.asarray(x), np.asarray(low), np.asarray(high), color=color, alpha=0.2, linewidth=0)


def whiskers(
    ax: Axes,
    labels: Sequence[str],
    estimates: ArrayLike,
    lows: ArrayLike,
    highs: ArrayLike,
    colors: Sequence[str] | str = INK,
    reference: float | None = None,
) -> None:
    """Draw one row per quantity: its name on the axis, a dot at the estimate, a whisker over its interval.

    Parameters
    ----------
    ax : where to draw.
    labels : n names, from top to bottom.
    estimates, lows, highs : (n,) each.
    colors : one colour, or n.
    reference : where "no effect" lies; drawn as a dashed line if given.

    Raises
    ------
    ValueError : if the arguments are not all of the same length.
    """
    centre, low, high = (np.asarray(values, dtype=float) for values in (estimates, lows, highs))
    if not len(labels) == len(centre) == len(low) == len(high):
        raise ValueError(
            "expected as many labels as estimates, lows and highs, "
            f"got {len(labels)} labels and arrays of shapes {centre.shape}, {low.shape} and {high.shape}"
        )
    rows = np.arange(len(labels))[::-1]
    row_colors = [colors] * len(labels) if isinstance(colors, str) else list(colors)
    if reference is not None:
        ax.axvline(reference, color=REFERENCE, linestyle="--", linewidth=1.2)
    for row, middle, lower, upper, color in zip(rows, centre, low, high, row_colors, strict=True):
        ax.plot([lower, upper], [row, row], color=color, solid_capstyle="butt")
        ax.plot(middle, row, "o", color=color)
    ax.set_yticks(rows, labels)
    ax.set_ylim(-0.6, len(labels) - 0.4)
    ax.grid(False, axis="y")


def label(
    ax: Axes,
    text: str,
    x: float,
    y: float,
    color: str = INK,
    offset: tuple[float, float] = (6.0, 0.0),
    **text_style: Any,
) -> Annotation:
    """Write a series' name beside it, in its colour, instead of a legend.

    Parameters
    ----------
    ax : where to write.
    text : what to write.
    x, y : the point to write beside, in data coordinates.
    color : the colour of the series; the text takes a darker shade of it where it would be too light to read.
    offset : from that point, in points (1/72 inch); a negative first number writes to the left.
    **text_style : passed to ``ax.annotate`` (``va``, ``ha``, ``fontsize``).
    """
    style: dict[str, Any] = {
        "fontweight": "bold",
        "ha": "left" if offset[0] >= 0 else "right",
        "va": "center",
    }
    return ax.annotate(
        text,
        (x, y),
        xytext=offset,
        textcoords="offset points",
        color=_readable(color),
        **(style | text_style),
    )


def _readable(color: str, contrast: float = 4.5) -> str:
    """The colour itself, or its lightest shade that has this contrast to white (WCAG 2's ratio, 4.5 for text)."""
    from matplotlib.colors import to_hex, to_rgb

    rgb = np.array(to_rgb(color))
    while _contrast_to_white(rgb) < contrast:
        rgb *= 0.98
    return str(to_hex(rgb.tolist()))


def _contrast_to_white(rgb: ArrayLike) -> float:
    """WCAG 2's contrast ratio between white and an sRGB colour with components between 0 and 1."""
    value = np.asarray(rgb)
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return float(1.05 / (linear @ np.array([0.2126, 0.7152, 0.0722]) + 0.05))
