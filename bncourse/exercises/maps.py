"""Feature maps designed so that mistakes show: the inputs of the exercises about norms over other axes than the batch.

A choice of axes is wrong in many ways, and each is hidden by some input: by sizes that are equal, by examples, channels
or positions that do not differ, by groups as many as they are large. Here they all differ, in mean and in scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bncourse.exercises.batches import FAR_FROM_ZERO, affine_parameter


@dataclass(frozen=True)
class Maps:
    """Input and parameters of one norm.

    Parameters
    ----------
    name : what is special about it.
    x : array of shape (N, C, *spatial).
    gamma : array of shape (C,).
    num_groups : a divisor of C.
    eps : positive float.
    condition, alone : see :class:`bncourse.exercises.probe.Probe`.
    """

    name: str
    x: np.ndarray
    gamma: np.ndarray
    num_groups: int
    eps: float
    condition: float
    alone: str


def designed_maps(rng: np.random.Generator) -> list[Maps]:
    """Seven inputs: images, sequences, videos far from zero, a small scale, a large eps, and two extreme groupings."""

    def maps(
        name: str,
        x: np.ndarray,
        num_groups: int,
        eps: float = 1e-5,
        condition: float = 10.0,
        alone: str = "",
    ) -> Maps:
        return Maps(name, x, affine_parameter(rng, x.shape[1]), num_groups, eps, condition, alone)

    return [
        maps("images", _values(rng, 5, 6, 7, 4), 2),
        maps("sequences", _values(rng, 5, 12, 7), 3),
        maps("far from zero", 1000.0 + _values(rng, 3, 10, 2, 5, 4), 2, condition=2000.0, alone=FAR_FROM_ZERO),
        maps("small scale", 1e-3 * _values(rng, 6, 8, 3, 5), 4),
        maps("large eps", _values(rng, 7, 6, 5), 3, eps=float(rng.uniform(0.3, 0.9))),
        maps("one group", _values(rng, 3, 4, 6, 5), 1),
        maps("as many groups as channels", _values(rng, 4, 3, 6, 5), 3),
    ]


def _values(rng: np.random.Generator, samples: int, channels: int, *space: int) -> np.ndarray:
    """Maps whose examples, channels and positions differ in mean, and whose examples and channels differ in scale."""
    each = (samples, channels, *[1] * len(space))
    axes = tuple(range(2, 2 + len(space)))
    values = rng.standard_normal((samples, channels, *space)) + 0.8 * rng.standard_normal((1, 1, *space))
    values -= values.mean(axis=axes, keepdims=True)
    values /= values.std(axis=axes, keepdims=True)
    mean = rng.uniform(1.0, 3.0, (1, *each[1:])) * rng.choice([-1.0, 1.0], (1, *each[1:]))
    offset = rng.uniform(0.3, 1.0, each) * rng.choice([-1.0, 1.0], each)
    scale = rng.uniform(0.7, 1.8, each)
    maps: np.ndarray = mean + offset + scale * values
    return maps
