"""The loss of every member on its batch, its gradients, and a step as it looks just before it is taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bncourse.lab.ensemble import Ensemble


@dataclass(frozen=True, eq=False)
class Batch:
    """What each member trains on in one step.

    Attributes
    ----------
    x : (S, M, F), what the network sees.
    y : (S, B), the labels that count.
    rows : (S, B), the examples of x that the labels belong to; None where those are all of them, in order.
    """

    x: Float[Tensor, "S M F"]
    y: Int[Tensor, "S B"]
    rows: Int[Tensor, "S B"] | None = None


def losses(network: Ensemble, batch: Batch) -> Float[Tensor, "S"]:
    """Mean cross-entropy of each member on its batch, in the mode in which the network is."""
    logits = network(batch.x)
    if batch.rows is not None:
        logits = logits.gather(2, batch.rows.unsqueeze(1).expand(-1, logits.shape[1], -1))
    return nn.functional.cross_entropy(logits, batch.y, reduction="none").mean(dim=1)


@dataclass(frozen=True, eq=False)
class Step:
    """One step of training, its gradient computed and its update not yet made.

    Attributes
    ----------
    network : in training mode, with the parameters before the update.
    batch : of this step.
    rates : (S,), the learning rates.
    gradients : of the loss, one for each of ``network.parameters()``.
    updates : what the step is about to add to each of them.
    random_state : of the network, before it saw the batch.
    """

    network: Ensemble
    batch: Batch
    rates: Float[Tensor, "S"]
    gradients: Sequence[Tensor]
    updates: Sequence[Tensor]
    random_state: list[Any]

    def losses(self) -> Float[Tensor, "S"]:
        """The loss of this step's batch with the parameters as they now are, and the step's own random draws."""
        self.network.set_random_state(self.random_state)
        return losses(self.network, self.batch)

    def move(self, directions: Sequence[Tensor], chosen: Sequence[bool] | None = None) -> None:
        """Add something to each of the parameters, or to those chosen.

        Parameters
        ----------
        directions : one for each parameter, of its shape.
        chosen : which of the parameters move; None: all.
        """
        with torch.no_grad():
            for number, (parameter, direction) in enumerate(zip(self.network.parameters(), directions, strict=True)):
                if chosen is None or chosen[number]:
                    parameter.add_(direction)


def member_norm(tensors: Sequence[Float[Tensor, "S ..."]]) -> Float[Tensor, "S"]:
    """Euclidean norm of everything that a member has in these tensors."""
    return sum((tensor.flatten(1).double().square().sum(dim=1) for tensor in tensors), torch.tensor(0.0)).sqrt()


def for_members(values: Float[Tensor, "S"], tensor: Float[Tensor, "S ..."]) -> Float[Tensor, "S ..."]:
    """One number for each member, with as many axes as a tensor that it multiplies."""
    return values.reshape(-1, *[1] * (tensor.ndim - 1))
