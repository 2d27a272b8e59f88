"""Draws the curves of a case: the recorded ones, and those of a run of the reader's."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bncourse import plots
from bncourse.clinic.checking import curves
from bncourse.clinic.recorded import Curve, recorded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bncourse.clinic.case import Case

# Of the first and the second quantity of a case.
COLORS = (plots.OTHERS[0], plots.NONE)
MENDED = plots.BATCH_NORM


def draw_case(case: "Case", train: Callable[..., Any] | None = None) -> None:
    """The broken run, and the reader's beside it where there is one.

    Raises
    ------
    ImportError : if matplotlib is not installed; the message says how to install it.
    """
    plots.use_style()
    import matplotlib.pyplot as plt

    figure, (axes,) = plt.subplots(1, 2 if train else 1, figsize=(plots.WIDTH, 2.4), sharey=True, squeeze=False)
    draw_curves(axes[0], case, recorded(case.id).curves["broken"])
    axes[0].set_title("as it came")
    if train:
        record = curves(case, train, seed=int(np.random.default_rng().integers(10**6, 10**9)))
        own = {name: Curve(record.steps, values, values, values) for name, values in record.rows.items()}
        draw_curves(axes[1], case, own)
        axes[1].set_title("yours")
    plt.show()
    plt.close(figure)


def draw_ward(cases: Sequence["Case"], columns: int = 3) -> None:
    """All cases on one page, as they came and mended.

    Parameters
    ----------
    cases : to draw.
    columns : how many side by side.
    """
    import matplotlib.pyplot as plt

    rows = -(-(len(cases) + 1) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(plots.WIDTH, 1.6 * rows))
    panels = list(grid.flat)
    for ax, case in zip(panels, cases, strict=False):
        found = recorded(case.id).curves
        names = case.curves
        mended = found["fixed"][names[-1]]
        _band(ax, mended, MENDED)
        for name, color in zip(names, COLORS[-len(names) :], strict=True):
            curve = found["broken"][name]
            _band(ax, curve, color)
            if curve.steps[-1] < mended.steps[-1] - case.every and case.every > 1:
                ax.plot(curve.steps[-1], curve.mean[-1], "X", color=color, markersize=8)
        ax.set_title(case.id, fontsize=9)
        ax.tick_params(labelsize=8)
        if "loss" not in names and "updates per step" not in names:
            ax.set_ylim(0, 1.05)
        else:
            ax.set_ylim(0, 1.1 * max(found["broken"][names[0]].highest))
            ax.text(0.98, 0.7, names[0], transform=ax.transAxes, fontsize=8, ha="right", va="center")
    for ax in panels[len(cases) :]:
        ax.axis("off")
    key = panels[len(cases)]
    legend = {"accuracy, as it came:": plots.INK, "its owner is content": COLORS[0], "its owner complains": COLORS[1]}
    for row, (text, color) in enumerate({**legend, "mended": MENDED}.items()):
        plots.label(key, text, 0, 0.85 - 0.25 * row, color, offset=(0.0, 0.0), fontsize=8.5)
    figure.supxlabel("step", fontsize=9)


def draw_curves(ax: "Axes", case: "Case", found: Mapping[str, Curve]) -> None:
    """The quantities of a case against the step, with a band from the lowest to the highest seed, and their names."""
    for name, color in zip(case.curves, COLORS[-len(case.curves) :], strict=True):
        _band(ax, found[name], color)
        others = [found[other].mean[-1] for other in case.curves if other != name]
        # Apart from each other where the curves end together.
        up = 6.0 if all(found[name].mean[-1] >= other for other in others) else -6.0
        plots.label(ax, name, found[name].steps[-1], found[name].mean[-1], color, offset=(6.0, up), fontsize=8)
    ax.set_xlabel("step")


def _band(ax: "Axes", curve: Curve, color: str) -> None:
    plots.band(ax, curve.steps, curve.mean, curve.lowest, curve.highest, color, linewidth=1.4)
