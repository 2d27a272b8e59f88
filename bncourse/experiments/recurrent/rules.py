"""The decision rule of claim C15, as the package's docstring states it."""

from bncourse.experiments.recurrent.outcome import Outcome
from bncourse.experiments.recurrent.settings import NETWORKS
from bncourse.experiments.shared import Verdict
from bncourse.experiments.votes import Number, at_edge, decide, edge_note, number, runs_are_lost

SMALLEST_RATIO = 1.1
SMALLEST_POINTS = 1.0
TEST_POINTS = 500

NAMES = {
    "input": "of the input",
    "shared": "with shared statistics",
    "per_step": "with statistics of each step",
    "small_gamma": "with statistics of each step and a small gamma",
}


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Apply the rule of the package's docstring."""
    steps = {network: _steps(outcome, network) for network in NETWORKS}
    points = {network: _points(outcome, network) for network in NETWORKS}

    def listed(score: str, numbers: dict[str, Number]) -> str:
        return ", ".join(
            f"{network} {each.effect} ({NAMES[outcome.chosen[score][network]]})" for network, each in numbers.items()
        )

    edge = any(tuned_at_edge(outcome, score, network) for score in outcome.tuned for network in NETWORKS)
    reason = (
        f"steps to {outcome.target:.0%}, none / best batch norm: {listed('steps', steps)}; points of test accuracy, "
        f"best batch norm - none: {listed('accuracy', points)}{edge_note(edge)}"
    )
    return [decide("C15", "applies to recurrent layers", reason, [*steps.values(), *points.values()])]


def _steps(outcome: Outcome, network: str) -> Number:
    return number(
        f"steps to {outcome.target:.0%}, none / best batch norm, {network}",
        outcome.estimates["steps"][network],
        seeds=outcome.seeds,
        no_effect=1,
        smallest=SMALLEST_RATIO,
        ratio=True,
        decidable=not tuned_at_edge(outcome, "steps", network) and not target_is_missed(outcome, network),
    )


def _points(outcome: Outcome, network: str) -> Number:
    return number(
        f"percentage points of test accuracy, best batch norm - none, {network}",
        outcome.estimates["accuracy"][network],
        seeds=outcome.seeds,
        no_effect=0,
        smallest=SMALLEST_POINTS,
        resolution=100 / TEST_POINTS,
        decidable=not tuned_at_edge(outcome, "accuracy", network),
    )


def compared(outcome: Outcome, score: str, network: str) -> tuple[str, str]:
    """The two arms whose scores are compared."""
    return "none", outcome.chosen[score][network]


def tuned_at_edge(outcome: Outcome, score: str, network: str) -> bool:
    """Whether one of the arms that are compared may have a better rate beyond the grid."""
    rates = outcome.tuned[score][network]
    return at_edge([rates[arm] for arm in compared(outcome, score, network)], outcome.rates[network])


def target_is_missed(outcome: Outcome, network: str) -> bool:
    """Whether more than a quarter of the runs of an arm that is compared do not reach the target."""
    return runs_are_lost(outcome.steps[network][arm] for arm in compared(outcome, "steps", network))
