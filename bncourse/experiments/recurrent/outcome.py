"""What the experiment measured."""

from dataclasses import dataclass

from bncourse.lab import Interval


@dataclass(frozen=True)
class Outcome:
    """Scores of each arm by network and seed, and the estimates made of them.

    A *network* is one of ``NETWORKS``, an *arm* one of ``ARMS``, a *score* one of ``SCORES``.

    Attributes
    ----------
    seeds : how many test seeds.
    horizon : the number of steps.
    target : validation accuracy to which steps are counted.
    rates : {network: (R,)}.
    tuned : {score: {network: {arm: rate}}}.
    chosen : {score: {network: the batch norm that is compared with none}}.
    steps : {network: {arm: (S,)}}, at the rate tuned for them; ``None`` where the target was not reached.
    test_accuracy : {network: {arm: (S,)}}.
    mean_steps : {network: {arm: with its interval}}, a run that does not arrive counted as the horizon.
    mean_accuracy : {network: {arm: with its interval}}.
    gains : {network: {arm: test accuracy, arm - none, in percentage points}}.
    per_step_gain : {network: test accuracy, per_step - shared, in percentage points}, if both are among the arms.
    estimates : {score: {network: mean steps, none / batch norm, or test accuracy, batch norm - none, in points}}.
    """

    seeds: int
    horizon: int
    target: float
    rates: dict[str, list[float]]
    tuned: dict[str, dict[str, dict[str, float]]]
    chosen: dict[str, dict[str, str]]
    steps: dict[str, dict[str, list[float | None]]]
    test_accuracy: dict[str, dict[str, list[float]]]
    mean_steps: dict[str, dict[str, Interval]]
    mean_accuracy: dict[str, dict[str, Interval]]
    gains: dict[str, dict[str, Interval]]
    per_step_gain: dict[str, Interval]
    estimates: dict[str, dict[str, Interval]]
