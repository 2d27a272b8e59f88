"""The decision rule of claim C24, as the package's docstring states it."""

from bncourse.experiments.landscape.outcome import Outcome
from bncourse.experiments.landscape.settings import EXAMINED
from bncourse.experiments.shared import Verdict
from bncourse.experiments.votes import at_edge, decide, edge_note, number

SMALLEST_DIFFERENCE = 0.1
SMALLEST_SHARE = 0.5
TRAINS = 2.0


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Apply the rule of the package's docstring."""
    edges = {case: tuned_at_edge(outcome, case) for case in outcome.tuned}
    fewer = [
        number(
            f"share of runs that stall without batch norm - with it, {case}",
            outcome.estimates[f"{case} difference"],
            seeds=outcome.seeds,
            no_effect=0,
            smallest=SMALLEST_DIFFERENCE,
            decidable=not edge,
        )
        for case, edge in edges.items()
    ]
    stuck = [
        number(
            f"share of stalled runs without batch norm that sit at a minimum or saturated, {case}",
            outcome.estimates[f"{case} stuck"],
            seeds=max(2, len(outcome.kinds[case])),
            no_effect=0,
            smallest=SMALLEST_SHARE,
        )
        for case in EXAMINED
    ]
    differences = ", ".join(f"{each.effect} ({case})" for case, each in zip(edges, fewer, strict=True))
    shares = ", ".join(f"{each.effect} ({case})" for case, each in zip(EXAMINED, stuck, strict=True))
    reason = (
        f"share of runs that stall, none - batch norm: {differences}; of those without batch norm, at a minimum or "
        f"saturated: {shares}{edge_note(any(edges.values()))}"
    )
    statement = "keeps training from getting stuck in local minima or saturated regions"
    return [decide("C24", statement, reason, [*fewer, *stuck])]


def tuned_at_edge(outcome: Outcome, case: str) -> bool:
    """Whether an arm's best rate may lie beyond the grid; not if it trains at no rate, where the best means nothing."""
    rates = outcome.rates[case]
    if len(rates) == 1:
        return True
    return any(
        at_edge([rate], rates) and min(outcome.tuning_loss[case][arm]) <= TRAINS
        for arm, rate in outcome.tuned[case].items()
    )
