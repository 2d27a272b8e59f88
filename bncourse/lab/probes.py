"""Probes of layers: activations, gradients, weights and their updates, and internal covariate shift."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bncourse.lab.ensemble import Activation
from bncourse.lab.measuring import Probe
from bncourse.lab.objective import Step, member_norm


@dataclass(frozen=True)
class Activations(Probe):
    """Mean and standard deviation of each hidden layer's activations, and the share that is saturated.

    It reads:

    - ``activation_mean``, ``activation_std``: over a layer's units and examples, as the activation function returns
      them.
    - ``saturated``: with tanh, the share of values beyond 0.97 on either side; with sigmoid, outside [0.015, 0.985],
      which is the same for tanh(h / 2). Absent for other activations, which do not saturate on both sides.

    Parameters
    ----------
    every : steps from one measurement to the next.
    """

    name: ClassVar[str] = "activations"
    every: int = 1

    def measure(self, step: Step) -> dict[str, Float[Tensor, "S L"]]:
        modules = [module for module in step.network.modules() if isinstance(module, Activation)]
        with captured(modules) as outputs, torch.no_grad():
            step.losses()
        values = [output.flatten(1).double() for output in outputs]
        found = {
            "activation_mean": torch.stack([value.mean(dim=1) for value in values], dim=1),
            "activation_std": torch.stack([value.std(dim=1, correction=0) for value in values], dim=1),
        }
        shares = [_saturated(module.name, value) for module, value in zip(modules, values, strict=True)]
        known = [share for share in shares if share is not None]
        return {**found, "saturated": torch.stack(known, dim=1)} if known else found


def _saturated(activation: str, values: Float[Tensor, "S V"]) -> Float[Tensor, "S"] | None:
    centre_and_reach = {"tanh": (0.0, 0.97), "sigmoid": (0.5, 0.485)}
    if activation not in centre_and_reach:
        return None
    centre, reach = centre_and_reach[activation]
    return ((values - centre).abs() > reach).double().mean(dim=1)


@dataclass(frozen=True)
class Gradients(Probe):
    """Norms of the loss's gradient with respect to each hidden layer's output, and each layer's weights.

    It reads:

    - ``activation_gradient``: of all outputs of a hidden layer, over units and examples.
    - ``weight_gradient``: of a layer's weights, the output layer's included, which is the last.

    Parameters
    ----------
    every : steps from one measurement to the next.
    """

    name: ClassVar[str] = "gradients"
    every: int = 1

    def measure(self, step: Step) -> dict[str, Float[Tensor, "S L"]]:
        with captured(step.network.layers) as outputs:
            loss = step.losses()
        layers = torch.autograd.grad(loss.sum(), [*outputs, *step.network.weights])
        norms = [member_norm([gradient]) for gradient in layers]
        weights = torch.stack(norms[len(outputs) :], dim=1)
        if not outputs:
            return {"weight_gradient": weights}
        return {"activation_gradient": torch.stack(norms[: len(outputs)], dim=1), "weight_gradient": weights}


@dataclass(frozen=True)
class Weights(Probe):
    r"""Norm of each layer's weights, the step's size relative to it, and the angle by which the step turns them.

    It reads:

    - ``weight_norm``: :math:`\|W\|`.
    - ``relative_update``: :math:`\|\Delta W\| / \|W\|`.
    - ``angle``: between :math:`W` and :math:`W + \Delta W`, in radians.

    Parameters
    ----------
    every : steps from one measurement to the next.
    """

    name: ClassVar[str] = "weights"
    every: int = 1

    def measure(self, step: Step) -> dict[str, Float[Tensor, "S L"]]:
        update_of = dict(zip(map(id, step.network.parameters()), step.updates, strict=True))
        norms, relative, angles = [], [], []
        for weight in step.network.weights:
            old, update = weight.detach().flatten(1).double(), update_of[id(weight)].flatten(1).double()
            norm = old.norm(dim=1)
            # Split into the parts along the weights and across them: an arccos of nearly 1 would have no digits left.
            along = (update * old).sum(dim=1) / norm
            across = (update - (along / norm).unsqueeze(1) * old).norm(dim=1)
            norms.append(norm)
            relative.append(update.norm(dim=1) / norm)
            angles.append(torch.atan2(across, norm + along))
        return {
            "weight_norm": torch.stack(norms, dim=1),
            "relative_update": torch.stack(relative, dim=1),
            "angle": torch.stack(angles, dim=1),
        }


@dataclass(frozen=True)
class CovariateShift(Probe):
    r"""Internal covariate shift: what the updates of the layers below do to a layer, on one and the same batch.

    With the parameters :math:`\theta_1, \dots, \theta_L` before the step and :math:`\theta'` after it, the
    gradients of layer :math:`l`'s weights are

    .. math:: G_l = \nabla_{W_l} L(\theta_1, \dots, \theta_L), \qquad
              G'_l = \nabla_{W_l} L(\theta'_1, \dots, \theta'_{l-1}, \theta_l, \dots, \theta_L)

    The update is that of the step itself, momentum included. The norm of the difference is what Santurkar et al.
    (2018) define as internal covariate shift, and they show the cosine beside it; to divide by :math:`\|G_l\|` is
    ours. It costs a forward and a backward pass for each layer.

    It reads:

    - ``gradient_change``: :math:`\|G'_l - G_l\|`; 0 for the first layer, which has none below.
    - ``gradient_cosine``: of the angle between the two; NaN where one is 0, as in a branch that SkipInit has closed.
    - ``relative_gradient_change``: the change by :math:`\|G_l\|`; NaN where that is 0.
    - ``input_drift``: root mean square over a hidden layer's units of how far the mean of what it passes on moves when
      it and the layers below are updated, in units of its standard deviation before.

    Parameters
    ----------
    every : steps from one measurement to the next.
    """

    name: ClassVar[str] = "covariate shift"
    every: int = 1

    def measure(self, step: Step) -> dict[str, Float[Tensor, "S L"]]:
        network, weights = step.network, step.network.weights
        depth = network.depth_of_parameters()

        def gradients_and_outputs() -> tuple[Sequence[Tensor], list[Tensor]]:
            with captured(network.layers) as outputs:
                loss = step.losses()
            return torch.autograd.grad(loss.sum(), weights), [output.detach() for output in outputs]

        before, old_outputs = gradients_and_outputs()
        change, cosine, drift = [torch.zeros(len(before[0]))], [torch.ones(len(before[0]))], []
        for layer in range(1, len(weights)):
            step.move(step.updates, chosen=[place == layer - 1 for place in depth])
            after, outputs = gradients_and_outputs()
            change.append(member_norm([after[layer] - before[layer]]))
            product = (after[layer].double() * before[layer].double()).flatten(1).sum(dim=1)
            cosine.append(product / (member_norm([after[layer]]) * member_norm([before[layer]])))
            drift.append(_drift(old_outputs[layer - 1], outputs[layer - 1]))
        norms = torch.stack([member_norm([gradient]) for gradient in before], dim=1)
        changes = torch.stack(change, dim=1)
        found = {
            "gradient_change": changes,
            "relative_gradient_change": changes / norms,
            "gradient_cosine": torch.stack(cosine, dim=1),
        }
        return {**found, "input_drift": torch.stack(drift, dim=1)} if drift else found


def _drift(before: Float[Tensor, "S F ..."], after: Float[Tensor, "S F ..."]) -> Float[Tensor, "S"]:
    first, second = (output.flatten(2).double() for output in (before, after))
    std = first.std(dim=2, correction=0)
    # A unit that is silent on the whole batch has no scale to measure its drift by.
    alive = std > 0
    moved = torch.where(alive, (second.mean(dim=2) - first.mean(dim=2)) / torch.where(alive, std, 1.0), torch.nan)
    return moved.square().nanmean(dim=1).sqrt()


@contextmanager
def captured(modules: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """A list that a forward pass fills with the modules' outputs, in the order in which they are called."""
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        outputs.append(output)

    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
