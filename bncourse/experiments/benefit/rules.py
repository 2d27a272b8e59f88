"""The decision rule of claim C25, as the package's docstring states it."""

from bncourse.experiments.benefit.outcome import Outcome
from bncourse.experiments.benefit.settings import SIZES
from bncourse.experiments.shared import Verdict
from bncourse.experiments.votes import Number, at_edge, decide, edge_note, number, runs_are_lost

SMALLEST_GROWTH = 1.1

BENEFITS = {"steps": "steps to the target", "errors": "test errors"}
WORDS = {"depth": "depth", "width": "width", "digits": "number of digits", "clusters": "number of points of clusters"}


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Apply the rule of the package's docstring."""
    numbers = {(benefit, size): _number(outcome, benefit, size) for benefit in BENEFITS for size in SIZES}
    parts = (
        f"of the {words} " + ", ".join(f"{numbers[benefit, size].effect} with {WORDS[size]}" for size in SIZES)
        for benefit, words in BENEFITS.items()
    )
    edge = any(tuned_at_edge(outcome, benefit, size) for benefit, size in numbers)
    reason = f"growth with each doubling of the ratio none / batch norm: {'; '.join(parts)}{edge_note(edge)}"
    return [decide("C25", "helps most with large data sets and complex architectures", reason, list(numbers.values()))]


def _number(outcome: Outcome, benefit: str, size: str) -> Number:
    decidable = not tuned_at_edge(outcome, benefit, size)
    if benefit == "steps":
        decidable = decidable and not target_is_missed(outcome, size)
    return number(
        f"growth of the ratio of {BENEFITS[benefit]}, none / batch norm, with each doubling of {WORDS[size]}",
        outcome.estimates[f"{size} {benefit}"],
        seeds=outcome.seeds,
        no_effect=1,
        smallest=SMALLEST_GROWTH,
        ratio=True,
        decidable=decidable,
    )


def tuned_at_edge(outcome: Outcome, benefit: str, size: str) -> bool:
    """Whether in some setting an arm's best rate for this benefit may lie beyond the grid."""
    chosen = "steps" if benefit == "steps" else "accuracy"
    return any(at_edge(outcome.tuned[setting][chosen].values(), outcome.rates) for setting in outcome.settings[size])


def target_is_missed(outcome: Outcome, size: str) -> bool:
    """Whether in some setting more than a quarter of an arm's runs do not reach the target."""
    return runs_are_lost(row for setting in outcome.settings[size] for row in outcome.steps[setting].values())
