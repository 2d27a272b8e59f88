"""Functions that a probe hands to the learner's code, by name: what crosses into the sandbox is a name and numbers.

Both sides import this module, so it must help with no exercise: nothing here normalizes, and no derivative is here. A
learner who takes one apart finds its formula and its settings, which are inputs; the answer is in neither. Those to be
differentiated take complex numbers as well, so that a step in the imaginary direction works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


def tanh_product(x: np.ndarray, weights: np.ndarray) -> Any:
    """A matrix product of another shape than ``x``."""
    return np.tanh(x) @ weights


def saturating(x: np.ndarray) -> Any:
    """Each output depends on every entry of its last axis."""
    exponentials = np.exp(x)
    return exponentials / (1 + exponentials.sum(axis=-1, keepdims=True))


def gram(x: np.ndarray) -> Any:
    """Inner products of the columns: a square matrix."""
    return x.T @ x


def cubic(x: np.ndarray, weights: np.ndarray) -> Any:
    """Its third derivative does not depend on where one is, and there is no fourth."""
    return x + weights * x**3


def narrow_valley(x: np.ndarray, centre: np.ndarray, mixing: np.ndarray, steepness: float, offset: float) -> Any:
    """A parabola in every direction; near ``centre`` its curvature is large against its slope."""
    return offset + steepness * ((x - centre).ravel() @ mixing) ** 2


def one_number(x: np.ndarray) -> Any:
    """A number, not an array."""
    return np.log(1 + np.exp(x).sum())


def transposed(x: np.ndarray) -> Any:
    """A view: it changes when the array that was given is changed afterwards."""
    return x.T


def overwriting(x: np.ndarray) -> Any:
    """Uses its argument as scratch space."""
    np.tanh(x, out=x)
    return x.sum(axis=-1)


def all_gather(row: np.ndarray, statistics: np.ndarray, sums: np.ndarray, rank: int) -> Any:
    """What all ranks hold: ``row`` in the place of this rank, and what the others send along with one of its length.

    Raises
    ------
    ValueError : if the others send nothing of that length.
    """
    row = np.asarray(row)
    for others in (statistics, sums):
        if row.shape == others.shape[1:]:
            return np.insert(others, rank, row, axis=0)
    first, second = statistics.shape[1], sums.shape[1]
    raise ValueError(
        f"expected a row of {first} numbers in the first exchange and of {second} in the second, "
        f"got an array of shape {row.shape}"
    )


FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        tanh_product,
        saturating,
        gram,
        cubic,
        narrow_valley,
        one_number,
        transposed,
        overwriting,
        all_gather,
    )
}

CALLS = {"all_gather": 2}
"""How often a function must be called, where others wait for the calls."""


@dataclass(frozen=True)
class NamedFunction:
    """One of :data:`FUNCTIONS` with its settings: a function of one array.

    Parameters
    ----------
    name : its name there.
    settings : its other arguments.
    calls : one number, how often it has been called.

    Raises
    ------
    ValueError : if there is no function of that name.
    """

    name: str
    settings: Mapping[str, np.ndarray | float] = field(default_factory=dict)
    calls: list[int] = field(default_factory=lambda: [0], repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.name not in FUNCTIONS:
            raise ValueError(f"expected name to be one of {', '.join(FUNCTIONS)}, got {self.name!r}")

    def __call__(self, x: np.ndarray) -> Any:
        self.calls[0] += 1
        return FUNCTIONS[self.name](x, **self.settings)
