"""What the experiment measured."""

from dataclasses import dataclass

from bncourse.lab import Interval


@dataclass(frozen=True)
class Outcome:
    """Values of each arm by seed, and the estimates made of them.

    A *regime* says which rate is used at a gain: "tuned", "small", "retuned"; and for batch norm alone "tuned rescaled"
    and "small rescaled".

    Attributes
    ----------
    seeds : how many test seeds.
    gains : (G,).
    rates : (R,), of the sweep of gains.
    target_accuracy : what "works" refers to.
    tuning_accuracy : {arm: (G, R)}, mean validation accuracy over the tuning seeds.
    tuned : {arm: rate}, chosen at gain 1.
    small_rate : {arm: rate}.
    retuned : {arm: (G,)}, the rate chosen at each gain.
    test_accuracy : {regime: {arm: (G, S)}}.
    mean_accuracy : {regime: {arm: (G,)}}, over seeds, with intervals.
    widths : {regime: {arm: (S,)}}, in decades of gain.
    extremes : {regime: (worst gain, best gain)} of batch norm, chosen on the tuning seeds.
    spread_rates : (Q,).
    spread_tuning_accuracy : {data: {arm: (Q,)}}.
    spread_tuned : {data: {arm: rate}}.
    spread_accuracy : {data: {arm: (S, I)}}, of I initializations for each order of batches, on the test part.
    deviation : {data: {arm: standard deviation over initializations, pooled over orders}}.
    estimates : the comparisons of the package's docstring, by name.
    """

    seeds: int
    gains: list[float]
    rates: list[float]
    target_accuracy: float
    tuning_accuracy: dict[str, list[list[float]]]
    tuned: dict[str, float]
    small_rate: dict[str, float]
    retuned: dict[str, list[float]]
    test_accuracy: dict[str, dict[str, list[list[float]]]]
    mean_accuracy: dict[str, dict[str, list[Interval]]]
    widths: dict[str, dict[str, list[float]]]
    extremes: dict[str, list[float]]
    spread_rates: list[float]
    spread_tuning_accuracy: dict[str, dict[str, list[float]]]
    spread_tuned: dict[str, dict[str, float]]
    spread_accuracy: dict[str, dict[str, list[list[float]]]]
    deviation: dict[str, dict[str, Interval]]
    estimates: dict[str, Interval]
