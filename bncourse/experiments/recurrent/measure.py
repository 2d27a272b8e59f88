"""The run: every arm of both networks tuned on seeds of their own, then compared on others."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from bncourse.experiments.ensembles import best, side_by_side
from bncourse.experiments.recurrent.outcome import Outcome
from bncourse.experiments.recurrent.settings import NETWORKS, SCORES, Settings
from bncourse.experiments.recurrent.training import Cell, train_members
from bncourse.experiments.shared import finite, six_digits
from bncourse.lab import (
    Interval,
    difference_of_means,
    mean_interval,
    paired_interval,
    ratio_of_means,
    restricted_mean,
    run_all,
)

Place = tuple[str, str]
"""A network and an arm."""


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Tune every arm of both networks on the tuning seeds, and measure it on the test seeds."""
    spread_out = partial(run_all, jobs=jobs, cache=cache, progress=progress)
    places = [(network, arm) for network in NETWORKS for arm in settings.arms]
    tuning = _tune(settings, spread_out, places)
    tuned = {
        score: {place: settings.rates[place[0]][best(score, means[place])] for place in places}
        for score, means in tuning.items()
    }
    chosen = {
        score: {network: _best_batch_norm(settings, score, network, means) for network in NETWORKS}
        for score, means in tuning.items()
    }
    # The test part is read at the first rate alone.
    rates = {place: tuple(dict.fromkeys((tuned["accuracy"][place], tuned["steps"][place]))) for place in places}
    found = _train(settings, spread_out, rates, settings.test_seeds, tested=len(settings.test_seeds))
    steps = {place: values["steps"][-1] for place, values in found.items()}
    scores = {
        "steps": {place: np.minimum(values, settings.steps) for place, values in steps.items()},
        "accuracy": {place: 100 * np.array(six_digits(each["test_accuracy"][0])) for place, each in found.items()},
    }

    def table(of: Callable[[Place], Any]) -> dict[str, dict[str, Any]]:
        return {network: {arm: of((network, arm)) for arm in settings.arms} for network in NETWORKS}

    def more_accurate(network: str, arm: str, other: str) -> Interval:
        accuracy = scores["accuracy"]
        return paired_interval(accuracy[network, arm], accuracy[network, other], difference_of_means)

    def fewer_steps(network: str, arm: str) -> Interval:
        return paired_interval(scores["steps"][network, "none"], scores["steps"][network, arm], ratio_of_means)

    return Outcome(
        seeds=len(settings.test_seeds),
        horizon=settings.steps,
        target=settings.target,
        rates={network: list(settings.rates[network]) for network in NETWORKS},
        tuned={score: table(rates.__getitem__) for score, rates in tuned.items()},
        chosen=chosen,
        steps=table(lambda place: finite(steps[place].tolist())),
        test_accuracy=table(lambda place: six_digits(found[place]["test_accuracy"][0])),
        mean_steps=table(lambda place: mean_interval(scores["steps"][place])),
        mean_accuracy=table(lambda place: mean_interval(scores["accuracy"][place] / 100)),
        gains={
            network: {arm: more_accurate(network, arm, "none") for arm in settings.arms if arm != "none"}
            for network in NETWORKS
        },
        per_step_gain={
            network: more_accurate(network, "per_step", "shared")
            for network in NETWORKS
            if {"per_step", "shared"} <= set(settings.arms)
        },
        estimates={
            "steps": {network: fewer_steps(network, arm) for network, arm in chosen["steps"].items()},
            "accuracy": {network: more_accurate(network, arm, "none") for network, arm in chosen["accuracy"].items()},
        },
    )


def _best_batch_norm(
    settings: Settings, score: str, network: str, means: Mapping[Place, Float[np.ndarray, "R"]]
) -> str:
    """The arm whose best rate is the best of all."""
    names = settings.batch_norms
    at_their_best = [means[network, arm][best(score, means[network, arm])] for arm in names]
    return names[best(score, np.array(at_their_best))]


def _tune(
    settings: Settings, spread_out: Callable[..., list[dict[str, Any]]], places: list[Place]
) -> dict[str, dict[Place, Float[np.ndarray, "R"]]]:
    """Mean scores over the tuning seeds at each rate. Where there is nothing to choose from, nothing is trained."""
    rates = {place: settings.rates[place[0]] for place in places}
    if len(settings.batch_norms) == 1 and all(len(grid) == 1 for grid in rates.values()):
        return {score: {place: np.zeros(1) for place in places} for score in SCORES}
    found = _train(settings, spread_out, rates, settings.tuning_seeds, tested=0)
    return {
        "steps": {place: restricted_mean(each["steps"], settings.steps) for place, each in found.items()},
        "accuracy": {place: each["accuracy"].mean(axis=1) for place, each in found.items()},
    }


def _train(
    settings: Settings,
    spread_out: Callable[..., list[dict[str, Any]]],
    rates: Mapping[Place, tuple[float, ...]],
    seeds: tuple[int, ...],
    tested: int,
) -> dict[Place, dict[str, Float[np.ndarray, "R S"]]]:
    """Scores of every place at its rates with all seeds; on the test part, of the first members alone."""
    cells = [
        Cell(
            network=network,
            arm=arm,
            rates=each_rate,
            seeds=each_seed,
            tested=tested,
            inputs=settings.inputs,
            steps=settings.steps,
            batch_size=settings.batch_size,
            momentum=settings.momentum,
            target=settings.target,
            evaluate_every=settings.evaluate_every,
        )
        for (network, arm), grid in rates.items()
        for each_rate, each_seed in [side_by_side(grid, seeds)]
    ]
    return {
        place: {name: values.reshape(-1, len(seeds)) for name, values in each.items()}
        for place, each in zip(rates, spread_out(train_members, cells), strict=True)
    }
