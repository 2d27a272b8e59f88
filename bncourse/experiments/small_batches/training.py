"""One norm at one batch size: its networks' accuracy, in each way in which they can be read."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bncourse.experiments.small_batches.settings import READ_THREE_WAYS
from bncourse.lab import ConvEnsemble, Norm, accuracy, digits, take_statistics, train
from bncourse.lab.ensemble import Ensemble


@dataclass(frozen=True)
class Members:
    """Networks with one norm, each with its rate and seed, trained in batches of one size, and what they are scored on.

    Attributes
    ----------
    rates : (S,), as they are used.
    part : "validation" or "test".
    """

    norm: Norm | None
    batch_size: int
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    part: str
    examples: int
    channels: tuple[int, ...]
    momentum: float


def train_members(members: Members) -> dict[str, Float[np.ndarray, "S"]]:
    """Train them together; accuracies (S,) on their part in the end, 0 for one that has diverged.

    The keys are readings: "running", and with batch statistics also "as in training" and "retaken".
    """
    data = digits()
    network = ConvEnsemble(members.channels, 10, members.seeds, norm=members.norm)
    steps = members.examples // members.batch_size
    train(network, data, members.rates, steps, members.batch_size, members.momentum, evaluate_every=steps)
    x, y = (data.test_x, data.test_y) if members.part == "test" else (data.validation_x, data.validation_y)
    readings = {"running": accuracy(network, x, y)}
    if members.norm and members.norm.kind in READ_THREE_WAYS:
        readings["as in training"] = accuracy_in_batches(network, x, y, members.batch_size)
        take_statistics(network, data.train_x)
        readings["retaken"] = accuracy(network, x, y)
    return readings


def accuracy_in_batches(
    network: Ensemble, x: Float[Tensor, "N F"], y: Int[Tensor, "N"], batch_size: int
) -> Float[np.ndarray, "S"]:
    """Share of inputs classified rightly when they come in batches, in training mode; the network stays as it is."""
    right = []
    with network.preserved(), torch.no_grad():
        network.train()
        for images, labels in zip(torch.split(x, batch_size), torch.split(y, batch_size), strict=True):
            logits = network(images.expand(len(network.seeds), *images.shape))
            right.append((logits.argmax(dim=1) == labels) & logits.isfinite().all(dim=1))
    return np.asarray(torch.cat(right, dim=1).double().mean(dim=1).numpy())
