"""The decision rule of claim C11, as the package's docstring states it."""

from bncourse.experiments.batch_size.outcome import Outcome
from bncourse.experiments.batch_size.settings import LARGE, SMALL
from bncourse.experiments.shared import Verdict
from bncourse.experiments.votes import Number, at_edge, decide, edge_note, in_points, number

SMALLEST_RATIO = 2.0
SMALLEST_DIFFERENCE = 1.0
TEST_IMAGES = 500

NOISES = {"mean": "the batch mean", "value": "a normalized value"}
"""The kinds of noise that the rule reads, and what they are called."""


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Apply the rule of the package's docstring."""
    noises = {kind: _noise(outcome, kind) for kind in NOISES}
    ratios = ", ".join(f"{each.effect} for {NOISES[kind]}" for kind, each in noises.items())
    differences = {budget: _difference(outcome, budget) for budget in outcome.difference}
    points = ", ".join(f"{each.effect} after {budget}" for budget, each in differences.items())
    edge = any(tuned_at_edge(outcome, budget) for budget in differences)
    reason = (
        f"noise in batches of {SMALL} / in batches of {LARGE}: {ratios}; points of accuracy by which batches of "
        f"{SMALL} exceed batches of {LARGE}: {points}{edge_note(edge)}"
    )
    numbers = [*noises.values(), *differences.values()]
    return [decide("C11", "small batches are noisier, large batches converge slower", reason, numbers)]


def _noise(outcome: Outcome, kind: str) -> Number:
    return number(
        f"noise of {NOISES[kind]}, batches of {SMALL} / batches of {LARGE}",
        outcome.noise_ratio[kind],
        seeds=outcome.seeds,
        no_effect=1,
        smallest=SMALLEST_RATIO,
        ratio=True,
    )


def _difference(outcome: Outcome, budget: str) -> Number:
    difference = outcome.difference[budget]["batch_norm"]
    return number(
        f"percentage points of accuracy after {budget}, batches of {SMALL} - batches of {LARGE}",
        in_points(difference),
        seeds=outcome.seeds,
        no_effect=0,
        smallest=SMALLEST_DIFFERENCE,
        resolution=100 / TEST_IMAGES,
        decidable=not tuned_at_edge(outcome, budget),
    )


def tuned_at_edge(outcome: Outcome, budget: str) -> bool:
    """Whether in one of the two batch sizes a better rate may lie beyond the grid."""
    tuned = outcome.tuned[budget]["batch_norm"]
    return at_edge((tuned[str(SMALL)], tuned[str(LARGE)]), outcome.rates)
