"""Many small networks in one: every parameter has a leading axis that runs over the members."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn


class MLPEnsemble(nn.Module):
    r"""S multilayer perceptrons of one architecture, each with a seed of its own, trained side by side.

    Each hidden layer is :math:`h \leftarrow \max(0, W h + b)`, or with batch norm
    :math:`h \leftarrow \max(0, \mathrm{BN}_{\gamma,\beta}(W h))`, in which :math:`\beta` takes the bias's place.
    Members share nothing: one that diverges to NaN leaves the others as they are.

    Weights start as He's normal draws for ReLU, variance 2 / fan-in (1 / fan-in in the last layer), from a
    generator seeded by the member's seed: members of equal seed start from equal weights, with batch norm or without.

    The features of all members stand one after another on the channel axis of a single batch norm, and the batch
    is the last axis: both steps of a layer are one call over contiguous memory.

    Parameters
    ----------
    widths : inputs, hidden widths, classes; at least two numbers.
    seeds : one for each member; repeated where members differ in something else, such as their learning rate.
    batch_norm : whether each hidden layer normalizes its pre-activations.
    eps, momentum : of batch norm, as in :class:`torch.nn.BatchNorm1d`.

    Raises
    ------
    ValueError : if there are no seeds, or fewer than two widths.
    """

    def __init__(
        self,
        widths: Sequence[int],
        seeds: Sequence[int],
        batch_norm: bool,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        if len(widths) < 2:
            raise ValueError(f"expected widths to name the inputs and the classes at least, got {tuple(widths)}")
        if not seeds:
            raise ValueError("expected at least one seed, got none")
        self.seeds = tuple(seeds)
        self.batch_norm = batch_norm
        self.eps = eps
        self.momentum = momentum
        members = len(self.seeds)
        self.weights = nn.ParameterList(initial_weights(widths, self.seeds))
        hidden = list(widths[1:-1])
        bias_widths = [widths[-1]] if batch_norm else [*hidden, widths[-1]]
        self.biases = nn.ParameterList(torch.zeros(members, width, 1) for width in bias_widths)
        self.gammas = nn.ParameterList(torch.ones(members, width, 1) for width in hidden if batch_norm)
        self.betas = nn.ParameterList(torch.zeros(members, width, 1) for width in hidden if batch_norm)
        for layer, width in enumerate(hidden if batch_norm else []):
            self.register_buffer(f"running_mean_{layer}", torch.zeros(members * width))
            self.register_buffer(f"running_var_{layer}", torch.ones(members * width))

    def forward(self, x: Float[Tensor, "S B F"]) -> Float[Tensor, "S classes B"]:
        """Logits of each member on its own batch; the batch is the last axis of the result."""
        h = x.transpose(1, 2)
        for layer, weight in enumerate(self.weights[:-1]):
            if self.batch_norm:
                h = self._normalize(torch.bmm(weight, h), layer)
            else:
                h = torch.baddbmm(self.biases[layer], weight, h)
            h = torch.relu(h)
        return torch.baddbmm(self.biases[-1], self.weights[-1], h)

    def _normalize(self, h: Float[Tensor, "S F B"], layer: int) -> Float[Tensor, "S F B"]:
        members, features, batch = h.shape
        normalized = nn.functional.batch_norm(
            h.reshape(1, members * features, batch),
            getattr(self, f"running_mean_{layer}"),
            getattr(self, f"running_var_{layer}"),
            self.gammas[layer].reshape(-1),
            self.betas[layer].reshape(-1),
            self.training,
            self.momentum,
            self.eps,
        )
        return normalized.reshape(members, features, batch)


def initial_weights(widths: Sequence[int], seeds: Sequence[int]) -> list[Float[Tensor, "S out in"]]:
    """He's normal draws for each layer, stacked over the members; a member's depend on its seed alone."""
    sizes = list(pairwise(widths))
    gains = [2.0] * (len(sizes) - 1) + [1.0]
    members = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        members.append(
            [
                torch.randn(fan_out, fan_in, generator=generator) * (gain / fan_in) ** 0.5
                for (fan_in, fan_out), gain in zip(sizes, gains, strict=True)
            ]
        )
    return [torch.stack(layer) for layer in zip(*members, strict=True)]
