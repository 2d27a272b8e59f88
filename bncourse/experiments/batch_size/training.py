"""One ensemble: networks of one arm, trained in batches of one size for a number of steps, and what is read of them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from bncourse.experiments.batch_size.noise import KINDS, noise_of
from bncourse.experiments.design import ARMS
from bncourse.lab import MLPEnsemble, accuracy, digits, take_statistics, train

CLASSES = 10


@dataclass(frozen=True)
class Cell:
    """The members of one ensemble, each with its rate and seed, and how they are trained."""

    arm: str
    batch_size: int
    steps: int
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    hidden: tuple[int, ...]
    momentum: float


@dataclass(frozen=True)
class ScoredCell:
    """An ensemble, and the part of the data that it is scored on in the end: "validation" or "test"."""

    trained: Cell
    part: str


@dataclass(frozen=True)
class NoiseCell:
    """An ensemble, and the sizes and the number of the batches on which its statistics are then looked at."""

    trained: Cell
    batch_sizes: tuple[int, ...]
    draws: int


def scores(cell: ScoredCell) -> dict[str, Float[np.ndarray, "S"]]:
    """Accuracy on the part that the cell names, and on no other, with the statistics of the training part."""
    data = digits()
    network = _trained(cell.trained)
    take_statistics(network, data.train_x)
    part = (data.test_x, data.test_y) if cell.part == "test" else (data.validation_x, data.validation_y)
    return {"accuracy": accuracy(network, *part)}


def noises(cell: NoiseCell) -> dict[str, Float[np.ndarray, "B S L"]]:
    """Each kind of noise at each batch size."""
    network = _trained(cell.trained)
    each = [noise_of(network, digits().train_x, size, cell.draws) for size in cell.batch_sizes]
    return {kind: np.stack([of_size[kind] for of_size in each]) for kind in KINDS}


def _trained(cell: Cell) -> MLPEnsemble:
    data = digits()
    network = MLPEnsemble((data.train_x.shape[1], *cell.hidden, CLASSES), cell.seeds, ARMS[cell.arm])
    train(network, data, cell.rates, cell.steps, cell.batch_size, cell.momentum, evaluate_every=cell.steps)
    return network
