"""The decision rule of claim C13, as the package's docstring states it."""

from bncourse.experiments import votes
from bncourse.experiments.dropout.outcome import Outcome
from bncourse.experiments.dropout.settings import ALONE, ORDERS
from bncourse.experiments.shared import Verdict
from bncourse.experiments.votes import Number, decide, edge_note, in_points, number

SMALLEST_GAIN = 1.0
TEST_POINTS = 4000

WORDS = {
    "before": "dropout before each batch norm",
    "after": "dropout after each batch norm",
    "last": "dropout after the last batch norm",
}


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Apply the rule of the package's docstring."""
    edges = {order: any(at_edge(outcome, arm) for arm in (order, *ALONE)) for order in ORDERS}
    gains = {order: _gain(outcome, order, edges[order]) for order in ORDERS}
    better = outcome.better_alone.replace("_", " ")
    reason = (
        f"points of test accuracy that both add to {better}, the better of the two alone: "
        + ", ".join(f"{gains[order].effect} with {WORDS[order]}" for order in ORDERS)
        + edge_note(any(edges.values()))
    )
    return [decide("C13", "combines well with dropout", reason, list(gains.values()))]


def _gain(outcome: Outcome, order: str, edge: bool) -> Number:
    gain = outcome.gains[order][outcome.better_alone]
    return number(
        f"percentage points of accuracy that both add to the better one alone, {WORDS[order]}",
        in_points(gain),
        no_effect=0,
        smallest=SMALLEST_GAIN,
        seeds=outcome.seeds,
        resolution=100 / TEST_POINTS,
        decidable=not edge,
    )


def at_edge(outcome: Outcome, arm: str) -> bool:
    """Whether a better rate, or a better share, may lie beyond the grid."""
    rate, share = outcome.chosen[arm]
    return votes.at_edge([rate], outcome.rates) or share == outcome.shares[-1]
