"""One arm on one data set: what is read of the networks that it trains."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from bncourse.experiments.benefit.training import training_part
from bncourse.experiments.ensembles import side_by_side
from bncourse.experiments.regularization.settings import Arm, Settings
from bncourse.lab import MLPEnsemble, Normalization, Split, accuracy, clusters, train, with_noisy_labels


@dataclass(frozen=True)
class Cell:
    """The networks of one arm on one data set, every seed at every rate, and the part that they are scored on.

    On the validation part they are scored every so many steps as the settings say, on the test part in the end.
    """

    task: str
    arm: Arm
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    part: str
    steps: int
    settings: Settings


def train_members(cell: Cell) -> dict[str, Float[np.ndarray, "..."]]:
    """Train an ensemble.

    Returns
    -------
    evaluated_at : (K,), in steps.
    accuracy : (R, S, K) on the validation part, or (R, S, 1) on the test part.
    train_accuracy : (R, S), in the end, on the labels that were trained on.
    """
    settings = cell.settings
    data = task_data(cell.task, settings)
    rates, seeds = side_by_side(cell.rates, cell.seeds)
    widths = (data.train_x.shape[1], *settings.hidden, 10)
    network = MLPEnsemble(widths, seeds, normalization(cell.arm, settings.batch_size))
    history = train(
        network,
        data,
        rates,
        cell.steps,
        settings.batch_size,
        settings.momentum,
        evaluate_every=cell.steps if cell.part == "test" else settings.evaluate_every,
        full_statistics=cell.arm.kind in ("full", "noise"),
    )
    scores = history.validation_accuracy
    if cell.part == "test":
        scores = accuracy(network, data.test_x, data.test_y)[:, None]
    shape = (len(cell.rates), len(cell.seeds))
    return {
        "evaluated_at": history.evaluated_at.astype(float),
        "accuracy": scores.reshape(*shape, -1),
        "train_accuracy": accuracy(network, data.train_x, data.train_y).reshape(shape),
    }


def task_data(task: str, settings: Settings) -> Split:
    """One of ``TASKS``."""
    if task == "clusters":
        return clusters(settings.examples)
    if task == "digits":
        return training_part("digits", settings.clean_digits)
    return with_noisy_labels(training_part("digits", settings.examples), settings.noisy_labels)


def normalization(arm: Arm, batch_size: int) -> bool | Normalization:
    """What tells the ensemble to normalize as this arm does."""
    if arm.kind == "noise":
        return Normalization(ghost_noise=arm.size)
    if arm.kind == "ghosts" and arm.size < batch_size:
        return Normalization(group=arm.size)
    return arm.kind != "none"
