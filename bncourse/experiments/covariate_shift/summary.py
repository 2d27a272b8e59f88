"""From the arrays of all cells to the outcome and its estimates."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from bncourse.experiments.covariate_shift.outcome import Outcome, Values
from bncourse.experiments.covariate_shift.settings import SHARED, Settings
from bncourse.experiments.covariate_shift.training import WINDOW
from bncourse.experiments.shared import finite, six_digits
from bncourse.lab import (
    Interval,
    geometric_mean_interval,
    mean_interval,
    paired_interval,
    ratio_of_geometric_means,
    ratio_of_means,
)

WHEN = ("initial", "learning")
PROBED = ("none", "batch_norm", SHARED)
SMALLEST_CHANGE = 1e-6


def summarize(
    settings: Settings,
    scores: Values,
    tuned: dict[str, dict[str, float]],
    matched: dict[str, dict[str, float]],
    test: Values,
) -> Outcome:
    """Everything that the outcome holds, from the scores of tuning and from what was read on the test seeds."""
    horizons = {case.name: case.steps for case in settings.cases}
    each = {name: by_arm(settings, horizons[name], test[name], matched[name]) for name in test}
    points = next(iter(test.values()))["none"]["curve"].shape[1]

    def of(key: str) -> dict[str, Any]:
        return {name: values[key] for name, values in each.items()}

    return Outcome(
        seeds=len(settings.test_seeds),
        horizons=horizons,
        lags=list(settings.lags),
        rates={case.name: list(case.rates) for case in settings.cases},
        tuning_steps={
            name: {arm: score.round(2).tolist() for arm, score in arms.items()} for name, arms in scores.items()
        },
        tuned=tuned,
        matched=matched,
        steps=of("steps"),
        mean_steps=of("mean_steps"),
        drift=of("drift"),
        validation_accuracy=of("validation_accuracy"),
        curve_at=[WINDOW + settings.curve_every * number for number in range(points)],
        curves=of("curves"),
        change=of("change"),
        cosine=of("cosine"),
        change_by_layer=of("change_by_layer"),
        estimates={
            name: estimates(settings.lags, horizons[name], values, matched[name]) for name, values in each.items()
        },
    )


def by_arm(settings: Settings, horizon: int, arms: Mapping[str, Any], matched: Mapping[str, float]) -> dict[str, Any]:
    """What the outcome holds of one case, but for its estimates."""
    pictured = [*PROBED[:2], *(f"{kind} {size:g}" for kind, size in matched.items()), f"frozen {matched['swinging']:g}"]
    changes = {name: {when: _held(arms[name][f"change {when}"]) for when in WHEN} for name in PROBED}
    return {
        "steps": {name: finite(arm["steps"]) for name, arm in arms.items()},
        "mean_steps": {name: mean_interval(np.minimum(arm["steps"], horizon)) for name, arm in arms.items()},
        "drift": {
            name: {str(lag): six_digits(arm[f"drift {lag}"]) for lag in settings.lags} for name, arm in arms.items()
        },
        "validation_accuracy": {name: six_digits(arm["validation_accuracy"]) for name, arm in arms.items()},
        "curves": {name: [mean_interval(column) for column in arms[name]["curve"].T] for name in pictured},
        "change": {
            name: {when: six_digits(np.exp(np.nanmean(np.log(change[when]), axis=1))) for when in WHEN}
            for name, change in changes.items()
        },
        "cosine": {
            name: {when: six_digits(np.nanmean(arms[name][f"cosine {when}"], axis=1)) for when in WHEN}
            for name in PROBED
        },
        "change_by_layer": {
            name: {when: [geometric_mean_interval(column) for column in change[when].T] for when in WHEN}
            for name, change in changes.items()
        },
    }


def estimates(
    lags: Sequence[int], horizon: int, case: Mapping[str, Any], matched: Mapping[str, float]
) -> dict[str, Interval]:
    """The comparisons of the package's docstring, from the values of the seeds as they are recorded."""
    jumping, swinging, frozen = (
        f"{kind} {matched[source]:g}"
        for kind, source in (("jumping", "jumping"), ("swinging", "swinging"), ("frozen", "swinging"))
    )

    def change(arm: str, when: str) -> Interval:
        first, second = (np.array(case["change"][name][when]) for name in (arm, "none"))
        return paired_interval(first, second, ratio_of_geometric_means)

    def drift(arm: str, lag: int) -> Interval:
        first, second = (np.array(case["drift"][name][str(lag)]) for name in (arm, "none"))
        return paired_interval(first, second, ratio_of_geometric_means)

    def steps(first: str, second: str) -> Interval:
        one, other = (_restricted(case["steps"][name], horizon) for name in (first, second))
        return paired_interval(one, other, ratio_of_means)

    found = {
        "change tuned": change("batch_norm", "learning"),
        "change shared": change(SHARED, "learning"),
        "initial change tuned": change("batch_norm", "initial"),
        "initial change shared": change(SHARED, "initial"),
        "gain": steps("none", "batch_norm"),
        "gain left jumping": steps("none", jumping),
        "gain left swinging": steps("none", swinging),
        "cost of change": steps(swinging, frozen),
        "cost of displacement": steps(frozen, "batch_norm"),
    }
    for name, arm in (("", "batch_norm"), (" jumping", jumping), (" swinging", swinging)):
        found |= {f"drift{name} {lag}": drift(arm, lag) for lag in lags}
    return found


def _restricted(steps: list[float | None], horizon: int) -> Float[np.ndarray, "S"]:
    return np.array([horizon if step is None else step for step in steps], dtype=float)


def _held(change: Float[np.ndarray, "S L"]) -> Float[np.ndarray, "S L"]:
    """Relative changes within six decades of 1, so that a layer that stood still or blew up has a logarithm."""
    return np.asarray(np.clip(change, SMALLEST_CHANGE, 1 / SMALLEST_CHANGE))
