"""Batches designed so that mistakes show: the common ground of the probes of several exercises.

What is random is random afresh at every call; what makes a mistake visible is built in. Random standard normal
batches alone let mistakes through: with mean 0, scale 1, gamma 1 and beta 0 most terms can be left out unseen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# What it means when a function is wrong far from zero and right everywhere else.
FAR_FROM_ZERO = (
    "So the formula is right and its arithmetic is not: far from zero, a difference of large numbers such as "
    "E[x²] - E[x]² has few correct digits left. Subtract the mean before you square."
)
# What it means when a kernel is wrong in half precision and right everywhere else.
HALF_ALONE = (
    "So the formula is right. x comes in float16 here: sums of it leave the range of that type, which ends at 65504, "
    "and lose digits before. Convert what you load with `.to(tl.float32)`."
)


@dataclass(frozen=True)
class Batch:
    """Input and parameters of one transform.

    Parameters
    ----------
    name : what is special about it.
    x : array of shape (N, C).
    gamma, beta : arrays of shape (C,).
    eps : positive float.
    condition, alone : see :class:`bncourse.exercises.probe.Probe`.
    """

    name: str
    x: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray
    eps: float
    condition: float
    alone: str


def designed_batches(rng: np.random.Generator) -> list[Batch]:
    """Six batches: three shapes, a large offset, a small scale, a large eps."""

    def batch(name: str, x: np.ndarray, eps: float = 1e-5, condition: float = 5.0, alone: str = "") -> Batch:
        features = x.shape[1]
        gamma, beta = affine_parameter(rng, features), affine_parameter(rng, features)
        return Batch(name, x, gamma, beta, eps, condition, alone)

    return [
        batch("more samples than features", _activations(rng, 9, 4)),
        batch("more features than samples", _activations(rng, 4, 6)),
        batch("as many samples as features", _activations(rng, 5, 5)),
        batch(
            "far from zero",
            1000.0 + _activations(rng, 8, 3),
            condition=2000.0,
            alone=FAR_FROM_ZERO,
        ),
        batch("small scale", 1e-3 * _activations(rng, 6, 4)),
        batch("large eps", _activations(rng, 7, 5), eps=float(rng.uniform(0.3, 0.9))),
    ]


def affine_parameter(rng: np.random.Generator, features: int) -> np.ndarray:
    """Values of both signs, away from 0 and from 1 and -1, so that a factor or a summand left out shows."""
    size = np.where(rng.random(features) < 0.5, rng.uniform(0.4, 0.8, features), rng.uniform(1.3, 2.0, features))
    values: np.ndarray = size * rng.choice([-1.0, 1.0], features)
    return values


def _activations(rng: np.random.Generator, samples: int, features: int) -> np.ndarray:
    """A batch whose features differ in mean (none near 0) and in scale."""
    mean = rng.uniform(1.0, 3.0, features) * rng.choice([-1.0, 1.0], features)
    values = rng.standard_normal((samples, features))
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    batch: np.ndarray = mean + values * rng.uniform(0.6, 1.8, features)
    return batch
