"""Probes of the loss as a function of all parameters: along the gradient, and its curvature."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from bncourse.lab.measuring import Probe
from bncourse.lab.objective import Step, for_members, member_norm

NEGLIGIBLE = 1e-12
"""What is left of a vector of 64-bit numbers after subtractions is rounding if it is smaller than this share of it."""


@dataclass(frozen=True)
class Landscape(Probe):
    r"""The loss of the batch and its gradient at several distances along the negative gradient.

    The points are :math:`\theta_a = \theta - a\, \eta\, \nabla L(\theta)`, with the learning rate :math:`\eta` of the
    member and the multiples a.

    It reads:

    - ``loss_along``: :math:`L(\theta_a)`.
    - ``gradient_distance``: :math:`\|\nabla L(\theta_a) - \nabla L(\theta)\|`.
    - ``smoothness``: that distance by :math:`\|\theta_a - \theta\|`; its largest value over a bounds from below how
      fast the gradient changes along the step.
    - ``scaled_smoothness``: smoothness times the squared norm of all weights. Multiplying scale-invariant weights by c
      divides their second derivatives by c squared. The product stays the same only if all parameters are such weights
      and the step shrinks or grows with them, by a rate multiplied by c squared. Where they mix with others (gamma,
      beta, an output layer), it does not correct for c.

    Parameters
    ----------
    every : steps from one measurement to the next.
    multiples : a, of the step that the training takes.
    """

    name: ClassVar[str] = "landscape"
    axis: ClassVar[str | None] = "multiple"
    every: int = 1
    multiples: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)

    def labels(self, size: int) -> Sequence[float]:
        return self.multiples

    def measure(self, step: Step) -> dict[str, Float[Tensor, "S K"]]:
        parameters = list(step.network.parameters())
        start = [parameter.detach().clone() for parameter in parameters]
        weights = member_norm([weight.detach() for weight in step.network.weights])
        lengths = step.rates * member_norm(step.gradients)
        loss_along, distances, smoothness = [], [], []
        for multiple in self.multiples:
            with torch.no_grad():
                for parameter, value, gradient in zip(parameters, start, step.gradients, strict=True):
                    parameter.copy_(value - multiple * for_members(step.rates, gradient) * gradient)
            loss = step.losses()
            gradients = torch.autograd.grad(loss.sum(), parameters)
            changes = [after - before for after, before in zip(gradients, step.gradients, strict=True)]
            loss_along.append(loss.detach().double())
            distances.append(member_norm(changes))
            smoothness.append(distances[-1] / (multiple * lengths))
        return {
            "loss_along": torch.stack(loss_along, dim=1),
            "gradient_distance": torch.stack(distances, dim=1),
            "smoothness": torch.stack(smoothness, dim=1),
            "scaled_smoothness": torch.stack(smoothness, dim=1) * weights.square().unsqueeze(1),
        }


@dataclass(frozen=True)
class Curvature(Probe):
    r"""Norm of the loss's gradient, and the extreme eigenvalues of its Hessian, on one batch.

    The eigenvalues are those of the tridiagonal matrix that Lanczos' method builds from products
    :math:`H v = \nabla (\nabla L \cdot v)`. They lie within the Hessian's, and come close to its ends within some
    twenty iterations. At a local minimum the smallest is not negative.

    It reads:

    - ``gradient_norm``: of all parameters.
    - ``largest_curvature``, ``smallest_curvature``: eigenvalues.

    Parameters
    ----------
    every : steps from one measurement to the next.
    iterations : of Lanczos' method.
    """

    name: ClassVar[str] = "curvature"
    axis: ClassVar[str | None] = None
    every: int = 1
    iterations: int = 20

    def measure(self, step: Step) -> dict[str, Float[Tensor, "S"]]:
        parameters = list(step.network.parameters())
        gradients = torch.autograd.grad(step.losses().sum(), parameters, create_graph=True)
        sizes = [parameter[0].numel() for parameter in parameters]

        def product(vector: Float[Tensor, "S P"]) -> Float[Tensor, "S P"]:
            parts = torch.split(vector.float(), sizes, dim=1)
            aligned = [part.reshape(parameter.shape) for part, parameter in zip(parts, parameters, strict=True)]
            products = torch.autograd.grad(gradients, parameters, aligned, retain_graph=True, materialize_grads=True)
            return torch.cat([part.flatten(1) for part in products], dim=1).double()

        start = torch.stack(
            [
                torch.randn(sum(sizes), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
                for seed in step.network.seeds
            ]
        )
        eigenvalues = lanczos(product, start, min(self.iterations, sum(sizes)))
        return {
            "gradient_norm": member_norm([gradient.detach() for gradient in gradients]),
            "largest_curvature": eigenvalues[:, -1],
            "smallest_curvature": eigenvalues[:, 0],
        }


def lanczos(
    product: Callable[[Float[Tensor, "S P"]], Float[Tensor, "S P"]], start: Float[Tensor, "S P"], iterations: int
) -> Float[Tensor, "S iterations"]:
    """Eigenvalues of the tridiagonal matrices that Lanczos' method builds of S symmetric matrices, in rising order.

    Parameters
    ----------
    product : of each member's matrix with its vector.
    start : a vector for each; its length does not matter.
    iterations : at most P.

    Returns
    -------
    (S, iterations), NaN for a member in whose matrix NaN turned up.
    """
    vector = start / start.norm(dim=1, keepdim=True)
    basis = [vector]
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    for iteration in range(iterations):
        image = product(basis[-1])
        value = (image * basis[-1]).sum(dim=1)
        # A member whose vectors span all that its matrix makes of them has said everything: a value again is no news.
        diagonal.append(torch.where(basis[-1].any(dim=1), value, diagonal[0] if diagonal else value))
        if iteration == iterations - 1:
            break
        size = image.norm(dim=1)
        # Against all earlier vectors, twice: rounding brings back what one subtraction has taken out.
        earlier = torch.stack(basis, dim=1)
        for _ in range(2):
            image = image - torch.einsum("skp,sk->sp", earlier, torch.einsum("skp,sp->sk", earlier, image))
        length = image.norm(dim=1)
        length = torch.where(length <= NEGLIGIBLE * size, 0.0, length)
        beside.append(length)
        basis.append(torch.where((length == 0).unsqueeze(1), 0.0, image / length.unsqueeze(1)))
    matrix = torch.diag_embed(torch.stack(diagonal, dim=1))
    if beside:
        off = torch.diag_embed(torch.stack(beside, dim=1), offset=1)
        matrix = matrix + off + off.mT
    finite = matrix.isfinite().flatten(1).all(dim=1)
    eigenvalues: Tensor = torch.linalg.eigvalsh(torch.where(finite[:, None, None], matrix, 0.0))
    return torch.where(finite[:, None], eigenvalues, torch.nan)
