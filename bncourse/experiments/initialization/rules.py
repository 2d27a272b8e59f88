"""The decision rules of claims C5, C17 and C23, as the package's docstring states them."""

import numpy as np

from bncourse.experiments.initialization.gains import RATES
from bncourse.experiments.initialization.outcome import Outcome
from bncourse.experiments.shared import Answer, Effect, Side, Verdict, side
from bncourse.experiments.votes import Number, at_edge, decide, edge_note, number
from bncourse.lab import Interval

SMALLEST_DECADES = 0.5
SMALLEST_SPREAD_RATIO = 1.25
SMALLEST_RANGE = 0.05
TRAINS = 0.3
TEST_IMAGES = 500

REGIMES = {"tuned": "at the tuned rate", "small": "at the small rate", "retuned": "rate retuned at each gain"}


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Apply the rules of the package's docstring."""
    return [_insensitive(outcome), _consistent(outcome), _unimportant(outcome)]


def _insensitive(outcome: Outcome) -> Verdict:
    step = float(np.log10(outcome.gains[1] / outcome.gains[0]))
    edges = {"tuned": tuned_at_edge(outcome), "small": tuned_at_edge(outcome), "retuned": retuned_at_edge(outcome)}
    numbers = []
    for regime, words in REGIMES.items():
        found = number(
            f"decades more of gains that work with batch norm, {words}",
            outcome.estimates[f"{regime} width difference"],
            no_effect=0,
            smallest=SMALLEST_DECADES,
            seeds=outcome.seeds,
            resolution=step,
            decidable=not edges[regime],
        )
        without = float(np.mean(outcome.widths[regime]["none"]))
        if found.vote == "against" and without + SMALLEST_DECADES > step * len(outcome.gains):
            found = Number(found.effect, "open")
        numbers.append(found)
    shown = ", ".join(f"{each.effect} {words}" for each, words in zip(numbers, REGIMES.values(), strict=True))
    reason = f"decades more of gains that work with batch norm: {shown}{edge_note(any(edges.values()))}"
    return decide("C5", "insensitive to weight initialization", reason, numbers)


def _consistent(outcome: Outcome) -> Verdict:
    numbers, shown, any_edge = [], [], False
    for data, rates in outcome.spread_tuned.items():
        edge = at_edge(rates.values(), outcome.spread_rates)
        found = number(
            f"standard deviation of test accuracy over initializations without batch norm / with it, {data}",
            outcome.estimates[f"{data} spread ratio"],
            no_effect=1,
            smallest=SMALLEST_SPREAD_RATIO,
            ratio=True,
            seeds=outcome.seeds,
            decidable=not edge,
        )
        numbers.append(found)
        deviations = (f"{100 * outcome.deviation[data][arm].estimate:.2f}" for arm in ("none", "batch_norm"))
        shown.append(f"{' / '.join(deviations)} points on {data}, a ratio of {found.effect}")
        any_edge |= edge
    reason = (
        f"standard deviation of test accuracy over initializations, none / batch norm: {'; '.join(shown)}"
        f"{edge_note(any_edge)}"
    )
    return decide("C17", "more consistent, reproducible results across initializations", reason, numbers)


def _unimportant(outcome: Outcome) -> Verdict:
    def effect(rate: str, rescaled: str) -> Effect:
        words = f"{REGIMES[rate]}, times the gain's square for hidden weights" if rescaled else REGIMES[rate]
        return Effect.of(
            f"accuracy with batch norm at the best gain - at the worst, {words}",
            outcome.estimates[f"{rate}{rescaled} range"],
            no_effect=0,
            smallest=SMALLEST_RANGE,
            seeds=outcome.seeds,
            resolution=1 / TEST_IMAGES,
        )

    plain, rescaled = ([effect(rate, suffix) for rate in RATES] for suffix in ("", " rescaled"))
    sides = {each.name: _side(each) for each in (*plain, *rescaled)}
    edge = at_edge([outcome.tuned["batch_norm"]], outcome.rates)
    both_above = [
        pair for pair in zip(plain, rescaled, strict=True) if {sides[each.name] for each in pair} == {"above"}
    ]
    plain_above = [each for each in plain if sides[each.name] == "above"]
    answer: Answer = "inconclusive"
    p = 1.0
    if edge:
        pass
    elif set(sides.values()) == {"below"}:
        answer, p = "supported", max(each.p_value() for each in (*plain, *rescaled))
    elif both_above:
        # One of two rates decides: Bonferroni's correction for that choice, here and below.
        answer, p = "contradicted", 2 * min(max(each.p_value() for each in pair) for pair in both_above)
    elif plain_above and all(sides[each.name] == "below" for each in rescaled):
        clearest = min(each.p_value() for each in plain_above)
        answer, p = "qualified", max(2 * clearest, *(each.p_value() for each in rescaled))
    reason = (
        f"accuracy at the best gain less that at the worst, at the tuned and at the small rate: {plain[0]} and "
        f"{plain[1]}; with the rate of hidden weights rescaled by the gain's square {rescaled[0]} and {rescaled[1]}"
        f"{edge_note(edge)}"
    )
    statement = "initialization is decisive for batch norm, say some; batch norm makes it unimportant, say others"
    return Verdict("C23", statement, answer, reason, (*plain, *rescaled), min(1.0, p))


def tuned_at_edge(outcome: Outcome) -> bool:
    """Whether an arm's best rate at gain 1 may lie beyond the grid."""
    return at_edge(outcome.tuned.values(), outcome.rates)


def retuned_at_edge(outcome: Outcome) -> bool:
    """Whether some arm that trains at a gain, but does not work, might work at a rate beyond the grid."""
    return any(
        TRAINS <= max(scores) < outcome.target_accuracy and at_edge([rate], outcome.rates)
        for arm, rates in outcome.retuned.items()
        for rate, scores in zip(rates, outcome.tuning_accuracy[arm], strict=True)
    )


def _side(effect: Effect) -> Side:
    return side(Interval(effect.estimate, effect.low, effect.high), effect.smallest)
