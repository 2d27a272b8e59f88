"""The run: a rate for each activation and gamma on the tuning seeds, then both parts scored on the test seeds."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from bncourse.experiments.ensembles import portions
from bncourse.experiments.fixed_gamma.outcome import Outcome
from bncourse.experiments.fixed_gamma.settings import COMPARED, Settings
from bncourse.lab import (
    Interval,
    MLPEnsemble,
    Normalization,
    accuracy,
    clusters,
    difference_of_means,
    mean_interval,
    mean_loss,
    paired_interval,
    run_all,
    train,
)

CLASSES = 10
PARTS = ("train", "test")

Place = tuple[str, float]
"""An activation and a gamma."""

Scores = dict[str, Float[np.ndarray, "S"]]


@dataclass(frozen=True)
class Way:
    """How a network is made and trained, all but its seed."""

    activation: str
    gamma: float
    rate: float


@dataclass(frozen=True)
class Cell:
    """The members of one ensemble, and whether to score them on the test part.

    Tuning asks for validation accuracy, and for nothing else.
    """

    activation: str
    gammas: tuple[float, ...]
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    hidden: tuple[int, ...]
    steps: int
    batch_size: int
    momentum: float
    test: bool


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Tune on the tuning seeds, and measure on the test seeds."""
    spread_out = partial(run_all, jobs=jobs, cache=cache, progress=progress)
    grid = {
        (activation, gamma): [Way(activation, gamma, rate) for rate in settings.rates]
        for activation in COMPARED
        for gamma in settings.gammas
    }
    ways = (way for row in grid.values() for way in row)
    found = _train(settings, spread_out, ways, settings.tuning_seeds, test=False)
    tuning = {place: np.array([found[way]["validation"].mean() for way in row]) for place, row in grid.items()}
    chosen = {place: row[int(tuning[place].argmax())] for place, row in grid.items()}
    found = _train(settings, spread_out, chosen.values(), settings.test_seeds, test=True)
    tuned = {place: way.rate for place, way in chosen.items()}
    return summarize(settings, tuning, tuned, {place: found[way] for place, way in chosen.items()})


def _train(
    settings: Settings,
    spread_out: Callable[..., list[dict[str, Any]]],
    ways: Iterable[Way],
    seeds: tuple[int, ...],
    *,
    test: bool,
) -> dict[Way, Scores]:
    """Train in every way with every seed; ways of one activation come one after the other."""
    asked = list(ways)
    cells = []
    for activation in COMPARED:
        members = [(way, seed) for way in asked if way.activation == activation for seed in seeds]
        for portion in portions(members):
            some, some_seeds = zip(*portion, strict=True)
            cells.append(
                Cell(
                    activation=activation,
                    gammas=tuple(way.gamma for way in some),
                    rates=tuple(way.rate for way in some),
                    seeds=some_seeds,
                    hidden=settings.hidden,
                    steps=settings.steps,
                    batch_size=settings.batch_size,
                    momentum=settings.momentum,
                    test=test,
                )
            )
    of_cells = spread_out(train_members, cells)
    scores = {
        name: np.concatenate([each[name] for each in of_cells]).reshape(len(asked), len(seeds)) for name in of_cells[0]
    }
    return {way: {name: values[row] for name, values in scores.items()} for row, way in enumerate(asked)}


def train_members(cell: Cell) -> Scores:
    """Train an ensemble, and score its members on validation, or on the training and the test part."""
    data = clusters()
    network = MLPEnsemble(
        (data.train_x.shape[1], *cell.hidden, CLASSES),
        cell.seeds,
        Normalization(gamma=cell.gammas, learn_gamma=False),
        activation=cell.activation,
    )
    history = train(network, data, cell.rates, cell.steps, cell.batch_size, cell.momentum, evaluate_every=cell.steps)
    if not cell.test:
        return {"validation": history.validation_accuracy[:, -1]}
    parts = {"train": (data.train_x, data.train_y), "test": (data.test_x, data.test_y)}
    return {
        **{f"{name} accuracy": accuracy(network, x, y) for name, (x, y) in parts.items()},
        **{f"{name} loss": mean_loss(network, x, y) for name, (x, y) in parts.items()},
    }


def summarize(
    settings: Settings,
    tuning: Mapping[Place, Float[np.ndarray, "R"]],
    tuned: Mapping[Place, float],
    scores: Mapping[Place, Scores],
) -> Outcome:
    """Means, gaps and falls, with their intervals."""
    gaps = {place: of["train accuracy"] - of["test accuracy"] for place, of in scores.items()}
    falls = {
        f"{activation} {part}": ((activation, smaller), (activation, larger))
        for activation, of_activation in COMPARED.items()
        for part, (smaller, larger) in of_activation.items()
    }

    def of_places(value: Callable[[Place], Any]) -> dict[str, dict[str, Any]]:
        return {
            activation: {f"{gamma:g}": value((activation, gamma)) for gamma in settings.gammas}
            for activation in COMPARED
        }

    def of_parts(value: Callable[[Float[np.ndarray, "S"]], Any], quantity: str) -> dict[str, dict[str, Any]]:
        return of_places(lambda place: {part: value(scores[place][f"{part} {quantity}"]) for part in PARTS})

    return Outcome(
        seeds=len(settings.test_seeds),
        gammas=list(settings.gammas),
        rates=list(settings.rates),
        tuning_accuracy=of_places(lambda place: tuning[place].round(4).tolist()),
        tuned=of_places(lambda place: tuned[place]),
        accuracy=of_parts(lambda values: values.round(5).tolist(), "accuracy"),
        mean_accuracy=of_parts(mean_interval, "accuracy"),
        mean_loss=of_parts(_finite_mean, "loss"),
        gap=of_places(lambda place: mean_interval(gaps[place])),
        estimates={
            fall: paired_interval(gaps[smaller], gaps[larger], difference_of_means)
            for fall, (smaller, larger) in falls.items()
        },
        accuracy_change={
            fall: paired_interval(
                scores[larger]["test accuracy"], scores[smaller]["test accuracy"], difference_of_means
            )
            for fall, (smaller, larger) in falls.items()
        },
    )


def _finite_mean(values: Float[np.ndarray, "S"]) -> Interval | None:
    return mean_interval(values) if np.isfinite(values).all() else None
