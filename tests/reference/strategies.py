"""Random batches for hypothesis: asymmetric shapes of two to five axes, in any layout, far from mean 0 and std 1."""

from typing import NamedTuple

import hypothesis.strategies as st
import numpy as np

# Batch, features and space differ in size wherever they can, so that a wrong axis changes the result.
SHAPES = st.sampled_from(
    [
        (2, 3),
        (7, 4),
        (5, 5),
        (33, 1),
        (2, 3, 5),
        (1, 4, 6),
        (3, 2, 4, 5),
        (1, 6, 2, 3),
        (2, 3, 2, 4, 3),
        (1, 1, 2, 1, 1),
    ]
)
LAYOUTS = ("contiguous", "fortran", "channels last", "every other row", "reversed", "offset")


class Case(NamedTuple):
    x: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray
    dy: np.ndarray
    eps: float


def in_layout(x: np.ndarray, layout: str) -> np.ndarray:
    """The same values, otherwise laid out in memory."""
    if layout == "fortran":
        return np.asfortranarray(x)
    if layout == "channels last":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    if layout == "every other row":
        return np.repeat(x, 2, axis=0)[::2]
    if layout == "reversed":
        return np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1]
    if layout == "offset":
        padded = np.full((x.shape[0], x.shape[1] + 3, *x.shape[2:]), np.nan, x.dtype)
        padded[:, 2:-1] = x
        return padded[:, 2:-1]
    return np.ascontiguousarray(x)


@st.composite
def cases(draw: st.DrawFn, dtype: type = np.float64) -> Case:
    shape = draw(SHAPES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([0.01, 1.0, 30.0]))
    offset = draw(st.sampled_from([0.0, -2.0, 100.0])) * scale
    x = (
        offset
        + scale * rng.standard_normal(shape)
        + scale * rng.standard_normal((1, shape[1]) + (1,) * (len(shape) - 2))
    )
    features = shape[1]
    return Case(
        x=in_layout(x.astype(dtype), draw(st.sampled_from(LAYOUTS))),
        gamma=rng.uniform(-2, 2, features).astype(dtype),
        beta=rng.uniform(-3, 3, features).astype(dtype),
        dy=in_layout((1 + rng.standard_normal(shape)).astype(dtype), draw(st.sampled_from(LAYOUTS))),
        eps=draw(st.sampled_from([1e-5, 1e-3, 0.5])),
    )
