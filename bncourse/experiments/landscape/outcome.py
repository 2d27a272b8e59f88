"""What the experiment measured."""

from dataclasses import dataclass

from bncourse.lab import Interval

Values = list[float | None]


@dataclass(frozen=True)
class Outcome:
    """Values of each arm by seed, and the estimates made of them; None stands for a number that is not finite.

    Attributes
    ----------
    seeds : how many test seeds.
    target_loss : above which a run has stalled.
    rates : {case: (R,)}.
    tuning_loss : {case: {arm: (R,)}}, mean final loss over the tuning seeds, each held at that of guessing.
    tuned : {case: {arm: rate}}.
    final_loss : {case: {arm: (S,)}}, of the training part, on the test seeds.
    stalled : {case: {arm: share of the test seeds}}.
    kinds : {case: where each examined run sits, see :func:`~bncourse.experiments.landscape.summary.kind`}.
    places : {case: {quantity: values of the examined runs that are finite}}, see
        :func:`~bncourse.experiments.landscape.places.train_and_examine`; of saturation the mean over layers.
    paths : {case: losses on each run's way down}.
    path_every : corners from one of these losses to the next.
    trained_on : {case: {rate: losses}}, of the examined runs, after as many steps more at that rate.
    along_steps : at which the loss was measured along the gradient.
    along : {activation: {variant: {quantity: one interval for each step}}}; loss, lowest and highest are means, the
        rest geometric means.
    relative : {activation: {variant: {length: {quantity: one interval for each step}}}}, geometric means, of ``falls``
        a share.
    estimates : the comparisons of the package's docstring, by name.
    """

    seeds: int
    target_loss: float
    rates: dict[str, list[float]]
    tuning_loss: dict[str, dict[str, list[float]]]
    tuned: dict[str, dict[str, float]]
    final_loss: dict[str, dict[str, Values]]
    stalled: dict[str, dict[str, Interval]]
    kinds: dict[str, list[str]]
    places: dict[str, dict[str, Values]]
    paths: dict[str, list[Values]]
    path_every: int
    trained_on: dict[str, dict[str, Values]]
    along_steps: list[int]
    along: dict[str, dict[str, dict[str, list[Interval]]]]
    relative: dict[str, dict[str, dict[str, dict[str, list[Interval]]]]]
    estimates: dict[str, Interval]
