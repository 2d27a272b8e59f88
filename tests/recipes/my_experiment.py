"""Does the layer's output have a variance below one? Claim C26.

Rule: supported if the interval lies below 1, contradicted if above, else inconclusive.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from bncourse import results
from bncourse.experiments.shared import ANSWERS, Effect, Verdict, record_run, side
from bncourse.lab import Interval, mean_interval


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on."""

    seeds: tuple[int, ...] = tuple(range(900, 924))


@dataclass(frozen=True)
class Outcome:
    """The variance for each seed, and the interval of its mean."""

    variances: list[float]
    interval: Interval = field(default_factory=lambda: Interval(0, 0, 0))


REDUCED = Settings(tuple(range(950, 958)))


def with_seeds(settings: Settings, count: int) -> Settings:
    """The same plan with so many seeds."""
    return replace(settings, seeds=tuple(range(900, 900 + count)))


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Send a batch of small values through the layer."""
    layer = torch.nn.BatchNorm1d(1)
    variances = []
    for seed in settings.seeds:
        x = torch.randn(64, 1, generator=torch.Generator().manual_seed(seed)) * layer.eps**0.5
        variances.append(float(layer(x).var(correction=0)))
    return Outcome(variances, mean_interval(np.array(variances)))


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Apply the rule."""
    below = {"below": "above", "above": "below", "across": "across"}[side(outcome.interval, 1)]
    effect = Effect.of("variance", outcome.interval, no_effect=1, smallest=1, seeds=len(outcome.variances))
    statement = "the layer's output has a variance below one"
    return [Verdict("C26", statement, ANSWERS[below], "by the rule of the module", (effect,))]


def recorded() -> Outcome:
    """The outcome of the recorded run."""
    outcome = results.load("my_experiment").outcome
    return Outcome(outcome["variances"], Interval(**outcome["interval"]))


if __name__ == "__main__":
    record_run("my_experiment", Settings(), run, verdicts)
