"""What the experiment measured."""

from dataclasses import dataclass
from typing import Any

from bncourse.lab import Interval


@dataclass(frozen=True)
class Outcome:
    """Accuracies of each arm, the gains made of them, and what the weights of networks with batch norm do.

    A *setting* is one of "fixed plain", "fixed decayed", "plain", "added" and "retuned": the fixed rate without decay
    and with its best; the best rate without decay, with its best decay added, and the best pair.

    Attributes
    ----------
    seeds : how many test seeds.
    rates : (R,).
    decays : (D,), of which the first is 0.
    tuning_accuracy : {arm: (D, R)}, mean validation accuracy over the tuning seeds.
    chosen : {arm: {setting: (rate, decay)}}.
    test_accuracy : {arm: {setting: (S,)}}.
    mean_accuracy : {arm: {setting: mean over seeds}}.
    estimates : {arm: {"fixed", "added", "retuned": gain}}.
    angle_ratio : {equilibrium: measured angle by the predicted one}.
    norms : {equilibrium: norm of the weights}.
    trajectories : {"decay" or "no decay": {gain: {"norm", "angle": (K,) intervals}}}, every ``read_every`` steps.
    growth : {momentum: {"steps", "gradients": ratio of the growth to that sum}}.
    matched : the largest differences "same rate" and "rescaled", and "gradient", the ratio of the first gradients.
    """

    seeds: int
    rates: list[float]
    decays: list[float]
    tuning_accuracy: dict[str, list[list[float]]]
    chosen: dict[str, dict[str, list[float]]]
    test_accuracy: dict[str, dict[str, list[float]]]
    mean_accuracy: dict[str, dict[str, Interval]]
    estimates: dict[str, dict[str, Interval]]
    angle_ratio: dict[str, Interval]
    norms: dict[str, Interval]
    trajectories: dict[str, dict[str, dict[str, list[Any]]]]
    growth: dict[str, dict[str, Interval]]
    matched: dict[str, Interval]
