"""How much test accuracy differs between networks that differ in their initial weights alone: what C17 rests on."""

from typing import Any

import numpy as np
from jaxtyping import Float

from bncourse.experiments.design import ARMS
from bncourse.experiments.initialization.settings import Settings
from bncourse.experiments.initialization.training import Network, Score, lists, many_of_each, recorded_values
from bncourse.lab import Interval, paired_interval, ratio_of_means


def spread_over_initializations(settings: Settings, score: Score) -> dict[str, Any]:
    """The parts of the outcome that are about the spread."""
    kinds = [(data, arm) for data in settings.spread_data for arm in ARMS]
    grid = {kind: [Network.at(*kind, rate) for rate in settings.spread_rates] for kind in kinds}
    tuning = many_of_each(settings.tuning_seeds, settings.tuning_initializations)
    found = score([network for row in grid.values() for network in row], tuning, "validation")
    means = {kind: [float(found[network].mean()) for network in row] for kind, row in grid.items()}
    rates = {kind: settings.spread_rates[int(np.argmax(mean))] for kind, mean in means.items()}

    chosen = {kind: Network.at(*kind, rate) for kind, rate in rates.items()}
    test = score(chosen.values(), many_of_each(settings.test_seeds, settings.initializations), "test")
    accuracy = {
        kind: np.array(recorded_values(test[network])).reshape(-1, settings.initializations)
        for kind, network in chosen.items()
    }

    def by_data(values: dict[tuple[str, str], Any]) -> dict[str, dict[str, Any]]:
        return {data: {arm: values[data, arm] for arm in ARMS} for data in settings.spread_data}

    return {
        "spread_rates": list(settings.spread_rates),
        "spread_tuning_accuracy": by_data({kind: np.round(mean, 4).tolist() for kind, mean in means.items()}),
        "spread_tuned": by_data(rates),
        "spread_accuracy": lists(by_data(accuracy)),
        "deviation": by_data({kind: pooled_deviation(values) for kind, values in accuracy.items()}),
        "estimates": {
            f"{data} spread ratio": deviation_ratio(arms["none"], arms["batch_norm"])
            for data, arms in by_data(accuracy).items()
        },
    }


def pooled_deviation(values: Float[np.ndarray, "S I"]) -> Interval:
    r"""Standard deviation over initializations, pooled over seeds: :math:`\sqrt{\frac1S \sum_s \sigma_s^2}`."""
    variance = values.var(axis=1, ddof=1)
    return paired_interval(variance, np.ones_like(variance), _root_of_ratio)


def deviation_ratio(first: Float[np.ndarray, "S I"], second: Float[np.ndarray, "S I"]) -> Interval:
    """Ratio of pooled standard deviations, with an interval from resampling seeds."""
    return paired_interval(first.var(axis=1, ddof=1), second.var(axis=1, ddof=1), _root_of_ratio)


def _root_of_ratio(first: Float[np.ndarray, "... S"], second: Float[np.ndarray, "... S"]) -> Float[np.ndarray, "..."]:
    return np.asarray(np.sqrt(ratio_of_means(first, second)))
