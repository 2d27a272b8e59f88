"""What the experiment measured."""

from dataclasses import dataclass

from bncourse.lab import Interval


@dataclass(frozen=True)
class Outcome:
    """Scores of each place by architecture and seed, and the estimates made of them.

    A *score* is one of ``SCORES``, an *architecture* a key as made by ``Architecture.name``, a *place* one of the
    settings' ``places``.

    Attributes
    ----------
    seeds : how many test seeds.
    horizon : up to which steps are counted.
    target : validation accuracy to which they are counted.
    rates : (R,).
    architectures : {activation: (D,), its architectures by depth}.
    tuning : {score: {architecture: {place: (R,), means over the tuning seeds}}}.
    tuned : {score: {architecture: {place: rate}}}.
    scores : {score: {architecture: {place: (S,)}}}; of steps ``None`` where the target was not reached.
    means : {score: {architecture: {place: mean over seeds}}}; steps count as the horizon at most.
    by_depth : {score: {architecture: steps after / before, or accuracy before - after}}.
    estimates : {score: {activation: the same over all depths}}.
    saturated : {architecture: {place: (R,), share of saturated values after training on clusters, means over the
        tuning seeds}}, without those of ReLU units.
    """

    seeds: int
    horizon: int
    target: float
    rates: list[float]
    architectures: dict[str, list[str]]
    tuning: dict[str, dict[str, dict[str, list[float]]]]
    tuned: dict[str, dict[str, dict[str, float]]]
    scores: dict[str, dict[str, dict[str, list[float | None]]]]
    means: dict[str, dict[str, dict[str, Interval]]]
    by_depth: dict[str, dict[str, Interval]]
    estimates: dict[str, dict[str, Interval]]
    saturated: dict[str, dict[str, list[Interval]]]
