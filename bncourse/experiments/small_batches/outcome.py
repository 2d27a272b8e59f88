"""What the experiment measured."""

from dataclasses import dataclass

from bncourse.lab import Interval


@dataclass(frozen=True)
class Outcome:
    """Accuracies by arm, batch size and seed, and the estimates made of them; arms are ``ARMS``.

    Attributes
    ----------
    seeds : how many test seeds.
    examples : that each network saw in training.
    batch_sizes : (B,).
    rates : (R,), of batches of one.
    tuning_accuracy : {arm: (B, R)}, mean final validation accuracy over the tuning seeds, with the momentum chosen.
    tuned : {arm: (B,)}, the rate chosen, of batches of one.
    renorm_momentum : (B,), chosen for batch renorm.
    test_accuracy : {arm: (B, S)}.
    mean_accuracy : {arm: (B,)}, over seeds, with intervals.
    gains : {arm: (B,)}, over batch norm, in percentage points, for the other arms.
    best : (B,), the arm of best mean test accuracy.
    behind : {arm: (B,)}, that arm less the best one, in percentage points; None for the best.
    level : {arm: (B,)}, whether the interval of ``behind`` reaches 0; true for the best.
    readings : {arm with batch statistics: {reading: (B,)}}, mean test accuracy, with intervals.
    retaken_gain : {arm with batch statistics: (B,)}, retaken - running, in percentage points.
    mode_gap : {arm with batch statistics: (B,)}, as in training - retaken, in percentage points.
    """

    seeds: int
    examples: int
    batch_sizes: list[int]
    rates: list[float]
    tuning_accuracy: dict[str, list[list[float]]]
    tuned: dict[str, list[float]]
    renorm_momentum: list[float]
    test_accuracy: dict[str, list[list[float]]]
    mean_accuracy: dict[str, list[Interval]]
    gains: dict[str, list[Interval]]
    best: list[str]
    behind: dict[str, list[Interval | None]]
    level: dict[str, list[bool]]
    readings: dict[str, dict[str, list[Interval]]]
    retaken_gain: dict[str, list[Interval]]
    mode_gap: dict[str, list[Interval]]
