"""One arm in one setting: data of the wanted size, and what is read of the networks that it trains."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from bncourse.experiments.benefit.settings import Setting
from bncourse.experiments.design import ARMS
from bncourse.lab import MLPEnsemble, Split, accuracy, clusters, digits, train


@dataclass(frozen=True)
class Cell:
    """Members of one arm in one setting, each with its rate and seed, and the part that they are scored on.

    On the validation part they are scored every ``evaluate_every`` steps, on the test part in the end.
    """

    setting: Setting
    arm: str
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    part: str
    steps: int
    batch_size: int
    momentum: float
    evaluate_every: int


def train_members(cell: Cell) -> dict[str, Float[np.ndarray, "..."]]:
    """Train an ensemble.

    Returns
    -------
    evaluated_at : (K,), in steps.
    accuracy : (S, K) on the validation part, or (S, 1) on the test part.
    """
    data = training_part(cell.setting.data, cell.setting.examples)
    widths = (data.train_x.shape[1], *(cell.setting.width,) * cell.setting.depth, 10)
    network = MLPEnsemble(widths, cell.seeds, ARMS[cell.arm])
    every = cell.steps if cell.part == "test" else cell.evaluate_every
    history = train(network, data, cell.rates, cell.steps, cell.batch_size, cell.momentum, evaluate_every=every)
    scores = history.validation_accuracy
    if cell.part == "test":
        scores = accuracy(network, data.test_x, data.test_y)[:, None]
    return {"evaluated_at": history.evaluated_at.astype(float), "accuracy": scores}


def training_part(data: str, examples: int) -> Split:
    """The data with so many examples for training; a smaller part is the beginning of a larger one.

    The digits keep the scale that they have with all their training images.
    """
    if data == "clusters":
        return clusters(examples)
    whole = digits()
    rows = np.random.default_rng([0, 0, 0, 3]).permutation(len(whole.train_x))[:examples]
    return replace(whole, train_x=whole.train_x[rows], train_y=whole.train_y[rows])
