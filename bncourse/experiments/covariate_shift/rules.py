"""The decision rule of claim C1, as the package's docstring states it."""

from bncourse.experiments.covariate_shift.outcome import Outcome
from bncourse.experiments.shared import Verdict
from bncourse.experiments.votes import Number, at_edge, decide, edge_note, number

SMALLEST_CHANGE_RATIO = 0.8
SMALLEST_STEPS_RATIO = 1.25


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Apply the rule of the package's docstring."""
    numbers, shown = [], []
    edges = {case: tuned_at_edge(outcome, case) for case in outcome.tuned}
    for case in outcome.tuned:
        found = _numbers(outcome, case, decidable=not edges[case])
        numbers += found
        tuned, shared, jumping, swinging, cost = (each.effect for each in found)
        shown.append(
            f"{case}: gradient change batch norm / none {tuned} at tuned rates, {shared} at one rate; steps none / "
            f"batch norm with as much shift put back {jumping} (jumping) and {swinging} (swinging); "
            f"steps of swinging / frozen noise {cost}"
        )
    reason = ". ".join(shown) + edge_note(any(edges.values()))
    return [decide("C1", "helps because it reduces internal covariate shift", reason, numbers)]


def _numbers(outcome: Outcome, case: str, decidable: bool) -> list[Number]:
    estimates = outcome.estimates[case]
    helped = estimates["gain"].low > SMALLEST_STEPS_RATIO
    lags = {"jumping": outcome.lags[:1], "swinging": outcome.lags}
    put_back = {kind: all(estimates[f"drift {kind} {lag}"].low > 1 for lag in each) for kind, each in lags.items()}
    changes = [
        number(
            f"relative change of gradients with batch norm / without, {words}, {case}",
            estimates[f"change {rate}"],
            seeds=outcome.seeds,
            no_effect=1,
            smallest=SMALLEST_CHANGE_RATIO,
            ratio=True,
            claimed="below",
            decidable=decidable,
        )
        for rate, words in (("tuned", "each at its tuned rate"), ("shared", "both at the rate tuned without"))
    ]
    gains = [
        number(
            f"steps without batch norm / with batch norm and {kind} noise, {case}",
            estimates[f"gain left {kind}"],
            seeds=outcome.seeds,
            no_effect=1,
            smallest=SMALLEST_STEPS_RATIO,
            ratio=True,
            claimed="below",
            decidable=decidable and helped and put_back[kind],
        )
        for kind in lags
    ]
    cost = number(
        f"steps with swinging noise / with frozen noise, {case}",
        estimates["cost of change"],
        seeds=outcome.seeds,
        no_effect=1,
        smallest=SMALLEST_STEPS_RATIO,
        ratio=True,
        decidable=decidable and put_back["swinging"],
    )
    return [*changes, *gains, cost]


def tuned_at_edge(outcome: Outcome, case: str) -> bool:
    """Whether the rate of a network that the estimates rest on may lie beyond the grid."""
    sizes, rates = outcome.matched[case], outcome.rates[case]
    arms = [
        "none",
        "batch_norm",
        *(f"{kind} {size:g}" for kind, size in sizes.items()),
        f"frozen {sizes['swinging']:g}",
    ]
    return at_edge((outcome.tuned[case][arm] for arm in arms), rates)
