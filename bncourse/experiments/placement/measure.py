"""The run: both places tuned for every architecture on seeds of their own, compared on others."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from bncourse.experiments.ensembles import best, side_by_side
from bncourse.experiments.placement.outcome import Outcome
from bncourse.experiments.placement.settings import PLACES, SCORES, Architecture, Settings
from bncourse.experiments.placement.training import cell, train_members
from bncourse.experiments.shared import finite, six_digits
from bncourse.lab import (
    Interval,
    difference_of_means,
    mean_interval,
    paired_interval,
    ratio_of_geometric_means,
    run_all,
)

Arm = tuple[Architecture, str]
"""An architecture, and the place of its batch norm."""

RunAll = Callable[..., list[dict[str, Any]]]


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Tune each place for each architecture on the tuning seeds, and measure it on the test seeds."""
    spread_out = partial(run_all, jobs=jobs, cache=cache, progress=progress)
    parts = {score: _measure(settings, spread_out, score) for score in SCORES}
    saturated = parts["accuracy"].pop("saturated")
    return Outcome(
        seeds=len(settings.test_seeds),
        horizon=settings.digits_steps,
        target=settings.target,
        rates=list(settings.rates),
        architectures={
            activation: [each.name for each in settings.architectures() if each.activation == activation]
            for activation in settings.activations
        },
        **{name: {score: parts[score][name] for score in SCORES} for name in parts["accuracy"]},
        saturated=saturated,
    )


def _measure(settings: Settings, spread_out: RunAll, score: str) -> dict[str, Any]:
    """The parts of the outcome that are about one score."""
    architectures = settings.architectures()
    everywhere = {(each, place): settings.rates for each in architectures for place in settings.places}
    curves = _train(settings, spread_out, score, everywhere, settings.tuning_seeds, "validation")
    tuning = {arm: within(settings, score, found["score"]).mean(axis=1) for arm, found in curves.items()}
    tuned = {arm: settings.rates[best(score, means)] for arm, means in tuning.items()}
    alone = {arm: (rate,) for arm, rate in tuned.items()}
    scored = _train(settings, spread_out, score, alone, settings.test_seeds, "test")
    found = {arm: each["score"][0] for arm, each in scored.items()}
    counted = {arm: within(settings, score, values) for arm, values in found.items()}

    def table(of: Callable[[Arm], Any], some: list[Architecture] = architectures) -> dict[str, dict[str, Any]]:
        return {each.name: {place: of((each, place)) for place in settings.places} for each in some}

    def over(some: list[Architecture]) -> Interval:
        before, after = (np.stack([counted[each, place] for each in some]) for place in PLACES)
        return advantage(score, before, after)

    return {
        "tuning": table(lambda arm: six_digits(tuning[arm])),
        "tuned": table(lambda arm: tuned[arm]),
        "scores": table(lambda arm: finite(six_digits(found[arm]))),
        "means": table(lambda arm: mean_interval(counted[arm])),
        "by_depth": {each.name: over([each]) for each in architectures},
        "estimates": {
            activation: over([each for each in architectures if each.activation == activation])
            for activation in settings.activations
        },
        "saturated": table(
            lambda arm: [mean_interval(of_rate) for of_rate in curves[arm]["saturated"]],
            [each for each in architectures if each.saturates and score == "accuracy"],
        ),
    }


def within(settings: Settings, score: str, values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The scores, of which steps count as the horizon at most."""
    return np.minimum(values, settings.digits_steps) if score == "steps" else values


def advantage(score: str, before: Float[np.ndarray, "D S"], after: Float[np.ndarray, "D S"]) -> Interval:
    """Of the place before the activation over depths and seeds: steps after / before, or accuracy before - after."""
    if score == "steps":
        first, second = (np.exp(np.log(values).mean(axis=0)) for values in (after, before))
        return paired_interval(first, second, ratio_of_geometric_means)
    return paired_interval(before.mean(axis=0), after.mean(axis=0), difference_of_means)


def _train(
    settings: Settings,
    spread_out: RunAll,
    score: str,
    rates: Mapping[Arm, tuple[float, ...]],
    seeds: tuple[int, ...],
    part: str,
) -> dict[Arm, dict[str, Float[np.ndarray, "R S"]]]:
    """What every arm's members gave, at its rates with all seeds."""
    cells = [cell(settings, score, *arm, side_by_side(grid, seeds), part) for arm, grid in rates.items()]
    found = spread_out(train_members, cells)
    return {
        arm: {name: values.reshape(len(grid), len(seeds)) for name, values in each.items()}
        for (arm, grid), each in zip(rates.items(), found, strict=True)
    }
