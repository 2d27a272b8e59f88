"""What the experiment measured."""

from dataclasses import dataclass
from typing import Any

from bncourse.lab import Interval


@dataclass(frozen=True)
class Outcome:
    """Values of each arm by seed, and the estimates made of them; cases and arms are named as in the settings.

    Attributes
    ----------
    seeds : how many test seeds.
    horizons : {case: H}, the number of steps.
    lags : over how many steps drift was measured.
    rates : {case: (R,)}.
    tuning_steps : {case: {arm: (R,)}}, restricted means over the tuning seeds.
    tuned : {case: {arm: rate}}; of "batch_norm shared" it is the rate tuned without batch norm.
    matched : {case: {"jumping" or "swinging": size}}, chosen on the tuning seeds.
    steps : {case: {arm: (S,)}}, to the target loss, ``None`` where it was not met.
    mean_steps : {case: {arm: restricted mean}}.
    drift : {case: {arm: {lag as text: (S,)}}}, while learning.
    validation_accuracy : {case: {arm: (S,)}}, in inference mode after the last step.
    curve_at, curves : steps, and {case: {arm: one interval for each}}, the mean loss of the last 10 batches; of the
        networks without noise and of those with noise of the matched sizes.
    change, cosine : {case: {arm: {"initial" or "learning": (S,)}}}, of the gradient before and after the layers below
        are updated: geometric mean over layers of the relative change, mean over layers of the cosine; of "none",
        "batch_norm" and "batch_norm shared".
    change_by_layer : {case: {arm: {when: one interval for each layer}}}, geometric means over seeds.
    estimates : {case: {name: the paired comparison}}, of the package's docstring.
    """

    seeds: int
    horizons: dict[str, int]
    lags: list[int]
    rates: dict[str, list[float]]
    tuning_steps: dict[str, dict[str, list[float]]]
    tuned: dict[str, dict[str, float]]
    matched: dict[str, dict[str, float]]
    steps: dict[str, dict[str, list[float | None]]]
    mean_steps: dict[str, dict[str, Interval]]
    drift: dict[str, dict[str, dict[str, list[float]]]]
    validation_accuracy: dict[str, dict[str, list[float]]]
    curve_at: list[int]
    curves: dict[str, dict[str, list[Interval]]]
    change: dict[str, dict[str, dict[str, list[float]]]]
    cosine: dict[str, dict[str, dict[str, list[float]]]]
    change_by_layer: dict[str, dict[str, dict[str, list[Interval]]]]
    estimates: dict[str, dict[str, Interval]]


Values = dict[str, dict[str, Any]]
"""By case and by arm."""
