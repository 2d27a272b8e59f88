"""One architecture with batch norm in one place: trained, and scored."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from bncourse.experiments.ensembles import final_accuracy
from bncourse.experiments.placement.settings import BOTH_ENDS, Architecture, Settings
from bncourse.lab import (
    Activations,
    MLPEnsemble,
    Normalization,
    Split,
    clusters,
    digits,
    measure,
    steps_to_accuracy,
    train,
)
from bncourse.lab.stacked import StackedBatchNorm

CLASSES = 10
BEFORE, AFTER = ("norm", "activation", "dropout"), ("activation", "norm", "dropout")


@dataclass(frozen=True)
class Cell:
    """The members of one ensemble, each with its rate and seed, one of ``SCORES``, and the part that it is read on.

    Steps are always those to a validation accuracy.
    """

    score: str
    architecture: Architecture
    place: str
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    part: str
    width: int
    steps: int
    batch_size: int
    momentum: float
    target: float
    evaluate_every: int


def cell(
    settings: Settings,
    score: str,
    architecture: Architecture,
    place: str,
    members: tuple[tuple[float, ...], tuple[int, ...]],
    part: str,
) -> Cell:
    """The cell of a score, with the rates and seeds of its members."""
    rates, seeds = members
    steps = settings.digits_steps if score == "steps" else settings.clusters_steps
    return Cell(
        score=score,
        architecture=architecture,
        place=place,
        rates=rates,
        seeds=seeds,
        part=part,
        width=settings.width,
        steps=steps,
        batch_size=settings.batch_size,
        momentum=settings.momentum,
        target=settings.target,
        evaluate_every=settings.evaluate_every if score == "steps" else steps,
    )


def train_members(cell: Cell) -> dict[str, Float[np.ndarray, "S"]]:
    """Train an ensemble.

    Returns
    -------
    score : of each member; infinite for steps where it does not arrive.
    saturated : where accuracy is the score of tanh or sigmoid units, the share of their values that is saturated in
        the end, over all hidden layers, on the validation part; 1 for a diverged network.
    """
    data = digits() if cell.score == "steps" else clusters()
    network = make_network(data, cell.architecture, cell.place, cell.width, cell.seeds)
    history = train(
        network, data, cell.rates, cell.steps, cell.batch_size, cell.momentum, evaluate_every=cell.evaluate_every
    )
    if cell.score == "steps":
        return {"score": steps_to_accuracy(history, cell.target)}
    found = {"score": final_accuracy(network, history, data, cell.part)}
    if cell.architecture.saturates:
        x, y = (part.expand(len(cell.seeds), *part.shape) for part in (data.validation_x, data.validation_y))
        share = measure(Activations(), network, x, y)["saturated"].mean(axis=1)
        found["saturated"] = np.where(np.isfinite(history.batch_loss[:, -1]), share, 1.0)
    return found


def make_network(
    data: Split, architecture: Architecture, place: str, width: int, seeds: tuple[int, ...]
) -> MLPEnsemble:
    """An ensemble with batch norm in a place, and a bias where it is not redundant."""
    widths = (data.train_x.shape[1], *(width,) * architecture.depth, CLASSES)
    order = AFTER if place == "after" else BEFORE
    network = MLPEnsemble(widths, seeds, True, activation=architecture.activation, order=order)
    if place == BOTH_ENDS:
        network.head = StackedBatchNorm(width, seeds, Normalization(), architecture.depth)
    return network
