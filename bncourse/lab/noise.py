"""Noise for stacked networks: what a member draws depends on its own seed, layer and step, and on no other member."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

KINDS = {"dropout": 2, "perturbation": 3, "ghost": 4}
"""Second number of a generator's seed; 1 is that of the order of the batches."""


@dataclass(frozen=True)
class Perturbation:
    """How far the noise after batch norm may move each unit's mean and standard deviation within one step.

    Attributes
    ----------
    shift : the unit's values are moved by a number between -shift and shift.
    scale : before, they are multiplied by a number between 1 and scale.
    """

    shift: float
    scale: float = 1.0


class Randomness(nn.Module):
    """A module that draws numbers in training: one generator for each member, seeded by the member's seed.

    Attributes
    ----------
    generators : in the order of the members.
    """

    def __init__(self, kind: str, seeds: Sequence[int], stream: int) -> None:
        super().__init__()
        self.generators = [np.random.default_rng([seed, KINDS[kind], stream]) for seed in seeds]

    def draw(self, draw: Callable[[np.random.Generator], Any]) -> Float[Tensor, "S ..."]:
        """What each member's generator gives, stacked."""
        return torch.from_numpy(np.stack([draw(generator) for generator in self.generators]).astype(np.float32))


class StackedDropout(Randomness):
    r"""Dropout: each value becomes 0 with probability p, and :math:`h / (1 - p)` otherwise. Inference changes nothing.

    Parameters
    ----------
    p : the share that is dropped.
    seeds : of the members.
    stream : number of this layer in its network.

    Raises
    ------
    ValueError : if p is not from 0 up to, but not including, 1.
    """

    def __init__(self, p: float, seeds: Sequence[int], stream: int) -> None:
        super().__init__("dropout", seeds, stream)
        if not 0 <= p < 1:
            raise ValueError(f"expected p of dropout in [0, 1), got {p}")
        self.p = p

    def forward(self, h: Float[Tensor, "S F B"]) -> Float[Tensor, "S F B"]:
        if not self.training:
            return h
        uniform = self.draw(lambda generator: generator.random(h.shape[1:], dtype=np.float32))
        return h * ((uniform >= self.p) / (1 - self.p))


class StackedNoise(Randomness):
    r"""A shift and a scale that change from step to step: :math:`y \leftarrow s\, y + m`, with m and s for each unit.

    :math:`m \sim U(-\mathrm{shift}, \mathrm{shift})` and :math:`s \sim U(1, \mathrm{scale})` are the same for all
    examples of a batch, so that every step sees another distribution of the layer's output. In the noisy batch norm of
    Santurkar et al. (2018) each example has noise of its own, from a distribution of nonzero mean and nonunit variance
    that changes at every step; kept here is the change of the distribution, without the rest.
    """

    def __init__(self, perturbation: Perturbation, seeds: Sequence[int], stream: int) -> None:
        super().__init__("perturbation", seeds, stream)
        self.perturbation = perturbation

    def forward(self, y: Float[Tensor, "S F B"]) -> Float[Tensor, "S F B"]:
        if not self.training:
            return y
        uniform = self.draw(lambda generator: generator.random((2, y.shape[1], 1)))
        shift = self.perturbation.shift * (2 * uniform[:, 0] - 1)
        return y * (1 + (self.perturbation.scale - 1) * uniform[:, 1]) + shift


class GhostNoise(Randomness):
    r"""The noise of ghost batches without ghost batches: :math:`\hat{x} \leftarrow (\hat{x} - m) / s`.

    For each unit and each g consecutive examples, :math:`m \sim N(0, 1/g)` and
    :math:`s^2 \sim \chi^2_{g-1} / g` are the mean and the biased variance of g independent standard normal values. They
    are drawn, so that the examples of a group do not determine them, and no gradient flows through them. The factor 1/s
    has a variance from g = 4 on.
    """

    def __init__(self, group: int, seeds: Sequence[int], stream: int) -> None:
        super().__init__("ghost", seeds, stream)
        self.group = group

    def forward(self, x_hat: Float[Tensor, "S F B"]) -> Float[Tensor, "S F B"]:
        features, batch = x_hat.shape[1:]
        if batch % self.group:
            raise ValueError(f"expected batches that ghost batches of {self.group} fill, got a batch of {batch}")
        groups = (features, batch // self.group)
        mean = self.draw(lambda generator: generator.standard_normal(groups)) / self.group**0.5
        var = self.draw(lambda generator: generator.chisquare(self.group - 1, groups)) / self.group
        mean_of_each, var_of_each = (noise.repeat_interleave(self.group, dim=2) for noise in (mean, var))
        return (x_hat - mean_of_each) / torch.sqrt(var_of_each)
