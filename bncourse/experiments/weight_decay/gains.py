"""What weight decay adds to test accuracy, at a fixed rate and with the rate tuned: what C14 rests on."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from bncourse.experiments.design import ARMS
from bncourse.experiments.ensembles import final_accuracy, portions
from bncourse.experiments.weight_decay.settings import Settings
from bncourse.lab import MLPEnsemble, clusters, difference_of_means, mean_interval, paired_interval, train

CLASSES = 10

GAINS = {"fixed": ("fixed decayed", "fixed plain"), "added": ("added", "plain"), "retuned": ("retuned", "plain")}
"""The settings whose difference each gain is."""


@dataclass(frozen=True)
class Way:
    """How a network is made and trained, all but its seed."""

    arm: str
    rate: float
    decay: float


@dataclass(frozen=True)
class Cell:
    """The members of one ensemble, and the part of the data that they are scored on in the end."""

    arm: str
    rates: tuple[float, ...]
    decays: tuple[float, ...]
    seeds: tuple[int, ...]
    hidden: tuple[int, ...]
    steps: int
    batch_size: int
    momentum: float
    part: str


Scores = dict[Way, Float[np.ndarray, "S"]]
RunAll = Callable[[Callable[[Any], dict[str, Any]], list[Any]], list[dict[str, Any]]]


def measure_gains(settings: Settings, run_all: RunAll) -> dict[str, Any]:
    """The parts of the outcome that are about accuracy."""
    decays = (0.0, *settings.decays)
    grid = {arm: [[Way(arm, rate, decay) for rate in settings.rates] for decay in decays] for arm in settings.arms}
    ways = [way for rows in grid.values() for row in rows for way in row]
    found = final_accuracies(settings, run_all, ways, settings.tuning_seeds, "validation")
    means = {arm: np.array([[found[way].mean() for way in row] for row in rows]) for arm, rows in grid.items()}
    chosen = {arm: choose(settings, arm, mean) for arm, mean in means.items()}

    wanted = [way for ways in chosen.values() for way in ways.values()]
    test = final_accuracies(settings, run_all, wanted, settings.test_seeds, "test")
    scores = {
        arm: {setting: [round(value, 5) for value in test[way].tolist()] for setting, way in ways.items()}
        for arm, ways in chosen.items()
    }
    return {
        "rates": list(settings.rates),
        "decays": list(decays),
        "tuning_accuracy": {arm: mean.round(4).tolist() for arm, mean in means.items()},
        "chosen": {
            arm: {setting: [way.rate, way.decay] for setting, way in ways.items()} for arm, ways in chosen.items()
        },
        "test_accuracy": scores,
        "mean_accuracy": {
            arm: {setting: mean_interval(np.array(values)) for setting, values in of_arm.items()}
            for arm, of_arm in scores.items()
        },
        "estimates": {
            arm: {
                name: paired_interval(np.array(of_arm[first]), np.array(of_arm[second]), difference_of_means)
                for name, (first, second) in GAINS.items()
            }
            for arm, of_arm in scores.items()
        },
    }


def choose(settings: Settings, arm: str, means: Float[np.ndarray, "D R"]) -> dict[str, Way]:
    """The five ways to train that are compared, from accuracies in tuning; their first row is that without decay."""
    fixed = settings.rates.index(settings.fixed_rate)
    best = int(means[0].argmax())
    pair_decay, pair_rate = np.unravel_index(means[1:].argmax(), means[1:].shape)

    def way(rate: int, decay: int | None) -> Way:
        return Way(arm, settings.rates[rate], 0.0 if decay is None else settings.decays[decay])

    return {
        "fixed plain": way(fixed, None),
        "fixed decayed": way(fixed, int(means[1:, fixed].argmax())),
        "plain": way(best, None),
        "added": way(best, int(means[1:, best].argmax())),
        "retuned": way(int(pair_rate), int(pair_decay)),
    }


def final_accuracies(
    settings: Settings, run_all: RunAll, ways: Iterable[Way], seeds: Sequence[int], part: str
) -> Scores:
    """Train in every way with every seed, each once, and score on the validation or the test part.

    Returns
    -------
    For each way (S,), in the order of the seeds.
    """
    asked = sorted(dict.fromkeys(ways), key=lambda way: way.arm)
    cells = []
    for arm in dict.fromkeys(way.arm for way in asked):
        members = [(way, seed) for way in asked if way.arm == arm for seed in seeds]
        for portion in portions(members):
            some, some_seeds = zip(*portion, strict=True)
            cells.append(
                Cell(
                    arm=arm,
                    rates=tuple(way.rate for way in some),
                    decays=tuple(way.decay for way in some),
                    seeds=some_seeds,
                    hidden=settings.hidden,
                    steps=settings.steps,
                    batch_size=settings.batch_size,
                    momentum=settings.momentum,
                    part=part,
                )
            )
    found = np.concatenate([each["accuracy"] for each in run_all(train_members, cells)])
    return dict(zip(asked, found.reshape(len(asked), len(seeds)), strict=True))


def train_members(cell: Cell) -> dict[str, Float[np.ndarray, "S"]]:
    """Train an ensemble, and score its members on the part that the cell names, and on no other."""
    data = clusters()
    widths = (data.train_x.shape[1], *cell.hidden, CLASSES)
    network = MLPEnsemble(widths, cell.seeds, ARMS[cell.arm])
    history = train(
        network,
        data,
        cell.rates,
        cell.steps,
        cell.batch_size,
        cell.momentum,
        evaluate_every=cell.steps,
        weight_decay=cell.decays,
    )
    return {"accuracy": final_accuracy(network, history, data, cell.part)}
