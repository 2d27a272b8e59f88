"""One network with one norm: trained, and scored."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from bncourse.experiments.recurrent.settings import ARMS, NETWORKS
from bncourse.lab import RecurrentEnsemble, accuracy, digits, steps_to_accuracy, train

CLASSES = 10


@dataclass(frozen=True)
class Cell:
    """The members of one ensemble, each with its rate and seed.

    Attributes
    ----------
    tested : so many members, the first ones, are scored on the test part; the others are not.
    """

    network: str
    arm: str
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    tested: int
    inputs: int
    steps: int
    batch_size: int
    momentum: float
    target: float
    evaluate_every: int


def train_members(cell: Cell) -> dict[str, Float[np.ndarray, "..."]]:
    """Train an ensemble.

    Returns
    -------
    steps : (S,), until validation accuracy reached the target; infinite where it never did.
    accuracy : (S,), on the validation part in the end.
    test_accuracy : (tested,).
    """
    data = digits()
    cell_type, units = NETWORKS[cell.network]
    norm, gamma = ARMS[cell.arm]
    network = RecurrentEnsemble((cell.inputs, units, CLASSES), cell.seeds, norm, cell=cell_type, gamma=gamma)
    history = train(
        network, data, cell.rates, cell.steps, cell.batch_size, cell.momentum, evaluate_every=cell.evaluate_every
    )
    found = {"steps": steps_to_accuracy(history, cell.target), "accuracy": history.validation_accuracy[:, -1]}
    if cell.tested:
        found["test_accuracy"] = accuracy(network.subset(range(cell.tested)), data.test_x, data.test_y)
    return found
