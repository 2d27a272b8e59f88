"""The decision rule of claim C14, as the package's docstring states it."""

from bncourse.experiments.shared import Verdict
from bncourse.experiments.votes import Number, at_edge, decide, edge_note, in_points, number
from bncourse.experiments.weight_decay.outcome import Outcome

SMALLEST_GAIN = 1.0
TEST_POINTS = 4000


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Apply the rule of the package's docstring."""
    edges = {"fixed": decay_at_edge(outcome, "fixed decayed"), "retuned": retuned_at_edge(outcome)}
    fixed = _gain(outcome, "fixed", "from weight decay at the rate 0.01", edges["fixed"])
    retuned = _gain(outcome, "retuned", "from weight decay, rate tuned with it and without", edges["retuned"])
    reason = (
        f"points of test accuracy that weight decay adds: {fixed.effect} at a fixed rate, {retuned.effect} with the "
        f"rate tuned with it and without{edge_note(any(edges.values()))}"
    )
    return [decide("C14", "combines well with weight decay", reason, [fixed, retuned])]


def _gain(outcome: Outcome, name: str, words: str, edge: bool) -> Number:
    gain = outcome.estimates["batch_norm"][name]
    return number(
        f"percentage points of accuracy {words}",
        in_points(gain),
        no_effect=0,
        smallest=SMALLEST_GAIN,
        seeds=outcome.seeds,
        resolution=100 / TEST_POINTS,
        decidable=not edge,
    )


def decay_at_edge(outcome: Outcome, setting: str, arm: str = "batch_norm") -> bool:
    """Whether a better decay may lie beyond the grid."""
    return outcome.chosen[arm][setting][1] == outcome.decays[-1]


def retuned_at_edge(outcome: Outcome, arm: str = "batch_norm") -> bool:
    """Whether a better rate, with decay or without, or a better decay may lie beyond the grid."""
    chosen = {outcome.chosen[arm][setting][0] for setting in ("plain", "retuned")}
    return at_edge(chosen, outcome.rates) or decay_at_edge(outcome, "retuned", arm)
