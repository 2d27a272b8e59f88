"""What the experiment measured."""

from dataclasses import dataclass

from bncourse.lab import Interval


@dataclass(frozen=True)
class Outcome:
    """Values of each arm by setting and seed, and the estimates made of them.

    A *size* is one of ``SIZES``, a *setting* a key as made by ``Setting.name``, a *benefit* "steps" or "errors".

    Attributes
    ----------
    seeds : how many test seeds.
    horizon : the number of steps.
    target_share : of the accuracy of networks without batch norm, which is the target.
    rates : (R,).
    values : {size: (K,)}.
    settings : {size: (K,)}, the setting at each value.
    target : {setting: validation accuracy}.
    tuned : {setting: {"steps" or "accuracy": {arm: rate}}}.
    steps : {setting: {arm: (S,)}}, ``None`` where the target was not reached.
    test_accuracy : {setting: {arm: (S,)}}.
    mean_accuracy : {setting: {arm: with its interval}}.
    benefit : {benefit: {size: (K,)}}, geometric means over seeds with intervals.
    accuracy_difference : {size: (K,)}, batch norm - none.
    estimates : {"depth steps" and so on: the factor by which a benefit grows with each doubling of a size}.
    other_targets : {share as text: {size: the same factor for steps to another target}}.
    """

    seeds: int
    horizon: int
    target_share: float
    rates: list[float]
    values: dict[str, list[int]]
    settings: dict[str, list[str]]
    target: dict[str, float]
    tuned: dict[str, dict[str, dict[str, float]]]
    steps: dict[str, dict[str, list[float | None]]]
    test_accuracy: dict[str, dict[str, list[float]]]
    mean_accuracy: dict[str, dict[str, Interval]]
    benefit: dict[str, dict[str, list[Interval]]]
    accuracy_difference: dict[str, list[Interval]]
    estimates: dict[str, Interval]
    other_targets: dict[str, dict[str, Interval]]
