"""The run: every arm tuned on seeds of its own and scored, then the variances of batch norm beside dropout."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from bncourse.experiments.dropout.outcome import Outcome
from bncourse.experiments.dropout.settings import ALONE, ORDERS, Settings, build
from bncourse.experiments.dropout.variances import measure_variances
from bncourse.experiments.ensembles import final_accuracy, side_by_side
from bncourse.experiments.shared import six_digits
from bncourse.lab import clusters, difference_of_means, mean_interval, paired_interval, run_all, train


@dataclass(frozen=True)
class Cell:
    """Members of one arm and share, each with its rate and seed, and the part that they are scored on in the end."""

    arm: str
    share: float
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    hidden: tuple[int, ...]
    steps: int
    batch_size: int
    momentum: float
    part: str


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Tune on the tuning seeds and measure on the test seeds."""
    spread_out = partial(run_all, jobs=jobs, cache=cache, progress=progress)
    return Outcome(
        seeds=len(settings.test_seeds),
        rates=list(settings.rates),
        shares=list(settings.shares),
        **measure_accuracies(settings, spread_out),
        shift_shares=list(settings.shift_shares),
        **measure_variances(settings, spread_out),
    )


def measure_accuracies(settings: Settings, spread_out: Callable[..., list[dict[str, Any]]]) -> dict[str, Any]:
    """The parts of the outcome that are about accuracy."""
    places = [(arm, share) for arm in settings.arms for share in settings.shares_of(arm)]
    tuning = [_cell(settings, *place, settings.rates, settings.tuning_seeds, "validation") for place in places]
    rows = {
        place: found["accuracy"].reshape(len(settings.rates), -1).mean(axis=1)
        for place, found in zip(places, spread_out(train_members, tuning), strict=True)
    }
    tuned = {arm: np.stack([rows[arm, share] for share in settings.shares_of(arm)]) for arm in settings.arms}
    chosen = {arm: choose(settings, arm, grid) for arm, grid in tuned.items()}
    final = [_cell(settings, arm, share, (rate,), settings.test_seeds, "test") for arm, (rate, share) in chosen.items()]
    scores = {arm: found["accuracy"] for arm, found in zip(chosen, spread_out(train_members, final), strict=True)}
    return {
        "tuning_accuracy": {arm: grid.round(4).tolist() for arm, grid in tuned.items()},
        "chosen": {arm: list(pair) for arm, pair in chosen.items()},
        "better_alone": max(ALONE, key=lambda arm: float(tuned[arm].max())),
        "test_accuracy": {arm: six_digits(values) for arm, values in scores.items()},
        "mean_accuracy": {arm: mean_interval(values) for arm, values in scores.items()},
        "gains": {
            order: {alone: paired_interval(scores[order], scores[alone], difference_of_means) for alone in ALONE}
            for order in ORDERS
        },
    }


def choose(settings: Settings, arm: str, means: Float[np.ndarray, "P R"]) -> tuple[float, float]:
    """The rate and the share of the best mean accuracy."""
    share, rate = np.unravel_index(int(means.argmax()), means.shape)
    return settings.rates[rate], settings.shares_of(arm)[share]


def train_members(cell: Cell) -> dict[str, Float[np.ndarray, "S"]]:
    """Train an ensemble, and score its members on the part that the cell names, and on no other."""
    data = clusters()
    network = build(cell.arm, cell.share, (data.train_x.shape[1], *cell.hidden, 10), cell.seeds)
    history = train(network, data, cell.rates, cell.steps, cell.batch_size, cell.momentum, evaluate_every=cell.steps)
    return {"accuracy": final_accuracy(network, history, data, cell.part)}


def _cell(settings: Settings, arm: str, share: float, grid: Sequence[float], seeds: Sequence[int], part: str) -> Cell:
    rates, members = side_by_side(grid, seeds)
    return Cell(
        arm=arm,
        share=share,
        rates=rates,
        seeds=members,
        hidden=settings.hidden,
        steps=settings.steps,
        batch_size=settings.batch_size,
        momentum=settings.momentum,
        part=part,
    )
