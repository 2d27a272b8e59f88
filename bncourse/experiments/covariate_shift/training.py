"""Networks of one arm, trained together, and what moves in them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from bncourse.experiments.covariate_shift.noise import swing
from bncourse.experiments.covariate_shift.settings import Arm
from bncourse.experiments.covariate_shift.shift import UnitMoments, change_by_layer, drift_while_learning
from bncourse.lab import CovariateShift, MLPEnsemble, Normalization, Probe, digits, steps_to_loss, train

CLASSES = 10
WINDOW = 10


@dataclass(frozen=True)
class Cell:
    """Members of one arm, each with its rate and seed; what is read of them beside steps and drift."""

    activation: str
    depth: int
    arm: Arm
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    width: int
    period: int
    steps: int
    batch_size: int
    momentum: float
    target_loss: float
    lags: tuple[int, ...]
    images: int
    probe_every: int
    curve_steps: int
    curve_every: int
    read_curve: bool
    read_change: bool


def build(cell: Cell) -> MLPEnsemble:
    """The networks of a cell, before training."""
    arm = cell.arm
    noise = Normalization(noise=arm.perturbation) if arm.noise == "jumping" else arm.batch_norm
    widths = (digits().train_x.shape[1], *(cell.width,) * cell.depth, CLASSES)
    network = MLPEnsemble(widths, cell.seeds, noise, activation=cell.activation)
    if arm.noise in ("swinging", "frozen"):
        swing(network, arm.perturbation, cell.period if arm.noise == "swinging" else math.inf)
    return network


def train_members(cell: Cell) -> dict[str, Any]:
    """Train the members.

    Returns
    -------
    steps : (S,), to the target loss, infinite where it was not met.
    drift 1, … : (S,) for each lag, while learning.
    validation_accuracy, curve : if asked for, (S,) in inference mode after the last step, and (S, K), the mean loss of
        the last 10 batches.
    change initial, change learning, cosine initial, cosine learning : if asked for, (S, L) of the layers that have
        others below, the output the last; before and after those are updated.
    """
    data = digits()
    probes: list[Probe] = [UnitMoments(data.train_x[: cell.images])]
    if cell.read_change:
        probes.append(CovariateShift(every=cell.probe_every))
    history = train(
        build(cell),
        data,
        cell.rates,
        cell.steps,
        cell.batch_size,
        cell.momentum,
        evaluate_every=cell.steps,
        probes=probes,
    )
    steps, traces = steps_to_loss(history, cell.target_loss, WINDOW), history.traces
    arrived = np.minimum(steps, cell.steps)
    moments = traces["unit_mean"], traces["unit_std"]
    found: dict[str, Any] = {"steps": steps}
    found |= {f"drift {lag}": drift_while_learning(*moments, lag, cell.depth, arrived) for lag in cell.lags}
    if cell.read_curve:
        losses = np.lib.stride_tricks.sliding_window_view(history.batch_loss, WINDOW, axis=1).mean(axis=-1)
        found["curve"] = losses[:, : cell.curve_steps - WINDOW + 1 : cell.curve_every]
        found["validation_accuracy"] = history.validation_accuracy[:, -1]
    if cell.read_change:
        for name, quantity in (("change", "relative_gradient_change"), ("cosine", "gradient_cosine")):
            by_layer = change_by_layer(traces[quantity], arrived)
            found |= {f"{name} {when}": values for when, values in by_layer.items()}
    return found
