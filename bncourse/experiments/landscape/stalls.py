"""Training on the digits, and the loss of the whole training part at its end."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bncourse.lab import MLPEnsemble, Normalization, digits, train
from bncourse.lab.objective import Batch, losses

CLASSES = 10


@dataclass(frozen=True)
class Training:
    """Members of one arm of a case, each with its rate and seed."""

    activation: str
    depth: int
    width: int
    gain: float
    batch_norm: bool
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    steps: int
    batch_size: int
    momentum: float


def final_losses(cell: Training) -> dict[str, Any]:
    """Train the members.

    Returns
    -------
    loss : (S,), see :func:`training_loss`.
    """
    network = untrained(cell)
    continue_training(network, cell.rates, cell)
    return {"loss": training_loss(network)}


def untrained(cell: Training, normalization: Normalization | None = None) -> MLPEnsemble:
    """The members before training, or the same with batch norm."""
    widths = (digits().train_x.shape[1], *(cell.width,) * cell.depth, CLASSES)
    return MLPEnsemble(widths, cell.seeds, normalization or cell.batch_norm, activation=cell.activation, gain=cell.gain)


def continue_training(network: MLPEnsemble, rates: tuple[float, ...], cell: Training) -> None:
    """Train a network as the cell says, from wherever it is, at one rate for each member."""
    train(network, digits(), rates, cell.steps, cell.batch_size, cell.momentum, evaluate_every=cell.steps)


def training_part(members: int) -> tuple[Float[Tensor, "S N F"], Int[Tensor, "S N"]]:
    """All images for training and their labels, for each member."""
    data = digits()
    return data.train_x.expand(members, *data.train_x.shape), data.train_y.expand(members, *data.train_y.shape)


def training_loss(network: MLPEnsemble) -> Float[np.ndarray, "S"]:
    """Loss of the whole training part, which batch norm normalizes with its own statistics; NaN if diverged."""
    with torch.no_grad(), network.preserved():
        network.train()
        return np.asarray(losses(network, Batch(*training_part(len(network.seeds)))).double().numpy())


def has_stalled(loss: Float[np.ndarray, "S"], target: float) -> Bool[np.ndarray, "S"]:
    """Whether runs ended above the target; a diverged one did."""
    return np.asarray(~(loss <= target))
