"""What the experiment measured."""

from dataclasses import dataclass

from bncourse.lab import Interval

ByArm = dict[str, list[float]]


@dataclass(frozen=True)
class Outcome:
    """Values of each arm by seed, and the estimates made of them; cases are named as by ``Case.name``.

    Attributes
    ----------
    seeds : how many test seeds.
    depth : of the networks that estimands rest on.
    depths : at which ``gradient_ratio`` was measured.
    gradient_ratio : {activation: {arm: (D, S)}}, norm of the gradient at the first hidden layer by that at the last.
    growth : {network: {arm: (S,)}}, of the squared norm for each layer towards the input, on normal inputs; a network
        is an activation and "plain" or its kind of branch.
    batches, growth_by_size : {width: one interval for each batch size}, geometric means of plain ReLU networks with
        batch norm.
    gains, growth_by_gain : {arm: one interval for each gain}, geometric means of plain ReLU networks.
    rates, tuning_accuracy : {case: {arm: (R,)}}, mean final validation accuracy over the tuning seeds.
    tuned : {case: {arm: rate}}.
    test_accuracy, update_spread : {case: {arm: (S,)}}; the spread in decades.
    saturated : {"initial" or "trained": {case: {arm: (S,)}}}, mean over layers; for activations that can saturate.
    saturated_by_layer : {when: {case: {arm: one interval for each layer}}}, of the cases with ``depth`` layers.
    updates_by_layer : {arm: one interval for each layer and the output}, mean over steps of the decimal logarithm of
        relative updates, of the plain ReLU network.
    estimates : the paired comparisons of the package's docstring, by name.
    """

    seeds: int
    depth: int
    depths: list[int]
    gradient_ratio: dict[str, dict[str, list[list[float]]]]
    growth: dict[str, ByArm]
    batches: list[int]
    growth_by_size: dict[str, list[Interval]]
    gains: list[float]
    growth_by_gain: dict[str, list[Interval]]
    rates: list[float]
    tuning_accuracy: dict[str, ByArm]
    tuned: dict[str, dict[str, float]]
    test_accuracy: dict[str, ByArm]
    update_spread: dict[str, ByArm]
    saturated: dict[str, dict[str, ByArm]]
    saturated_by_layer: dict[str, dict[str, dict[str, list[Interval]]]]
    updates_by_layer: dict[str, list[Interval]]
    estimates: dict[str, Interval]
