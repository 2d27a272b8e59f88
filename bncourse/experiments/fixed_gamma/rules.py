"""The decision rule of claim C10, as the package's docstring states it."""

from bncourse.experiments.fixed_gamma.outcome import Outcome
from bncourse.experiments.fixed_gamma.settings import COMPARED
from bncourse.experiments.shared import Verdict
from bncourse.experiments.votes import Number, at_edge, decide, edge_note, in_points, number

SMALLEST_FALL = 2.0
FITTED = 0.98
TEST_POINTS = 4000

NAMES = {"relu": "ReLU", "tanh": "tanh"}


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Apply the rule of the package's docstring."""
    falls = [(activation, part) for activation, of_activation in COMPARED.items() for part in of_activation]
    numbers = {fall: _number(outcome, *fall) for fall in falls}
    parts = ", ".join(f"{each.effect} {_words(*fall)}" for fall, each in numbers.items())
    reason = f"points by which the gap of training and test accuracy falls as gamma grows: {parts}"
    reason += edge_note(any(tuned_at_edge(outcome, *fall) for fall in falls))
    for activation, part in falls:
        if not narrow_gap_is_earned(outcome, activation, part):
            reason += f"; {_words(activation, part)} the gap is narrow where little was learned"
    return [decide("C10", "a larger scale gamma means stronger regularization", reason, list(numbers.values()))]


def _number(outcome: Outcome, activation: str, part: str) -> Number:
    fall = outcome.estimates[f"{activation} {part}"]
    return number(
        f"fall of the gap {_words(activation, part)}, in percentage points",
        in_points(fall),
        no_effect=0,
        smallest=SMALLEST_FALL,
        seeds=outcome.seeds,
        resolution=100 / TEST_POINTS,
        decidable=narrow_gap_is_earned(outcome, activation, part) and not tuned_at_edge(outcome, activation, part),
    )


def _words(activation: str, part: str) -> str:
    smaller, larger = COMPARED[activation][part]
    return f"with {NAMES[activation]} from {smaller:g} to {larger:g}"


def narrow_gap_is_earned(outcome: Outcome, activation: str, part: str) -> bool:
    """Whether networks fit their training points where the gap is narrower, or else test as well as where it is not."""
    smaller, larger = (outcome.mean_accuracy[activation][f"{gamma:g}"] for gamma in COMPARED[activation][part])
    narrower_at_larger = outcome.estimates[f"{activation} {part}"].estimate > 0
    narrow, wide = (larger, smaller) if narrower_at_larger else (smaller, larger)
    return narrow["train"].estimate >= FITTED or narrow["test"].estimate >= wide["test"].estimate


def tuned_at_edge(outcome: Outcome, activation: str, part: str) -> bool:
    """Whether for one of the two gammas a better rate may lie beyond the grid."""
    return at_edge((outcome.tuned[activation][f"{gamma:g}"] for gamma in COMPARED[activation][part]), outcome.rates)
