"""Noise after batch norm that moves slowly, or not at all."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from bncourse.lab import MLPEnsemble, Perturbation
from bncourse.lab.noise import KINDS


class SwingingNoise(nn.Module):
    r"""A shift and a scale of each unit that go to and fro between their bounds: :math:`y \leftarrow s\, y + m`.

    .. math:: u(t) = \left|\, 2 \left( \left(\tfrac{t}{P} + \varphi\right) \bmod 1 \right) - 1 \right|, \qquad
              m = \mathrm{shift} \cdot (2 u_0 - 1), \qquad s = 1 + (\mathrm{scale} - 1)\, u_1

    at step t, with phases :math:`\varphi \sim U(0, 1)` for each unit's shift and scale. So at any one step m and s are
    distributed as in :class:`bncourse.lab.noise.StackedNoise`, uniformly; what differs is how they change. An infinite
    period freezes them where the phases have put them.

    A step is a forward pass in training mode that records gradients. One that records none sees the noise of the step
    before it.

    Parameters
    ----------
    perturbation : the bounds.
    seeds : of the members; they determine the phases.
    stream : number of this layer in its network.
    features : units of the layer.
    period : P, in steps.
    """

    def __init__(
        self, perturbation: Perturbation, seeds: tuple[int, ...], stream: int, features: int, period: float
    ) -> None:
        super().__init__()
        self.perturbation, self.period = perturbation, period
        phases = [
            np.random.default_rng([seed, KINDS["perturbation"], stream]).random((2, features, 1)) for seed in seeds
        ]
        self.register_buffer("phase", torch.from_numpy(np.stack(phases).astype(np.float32)))
        self.register_buffer("time", torch.zeros(len(seeds), 1, 1, 1))

    def forward(self, y: Float[Tensor, "S F B"]) -> Float[Tensor, "S F B"]:
        if not self.training:
            return y
        time = self.get_buffer("time")
        if torch.is_grad_enabled():
            time += 1
        place = (2 * ((time / self.period + self.get_buffer("phase")) % 1) - 1).abs()
        return y * (1 + (self.perturbation.scale - 1) * place[:, 1]) + self.perturbation.shift * (2 * place[:, 0] - 1)


def swing(network: MLPEnsemble, perturbation: Perturbation, period: float) -> None:
    """Put :class:`SwingingNoise` behind each batch norm of a network that has no noise."""
    for number, layer in enumerate(network.layers):
        norm = layer.get_submodule("norm")
        norm.noise = SwingingNoise(perturbation, network.seeds, number, norm.get_parameter("beta").shape[1], period)
