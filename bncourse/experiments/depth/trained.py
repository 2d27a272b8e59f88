"""Training on the digits: the rate of each arm, and what its networks are like before, while and after they train."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from bncourse.lab import Activations, MLPEnsemble, Split, Weights, accuracy, digits, measure, train

PROBE_EVERY = 10
DECADES = 12


@dataclass(frozen=True)
class TrainedCell:
    """Members of one arm of a case, each with its rate and seed; what is read of them, beside validation accuracy."""

    activation: str
    depth: int
    gain: float
    batch_norm: bool
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    width: int
    steps: int
    batch_size: int
    momentum: float
    read_all: bool


def train_members(cell: TrainedCell) -> dict[str, Any]:
    """Train the members, and read final accuracy on the validation part; if all is to be read, also what follows.

    Returns
    -------
    validation_accuracy, test_accuracy : (S,).
    log_updates : (S, K, L), see :func:`log_updates`, at every tenth step, of each layer and the output.
    saturated_initial, saturated_trained : (S, L), see :func:`saturation`; absent if the activation cannot saturate.
    """
    data = digits()
    widths = (data.train_x.shape[1], *(cell.width,) * cell.depth, 10)
    network = MLPEnsemble(widths, cell.seeds, cell.batch_norm, activation=cell.activation, gain=cell.gain)
    saturates = cell.read_all and cell.activation in ("sigmoid", "tanh")
    found = {"saturated_initial": saturation(network, data)} if saturates else {}
    history = train(
        network,
        data,
        cell.rates,
        cell.steps,
        cell.batch_size,
        cell.momentum,
        evaluate_every=cell.steps,
        probes=[Weights(every=PROBE_EVERY)] if cell.read_all else [],
    )
    found["validation_accuracy"] = history.validation_accuracy[:, -1]
    if cell.read_all:
        found["test_accuracy"] = accuracy(network, data.test_x, data.test_y)
        found["log_updates"] = log_updates(history.traces["relative_update"].values)
    if saturates:
        found["saturated_trained"] = saturation(network, data)
    return found


def saturation(network: MLPEnsemble, data: Split) -> Float[np.ndarray, "S L"]:
    """Share of saturated values in each hidden layer, 1 for a diverged network.

    On the validation images, which batch norm normalizes with their own statistics.
    """
    members = len(network.seeds)
    x, y = (part.expand(members, *part.shape) for part in (data.validation_x, data.validation_y))
    share = measure(Activations(), network, x, y)["saturated"]
    return np.where(_diverged(network)[:, None], 1.0, share)


def _diverged(network: MLPEnsemble) -> Bool[np.ndarray, "S"]:
    with torch.no_grad():
        finite = [parameter.isfinite().flatten(1).all(dim=1) for parameter in network.parameters()]
    return np.asarray(~torch.stack(finite).all(dim=0).numpy())


def log_updates(relative: Float[np.ndarray, "S K L"]) -> Float[np.ndarray, "S K L"]:
    """Decimal logarithms, held within 12 decades of 1; NaN where a network had diverged."""
    return np.asarray(np.log10(np.clip(relative, 10.0**-DECADES, 10.0**DECADES)))


def spread(logs: Float[np.ndarray, "S K L"]) -> Float[np.ndarray, "S"]:
    """Standard deviation over layers and steps, as far as a network went."""
    return np.asarray(np.nanstd(logs.reshape(len(logs), -1), axis=1))
