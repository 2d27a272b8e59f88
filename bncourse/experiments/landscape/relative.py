"""A probe of the loss along the gradient of the hidden weights, in units of these weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from bncourse.lab import Probe, Step
from bncourse.lab.objective import for_members, member_norm


@dataclass(frozen=True)
class RelativeLandscape(Probe):
    r"""The loss of the batch and its gradient at several distances, as functions of the relative hidden weights.

    These are :math:`u_l = W_l / \|W_l\|`, with the norms of the point at which it is measured. The gradient with
    respect to them is :math:`\tilde G_l = \|W_l\| \, \nabla_{W_l} L`, and the points are
    :math:`u - r \, \tilde G / \|\tilde G\|`, with lengths r. The other parameters stay. Multiplying a layer's weights
    by a number changes nothing of it, if the loss does not depend on their scale.

    It reads:

    - ``relative_change``: :math:`\|\tilde G(r) - \tilde G(0)\| / \|\tilde G(0)\|`.
    - ``relative_smoothness``: :math:`\|\tilde G(r) - \tilde G(0)\| / r`.
    - ``falls``: 1 where the loss is smaller than at the beginning, else 0.
    """

    name: ClassVar[str] = "relative landscape"
    axis: ClassVar[str | None] = "length"
    every: int = 1
    lengths: tuple[float, ...] = (0.03, 0.1, 0.3)

    def labels(self, size: int) -> Sequence[float]:
        return self.lengths

    def measure(self, step: Step) -> dict[str, Float[Tensor, "S K"]]:
        weights = step.network.weights[:-1]
        start = [weight.detach().clone() for weight in weights]
        norms = [member_norm([weight]) for weight in start]

        def loss_and_gradient() -> tuple[Float[Tensor, "S"], list[Tensor]]:
            loss = step.losses()
            gradients = torch.autograd.grad(loss.sum(), weights)
            pairs = zip(gradients, norms, strict=True)
            return loss.detach(), [gradient.double() * for_members(norm, gradient) for gradient, norm in pairs]

        loss, gradient = loss_and_gradient()
        size = member_norm(gradient)
        changes, falls = [], []
        for length in self.lengths:
            with torch.no_grad():
                for weight, value, direction, norm in zip(weights, start, gradient, norms, strict=True):
                    weight.copy_(value - for_members(length * norm / size, direction) * direction)
            loss_there, gradient_there = loss_and_gradient()
            changes.append(
                member_norm([after - before for after, before in zip(gradient_there, gradient, strict=True)])
            )
            falls.append((loss_there < loss).double())
        change = torch.stack(changes, dim=1)
        return {
            "relative_change": change / size.unsqueeze(1),
            "relative_smoothness": change / torch.tensor(self.lengths),
            "falls": torch.stack(falls, dim=1),
        }
