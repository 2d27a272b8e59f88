"""The decision rules of claims C2, C3 and C4, as the package's docstring states them."""

import math

from bncourse.experiments.convergence.measure import Outcome
from bncourse.experiments.design import ARMS
from bncourse.experiments.shared import ANSWERS, Answer, Effect, Verdict, side
from bncourse.experiments.votes import at_edge, edge_note

SMALLEST_SPEEDUP = 1.25
SMALLEST_RATE_RATIO = 2.0
SMALLEST_WIDTH = math.log10(2)


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Apply the rules of the package's docstring."""
    return [_faster(outcome), _larger_rates(outcome), _insensitive(outcome)]


def _faster(outcome: Outcome) -> Verdict:
    tuned = outcome.estimates["steps_ratio"]
    shared = outcome.shared_ratio
    all_arrive = [
        all(value is not None for arm in ARMS for value in outcome.steps[arm][row]) for row in range(len(outcome.rates))
    ]
    slower_at = [
        rate
        for rate, ratio, arrive in zip(outcome.rates, shared, all_arrive, strict=True)
        if arrive and side(ratio, 1 / SMALLEST_SPEEDUP) == "below"
    ]
    faster_at = [
        rate for rate, ratio in zip(outcome.rates, shared, strict=True) if side(ratio, SMALLEST_SPEEDUP) == "above"
    ]
    where = side(tuned, SMALLEST_SPEEDUP)
    reason = f"steps none / batch norm, each at its tuned rate: {tuned}"
    answer: Answer = "inconclusive"
    edge = at_edge(outcome.tuned["steps"].values(), outcome.rates)
    if edge:
        reason += edge_note(edge)
    elif where == "above":
        answer = "qualified" if slower_at else "supported"
        if slower_at:
            reason += f"; but slower at {len(slower_at)} shared rates, {slower_at[0]:.2g} to {slower_at[-1]:.2g}"
    elif where == "below":
        answer = "qualified" if faster_at else "contradicted"
        if faster_at:
            reason += f"; but faster at {len(faster_at)} shared rates, {faster_at[0]:.2g} to {faster_at[-1]:.2g}"
    effect = Effect.of(
        "steps without batch norm / with it, each arm at its tuned rate",
        tuned,
        no_effect=1,
        smallest=SMALLEST_SPEEDUP,
        ratio=True,
        seeds=outcome.seeds,
    )
    p = 1.0 if edge else effect.p_value()
    return Verdict("C2", "faster convergence, fewer steps", answer, reason, (effect,), p)


def _larger_rates(outcome: Outcome) -> Verdict:
    ratio = outcome.estimates["largest_rate_ratio"]
    reason = f"largest rate that works, batch norm / none: {ratio}"
    answer: Answer = "inconclusive"
    if _censored(outcome):
        reason += "; some seeds work at the largest rate of the grid"
    else:
        answer = ANSWERS[side(ratio, SMALLEST_RATE_RATIO)]
    effect = Effect.of(
        "largest rate that works, with batch norm / without",
        ratio,
        no_effect=1,
        smallest=SMALLEST_RATE_RATIO,
        ratio=True,
        seeds=outcome.seeds,
        resolution=outcome.rates[1] / outcome.rates[0],
    )
    p = 1.0 if _censored(outcome) else effect.p_value()
    return Verdict("C3", "allows larger learning rates", answer, reason, (effect,), p)


def _insensitive(outcome: Outcome) -> Verdict:
    working = outcome.estimates["working_width_difference"]
    fast = outcome.estimates["fast_width_difference"]
    reason = f"decades more of rates that work: {working}, of fast rates: {fast}"
    sides = {side(working, SMALLEST_WIDTH), side(fast, SMALLEST_WIDTH)}
    answer: Answer = "inconclusive"
    if _censored(outcome):
        reason += "; some seeds work at the largest rate of the grid"
    elif len(sides) == 1:
        answer = ANSWERS[sides.pop()]
    elif "above" in sides:
        answer = "qualified"
    effects = tuple(
        Effect.of(
            name,
            interval,
            no_effect=0,
            smallest=SMALLEST_WIDTH,
            seeds=outcome.seeds,
            resolution=math.log10(outcome.rates[1] / outcome.rates[0]),
        )
        for name, interval in (
            ("decades more of rates that work, with batch norm", working),
            ("decades more of fast rates, with batch norm", fast),
        )
    )
    p = max(effect.p_value() for effect in effects)
    if _censored(outcome):
        p = 1.0
    elif answer == "qualified":
        # One width alone decides, after Bonferroni's correction for the choice between two.
        p = min(1.0, *(2 * effect.p_value() for effect in effects if effect.low > SMALLEST_WIDTH))
    return Verdict("C4", "insensitive to the learning rate", answer, reason, effects, p)


def _censored(outcome: Outcome) -> bool:
    return any(max(outcome.final_accuracy[arm][-1]) >= outcome.target_accuracy for arm in ARMS)
