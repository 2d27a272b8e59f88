"""What the experiment measured."""

from dataclasses import dataclass

from bncourse.lab import Interval


@dataclass(frozen=True)
class Outcome:
    """Noise and accuracy by batch size, and the estimates made of them.

    A *budget* is a key as made by ``Budget.name``, a *size* a batch size as text, and a *kind* of noise is that of the
    "mean", the "variance" or the "value".

    Attributes
    ----------
    seeds : how many test seeds.
    batch_sizes : (B,).
    rates : (R,).
    tuned : {budget: {arm: {size: the rate chosen on the tuning seeds}}}.
    test_accuracy : {budget: {arm: {size: (S,)}}}.
    mean_accuracy : {budget: {arm: {size: mean over seeds}}}.
    difference : {budget: {arm: accuracy in batches of 20 - in batches of 250}}.
    own_part : {budget: that difference with batch norm - that without}; empty if one arm is missing.
    noise : {kind: {size: (L,)}}, by layer, means over seeds.
    noise_ratio : {kind: noise in batches of 20 / in batches of 250}.
    """

    seeds: int
    batch_sizes: list[int]
    rates: list[float]
    tuned: dict[str, dict[str, dict[str, float]]]
    test_accuracy: dict[str, dict[str, dict[str, list[float]]]]
    mean_accuracy: dict[str, dict[str, dict[str, Interval]]]
    difference: dict[str, dict[str, Interval]]
    own_part: dict[str, Interval]
    noise: dict[str, dict[str, list[Interval]]]
    noise_ratio: dict[str, Interval]
