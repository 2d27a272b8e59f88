"""What the experiment measured."""

from dataclasses import dataclass

from bncourse.lab import Interval


@dataclass(frozen=True)
class Outcome:
    """Values of each network by depth, rate and seed, and the estimates made of them; networks are ``NETWORKS``.

    Attributes
    ----------
    seeds : how many test seeds.
    target_accuracy : what "works" refers to.
    depths : (D,).
    rates : (R,).
    rates_depth : of the networks of ``accuracy_by_rate``.
    tuning_accuracy : {network: (D, R)}, mean final validation accuracy over the tuning seeds.
    tuned : {network: (D,)}, the rate chosen at each depth.
    test_accuracy : {network: (D, S)}.
    mean_accuracy : {network: (D,)}, over seeds, with intervals.
    working : {network: (D,)}, how many seeds reach the target accuracy.
    differences : {pair: (D,)}, of test accuracy, "last gamma", "pre" and "shrunk branches" as in the package's
        docstring.
    accuracy_by_rate : {network with batch norm: (R, S)}, final validation accuracy.
    mean_by_rate : {network with batch norm: (R,)}, over seeds, with intervals.
    largest_rate : {network with batch norm: (S,)}.
    rate_ratios : "zero gamma / post", "pre / post", "pre / zero gamma".
    """

    seeds: int
    target_accuracy: float
    depths: list[int]
    rates: list[float]
    rates_depth: int
    tuning_accuracy: dict[str, list[list[float]]]
    tuned: dict[str, list[float]]
    test_accuracy: dict[str, list[list[float]]]
    mean_accuracy: dict[str, list[Interval]]
    working: dict[str, list[int]]
    differences: dict[str, list[Interval]]
    accuracy_by_rate: dict[str, list[list[float]]]
    mean_by_rate: dict[str, list[Interval]]
    largest_rate: dict[str, list[float]]
    rate_ratios: dict[str, Interval]
