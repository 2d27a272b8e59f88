"""The cover: what ten layers do to their inputs, computed with the package and drawn as SVG in the page's colours.

Each network multiplies by random weights, rectifies, and so on. The weights have the variance 2/n that keeps the scale
through rectifiers, times a gain squared: a quarter too small, or a quarter too large. With batch norm between the
multiplication and the rectifier both gains give one picture.
"""

from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from bncourse.reference import batch_norm

Array: TypeAlias = np.ndarray
Density: TypeAlias = Float[Array, " bins"]

LAYERS, WIDTH, EXAMPLES = 10, 128, 512
GAINS = {"small": 0.75, "large": 1.25}
EDGE, BINS = 6.0, 60
# In the drawing's units: the width of a bin, the distance of two layers, and the height of a curve, which overlaps the
# one above.
STEP, ROW, RISE = 4, 20, 42

ALT = (
    "Three pictures of what reaches each of ten layers, one curve for each layer. Weights a quarter too small: the "
    "curves get narrower until only a needle at zero is left. Weights a quarter too large: they get wider until they "
    "leave the picture. With batch norm, at either size of the weights, all ten have the same width."
)


def layer_inputs(gain: float, normalize: bool, seed: int = 0) -> list[Float[Array, "N C"]]:
    """Return what reaches each layer's rectifier, from the first layer to the last."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((EXAMPLES, WIDTH))
    reached = []
    for _ in range(LAYERS):
        z = signal @ rng.normal(0, gain * np.sqrt(2 / WIDTH), (WIDTH, WIDTH))
        if normalize:
            z, _ = batch_norm(z, np.ones(WIDTH), np.zeros(WIDTH))
        reached.append(z)
        signal = np.maximum(z, 0)
    return reached


def density(values: Float[Array, "N C"]) -> Density:
    """Return the values' histogram between -EDGE and EDGE, with its highest bin at 1."""
    counts: Density = np.histogram(values, bins=BINS, range=(-EDGE, EDGE))[0].astype(float)
    counts /= counts.max()
    return counts


def curve(heights: Density, base: float) -> str:
    """Return the path of one layer's curve over its base line, without the bins at the sides that hold nothing."""
    (seen,) = np.nonzero(heights > 0.01)
    first, last = max(seen[0] - 1, 0), min(seen[-1] + 1, BINS - 1)
    points = (f"{STEP * i + STEP / 2:g} {base - RISE * heights[i]:.1f}" for i in range(first, last + 1))
    return f"M{'L'.join(points)}"


def panel(name: str, gain: float, normalize: bool) -> str:
    """Return one network's picture: its first layer is at the top."""
    height = ROW * (LAYERS - 1) + RISE + 4
    rows = [
        f'<path d="{curve(density(z), RISE + 2 + ROW * layer)}"/>'
        for layer, z in enumerate(layer_inputs(gain, normalize))
    ]
    return f'<svg class="cover-{name}" viewBox="0 0 {STEP * BINS} {height}">{"".join(rows)}</svg>'


def cover() -> str:
    """Return the figure, whose words are the page's."""
    parts = (
        ("Weights a quarter too small", panel("without", GAINS["small"], normalize=False)),
        ("A quarter too large", panel("without", GAINS["large"], normalize=False)),
        ("Either, with batch norm", panel("with", GAINS["large"], normalize=True)),
    )
    panels = "".join(f"<div>{picture}<p>{title}</p></div>" for title, picture in parts)
    return f'<div class="cover-panels" role="img" aria-label="{ALT}">{panels}</div>'
