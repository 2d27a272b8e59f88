"""What the experiment measured."""

from dataclasses import dataclass

from bncourse.lab import Interval


@dataclass(frozen=True)
class Outcome:
    """Accuracies of each arm, the gains made of them, and the variances that batch norm stores and meets.

    Attributes
    ----------
    seeds : how many test seeds.
    rates : (R,).
    shares : (P,).
    tuning_accuracy : {arm: (P, R)}, mean validation accuracy over the tuning seeds; one row without dropout.
    chosen : {arm: (rate, share)}.
    better_alone : "batch_norm" or "dropout".
    test_accuracy : {arm: (S,)}.
    mean_accuracy : {arm: mean over seeds}.
    gains : {order: {"batch_norm", "dropout": accuracy with both less that of the one alone}}.
    shift_shares : (T,).
    shift : {order: {"measured", "own": (T, L) ratios}}.
    reestimated : {order: {"running", "anew", "cost": (T,)}}, validation accuracies and their difference.
    """

    seeds: int
    rates: list[float]
    shares: list[float]
    tuning_accuracy: dict[str, list[list[float]]]
    chosen: dict[str, list[float]]
    better_alone: str
    test_accuracy: dict[str, list[float]]
    mean_accuracy: dict[str, Interval]
    gains: dict[str, dict[str, Interval]]
    shift_shares: list[float]
    shift: dict[str, dict[str, list[list[Interval]]]]
    reestimated: dict[str, dict[str, list[Interval]]]
