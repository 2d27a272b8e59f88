"""From the arrays of all cells to the outcome and its estimates."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from bncourse.experiments.depth.initial import (
    NETWORKS,
    InitialCell,
    first_to_last,
    growth_per_layer,
    on_digits,
    on_normal,
    shortfall,
)
from bncourse.experiments.depth.outcome import Outcome
from bncourse.experiments.depth.settings import Settings
from bncourse.experiments.depth.trained import spread
from bncourse.experiments.design import ARMS
from bncourse.experiments.shared import six_digits
from bncourse.lab import (
    Interval,
    difference_of_means,
    geometric_mean_interval,
    mean_interval,
    paired_interval,
    ratio_of_geometric_means,
    ratio_of_means,
)

WHEN = ("initial", "trained")

Gradients = Mapping[InitialCell, Float[np.ndarray, "S L"]]
Statistic = Callable[[Float[np.ndarray, "... S"], Float[np.ndarray, "... S"]], Float[np.ndarray, "..."]]


@dataclass(frozen=True, eq=False)
class Trained:
    """One arm of a case: its tuned rate, the scores (R,) that chose it, and what was read on the test seeds."""

    rate: float
    scores: Float[np.ndarray, "R"]
    found: Mapping[str, Any]


def summarize(settings: Settings, gradients: Gradients, trained: Mapping[str, Mapping[str, Trained]]) -> Outcome:
    """Everything that the outcome holds, from the cells' arrays."""

    def growth(network: str, arm: str, **changes: Any) -> Float[np.ndarray, "S"]:
        return growth_per_layer(gradients[on_normal(settings, network, arm, **changes)])

    def ratio(activation: str, depth: int, arm: str) -> Float[np.ndarray, "S"]:
        return first_to_last(gradients[on_digits(settings, activation, depth, arm)])

    def read(name: str) -> dict[str, dict[str, Any]]:
        """What was read under a name, of the cases in which it was."""
        return {
            case: {arm: each.found[name] for arm, each in arms.items()}
            for case, arms in trained.items()
            if all(name in each.found for each in arms.values())
        }

    saturated = {when: read(f"saturated_{when}") for when in WHEN}
    values: dict[str, Any] = {
        "gradient_ratio": {
            activation: {arm: [six_digits(ratio(activation, depth, arm)) for depth in settings.depths] for arm in ARMS}
            for activation in ("sigmoid", "tanh")
        },
        "growth": {network: {arm: six_digits(growth(network, arm)) for arm in ARMS} for network in NETWORKS},
        "test_accuracy": _each_arm(read("test_accuracy"), six_digits),
        "update_spread": _each_arm(read("log_updates"), lambda logs: six_digits(spread(logs))),
        "saturated": {
            when: _each_arm(cases, lambda share: six_digits(share.mean(axis=1))) for when, cases in saturated.items()
        },
    }
    deepest = {case.name for case in settings.cases() if case.depth == settings.depth}
    return Outcome(
        seeds=len(settings.test_seeds),
        depth=settings.depth,
        depths=list(settings.depths),
        batches=list(settings.normal_batches),
        growth_by_size={
            str(width): [
                geometric_mean_interval(growth("relu plain", "batch_norm", width=width, batch_size=batch_size))
                for batch_size in settings.normal_batches
            ]
            for width in settings.normal_widths
        },
        gains=list(settings.normal_gains),
        growth_by_gain={
            arm: [geometric_mean_interval(growth("relu plain", arm, gain=gain)) for gain in settings.normal_gains]
            for arm in ARMS
        },
        rates=list(settings.rates),
        tuning_accuracy={
            case: {arm: six_digits(each.scores) for arm, each in arms.items()} for case, arms in trained.items()
        },
        tuned={case: {arm: each.rate for arm, each in arms.items()} for case, arms in trained.items()},
        saturated_by_layer={
            when: _each_arm({case: arms for case, arms in cases.items() if case in deepest}, _by_layer)
            for when, cases in saturated.items()
        },
        updates_by_layer=_each_arm(read("log_updates"), lambda logs: _by_layer(np.nanmean(logs, axis=1)))[
            settings.case("relu").name
        ],
        estimates=estimates(settings, values),
        **values,
    )


def estimates(settings: Settings, values: Mapping[str, Any]) -> dict[str, Interval]:
    """The comparisons that the rules rest on, from the values of the seeds as they are recorded."""

    def paired(arms: Mapping[str, Any], first: str, second: str, statistic: Statistic) -> Interval:
        return paired_interval(np.array(arms[first]), np.array(arms[second]), statistic)

    found = {}
    at_depth = settings.depths.index(settings.depth)
    for activation, arms in values["gradient_ratio"].items():
        shortfalls = {arm: np.log10(shortfall(np.array(rows[at_depth]))) for arm, rows in arms.items()}
        found[f"{activation}_made_up"] = paired(shortfalls, "batch_norm", "none", difference_of_means)
    sigmoid, relu = settings.case("sigmoid").name, settings.case("relu").name
    accuracies, spreads, growth = values["test_accuracy"][sigmoid], values["update_spread"][relu], values["growth"]
    found["sigmoid_accuracy_difference"] = paired(accuracies, "batch_norm", "none", difference_of_means)
    found["plain_growth"] = geometric_mean_interval(np.array(growth["relu plain"]["batch_norm"]))
    found["branch_growth_ratio"] = paired(growth["relu pre"], "none", "batch_norm", ratio_of_geometric_means)
    found["spread_ratio"] = paired(spreads, "none", "batch_norm", ratio_of_means)
    for size, gain in (("large", settings.large_gain), ("usual", 1.0)):
        for when, cases in values["saturated"].items():
            shares = cases[settings.case("tanh", gain).name]
            found[f"{when}_saturation_{size}_gain"] = paired(shares, "none", "batch_norm", difference_of_means)
    return found


def _each_arm(cases: Mapping[str, Mapping[str, Any]], function: Callable[[Any], Any]) -> dict[str, dict[str, Any]]:
    return {case: {arm: function(values) for arm, values in arms.items()} for case, arms in cases.items()}


def _by_layer(values: Float[np.ndarray, "S L"]) -> list[Interval]:
    return [mean_interval(column) for column in values.T]
