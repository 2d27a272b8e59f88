"""Accuracy over gains of the initial weights, at several rates: what C5 and C23 rest on."""

from typing import Any

import numpy as np
from jaxtyping import Float

from bncourse.experiments.design import ARMS
from bncourse.experiments.initialization.settings import Settings
from bncourse.experiments.initialization.training import Network, Score, lists, one_of_each, recorded_values
from bncourse.lab import Interval, difference_of_means, mean_interval, paired_interval

Regimes = dict[str, dict[str, list[Network]]]
RATES = ("tuned", "small")


def sweep_gains(settings: Settings, score: Score) -> dict[str, Any]:
    """The parts of the outcome that are about gains."""
    tuning = one_of_each(settings.tuning_seeds)
    grid = {
        arm: [[Network.at("digits", arm, rate, gain) for rate in settings.rates] for gain in settings.gains]
        for arm in ARMS
    }
    found = score([network for rows in grid.values() for row in rows for network in row], tuning, "validation")
    means = {arm: np.array([[found[network].mean() for network in row] for row in rows]) for arm, rows in grid.items()}
    retuned = {arm: [settings.rates[place] for place in mean.argmax(axis=1)] for arm, mean in means.items()}
    tuned = {arm: rates[settings.gains.index(1)] for arm, rates in retuned.items()}
    regimes = regimes_of(settings, tuned, retuned)

    ranged = {regime: arms["batch_norm"] for regime, arms in regimes.items() if regime != "retuned"}
    missing = [network for networks in ranged.values() for network in networks if network not in found]
    found |= score(missing, tuning, "validation")
    extremes = {
        regime: worst_and_best(settings, [float(found[network].mean()) for network in networks])
        for regime, networks in ranged.items()
    }

    wanted = [network for arms in regimes.values() for networks in arms.values() for network in networks]
    test = score(wanted, one_of_each(settings.test_seeds), "test")
    accuracy = {
        regime: {arm: np.array([recorded_values(test[network]) for network in row]) for arm, row in arms.items()}
        for regime, arms in regimes.items()
    }
    widths = {
        regime: {arm: width(settings, values) for arm, values in arms.items()} for regime, arms in accuracy.items()
    }
    differences = {
        f"{regime} width difference": paired_interval(arms["batch_norm"], arms["none"], difference_of_means)
        for regime, arms in widths.items()
        if arms.keys() == ARMS.keys()
    }
    ranges = {
        f"{regime} range": accuracy_range(settings, accuracy[regime]["batch_norm"], *extremes[regime])
        for regime in ranged
    }
    return {
        "gains": list(settings.gains),
        "rates": list(settings.rates),
        "target_accuracy": settings.target_accuracy,
        "tuning_accuracy": {arm: mean.round(4).tolist() for arm, mean in means.items()},
        "tuned": tuned,
        "small_rate": small_rates(settings, tuned),
        "retuned": retuned,
        "test_accuracy": lists(accuracy),
        "mean_accuracy": {
            regime: {arm: [mean_interval(row) for row in values] for arm, values in arms.items()}
            for regime, arms in accuracy.items()
        },
        "widths": lists(widths),
        "extremes": extremes,
        "estimates": differences | ranges,
    }


def regimes_of(settings: Settings, tuned: dict[str, float], retuned: dict[str, list[float]]) -> Regimes:
    """The network at each gain, for each regime and its arms."""

    def networks(arm: str, rates: list[float], rescaled: bool = False) -> list[Network]:
        pairs = zip(rates, settings.gains, strict=True)
        return [Network.at("digits", arm, rate, gain, rescaled) for rate, gain in pairs]

    regimes: Regimes = {"retuned": {arm: networks(arm, retuned[arm]) for arm in ARMS}}
    for name, rate in zip(RATES, (tuned, small_rates(settings, tuned)), strict=True):
        same = {arm: [rate[arm]] * len(settings.gains) for arm in ARMS}
        regimes[name] = {arm: networks(arm, same[arm]) for arm in ARMS}
        regimes[f"{name} rescaled"] = {"batch_norm": networks("batch_norm", same["batch_norm"], rescaled=True)}
    return regimes


def small_rates(settings: Settings, tuned: dict[str, float]) -> dict[str, float]:
    """The second rate of each arm."""
    return {arm: rate * settings.small for arm, rate in tuned.items()}


def worst_and_best(settings: Settings, scores: list[float]) -> list[float]:
    """The gains of the smallest and of the largest of scores (G,)."""
    return [settings.gains[int(np.argmin(scores))], settings.gains[int(np.argmax(scores))]]


def width(settings: Settings, accuracy: Float[np.ndarray, "G S"]) -> Float[np.ndarray, "S"]:
    """Decades of gain at which each seed works, within the sweep."""
    return np.asarray((accuracy >= settings.target_accuracy).sum(axis=0) * settings.decades)


def accuracy_range(settings: Settings, accuracy: Float[np.ndarray, "G S"], worst: float, best: float) -> Interval:
    """Accuracy at the best gain less that at the worst, which were chosen on other seeds."""
    at_best, at_worst = (accuracy[settings.gains.index(gain)] for gain in (best, worst))
    return paired_interval(at_best, at_worst, difference_of_means)
