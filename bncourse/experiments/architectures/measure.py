"""The run: every arm of every cell tuned on seeds of its own, then compared on others; and what is made of it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from bncourse.experiments.architectures.settings import Cell, Settings
from bncourse.experiments.architectures.training import Members, train_members, values_per_statistic
from bncourse.experiments.ensembles import side_by_side
from bncourse.experiments.shared import six_digits
from bncourse.lab import Interval, difference_of_means, mean_interval, paired_interval, run_all

Arm = tuple[Cell, str]
Candidate = tuple[Cell, str, str | None]


@dataclass(frozen=True)
class Outcome:
    """Accuracies of each arm by cell and seed, and the estimates made of them.

    A *cell* is a key as made by ``Cell.name``, an *arm* one of those of ``NORMS``, a *norm* one of its candidates.

    Attributes
    ----------
    seeds : how many test seeds.
    architectures, batch_sizes, budgets, rates : of the settings.
    tuning_accuracy : {cell: {norm: (R,)}}, on the validation part, mean over the tuning seeds; none for a norm that was
        not tuned, for lack of a choice.
    norm, tuned : {cell: {arm: what was chosen}}; rates are those of batches of one.
    values_per_statistic : {cell: of the batch norm chosen, each number once, in the order of the layers}.
    test_accuracy : {cell: {arm: (S,)}}.
    mean_accuracy : {cell: {arm: with its interval}}.
    gains : {cell: {arm: test accuracy, arm - none, in percentage points}}, for the arms other than none.
    interactions : {"fully connected, 2000 examples" and so on: {arm: gain with large batches - gain with small ones}}.
    """

    seeds: int
    architectures: list[str]
    batch_sizes: list[int]
    budgets: list[int]
    rates: list[float]
    tuning_accuracy: dict[str, dict[str, list[float]]]
    norm: dict[str, dict[str, str]]
    tuned: dict[str, dict[str, float]]
    values_per_statistic: dict[str, list[int]]
    test_accuracy: dict[str, dict[str, list[float]]]
    mean_accuracy: dict[str, dict[str, Interval]]
    gains: dict[str, dict[str, Interval]]
    interactions: dict[str, dict[str, Interval]]


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Choose norm and rate of each arm in each cell on the tuning seeds, and measure it on the test seeds."""
    spread_out = partial(run_all, jobs=jobs, cache=cache, progress=progress)
    candidates = {
        (cell, arm): norms for cell in settings.cells() for arm, norms in settings.norms(cell.architecture).items()
    }
    open_choice = [
        (cell, arm, norm)
        for (cell, arm), norms in candidates.items()
        for norm in norms
        if len(norms) * len(settings.rates) > 1
    ]
    tuning = _train(
        settings, spread_out, dict.fromkeys(open_choice, settings.rates), settings.tuning_seeds, "validation"
    )
    scores = {place: accuracies.mean(axis=1) for place, accuracies in tuning.items()}
    chosen = {(cell, arm): _best(settings, scores, cell, arm, norms) for (cell, arm), norms in candidates.items()}
    final = {(cell, arm, norm): (rate,) for (cell, arm), (norm, rate) in chosen.items()}
    accuracies = _train(settings, spread_out, final, settings.test_seeds, "test")
    return summarize(settings, scores, chosen, {(cell, arm): row[0] for (cell, arm, _), row in accuracies.items()})


def _best(
    settings: Settings,
    scores: Mapping[Candidate, Float[np.ndarray, "R"]],
    cell: Cell,
    arm: str,
    norms: Iterable[str | None],
) -> tuple[str | None, float]:
    """Norm and rate of the best score; the only ones, if nothing was tuned."""
    tried = {
        (norm, rate): score
        for norm in norms
        for rate, score in zip(settings.rates, scores.get((cell, arm, norm), [0.0]), strict=True)
    }
    return max(tried, key=tried.__getitem__)


def _train(
    settings: Settings,
    spread_out: Callable[..., list[dict[str, Any]]],
    rates: Mapping[Candidate, tuple[float, ...]],
    seeds: tuple[int, ...],
    part: str,
) -> dict[Candidate, Float[np.ndarray, "R S"]]:
    """Accuracies of all candidates at their rates with all seeds."""
    members = []
    for (cell, _, norm), grid in rates.items():
        each_rate, each_seed = side_by_side([rate * cell.batch_size for rate in grid], seeds)
        members.append(Members(cell, norm, each_rate, each_seed, part, settings.momentum))
    found = spread_out(train_members, members)
    return {
        place: each["accuracy"].reshape(len(grid), len(seeds))
        for (place, grid), each in zip(rates.items(), found, strict=True)
    }


def summarize(
    settings: Settings,
    scores: Mapping[Candidate, Float[np.ndarray, "R"]],
    chosen: Mapping[Arm, tuple[str | None, float]],
    accuracies: Mapping[Arm, Float[np.ndarray, "S"]],
) -> Outcome:
    """Everything that the outcome holds, from what was tuned, chosen and measured."""
    cells = settings.cells()
    arms = {cell: list(settings.norms(cell.architecture)) for cell in cells}
    recorded = {place: six_digits(values) for place, values in accuracies.items()}
    points = {place: 100 * np.array(values) for place, values in recorded.items()}
    gains = {(cell, arm): values - points[cell, "none"] for (cell, arm), values in points.items()}

    def interactions(architecture: str, examples: int) -> dict[str, Interval]:
        small, large = (Cell(architecture, batch_size, examples) for batch_size in settings.batch_sizes)
        return {
            arm: paired_interval(gains[large, arm], gains[small, arm], difference_of_means) for arm in arms[small][1:]
        }

    return Outcome(
        seeds=len(settings.test_seeds),
        architectures=list(settings.architectures),
        batch_sizes=list(settings.batch_sizes),
        budgets=list(settings.budgets),
        rates=list(settings.rates),
        tuning_accuracy={
            cell.name: {str(norm): six_digits(row) for (place, _, norm), row in scores.items() if place == cell}
            for cell in cells
        },
        norm={cell.name: {arm: str(chosen[cell, arm][0]) for arm in arms[cell]} for cell in cells},
        tuned={cell.name: {arm: chosen[cell, arm][1] for arm in arms[cell]} for cell in cells},
        values_per_statistic={
            cell.name: values_per_statistic(cell.architecture, chosen[cell, "batch_norm"][0], cell.batch_size)
            for cell in cells
        },
        test_accuracy={cell.name: {arm: recorded[cell, arm] for arm in arms[cell]} for cell in cells},
        mean_accuracy={
            cell.name: {arm: mean_interval(np.array(recorded[cell, arm])) for arm in arms[cell]} for cell in cells
        },
        gains={cell.name: {arm: mean_interval(gains[cell, arm]) for arm in arms[cell][1:]} for cell in cells},
        interactions={
            f"{architecture}, {examples} examples": interactions(architecture, examples)
            for examples in settings.budgets
            for architecture in settings.architectures
        },
    )
