"""The decision rule of claim C12, as the package's docstring states it."""

from bncourse.experiments.placement.outcome import Outcome
from bncourse.experiments.placement.settings import PLACES
from bncourse.experiments.shared import Verdict, side
from bncourse.experiments.votes import Number, at_edge, decide, edge_note, in_points, number, runs_are_lost

SMALLEST_RATIO = 1.1
SMALLEST_POINTS = 1.0
TEST_POINTS = 4000

NAMES = {"relu": "ReLU", "tanh": "tanh", "sigmoid": "sigmoid"}


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Apply the rule of the package's docstring."""
    steps = {activation: _steps(outcome, activation) for activation in outcome.architectures}
    points = {activation: _points(outcome, activation) for activation in outcome.architectures}
    edge = any(tuned_at_edge(outcome, score, activation) for score in outcome.tuned for activation in steps)
    reason = (
        f"steps to {outcome.target:.0%} on the digits, after / before the activation: {_listed(steps)}; points of test "
        f"accuracy on clusters, before - after: {_listed(points)}; in {after_is_better(outcome)} of "
        f"{len(steps) + len(points)} comparisons batch norm is better by as much after the activation{edge_note(edge)}"
    )
    statement = "the correct place is after the linear layer and before the activation"
    return [decide("C12", statement, reason, [*steps.values(), *points.values()])]


def _listed(numbers: dict[str, Number]) -> str:
    return ", ".join(f"{each.effect} with {NAMES[activation]}" for activation, each in numbers.items())


def _steps(outcome: Outcome, activation: str) -> Number:
    return number(
        f"steps to {outcome.target:.0%} on the digits, after / before the activation, {NAMES[activation]}",
        outcome.estimates["steps"][activation],
        seeds=outcome.seeds,
        no_effect=1,
        smallest=SMALLEST_RATIO,
        ratio=True,
        decidable=not tuned_at_edge(outcome, "steps", activation) and not target_is_missed(outcome, activation),
    )


def _points(outcome: Outcome, activation: str) -> Number:
    return number(
        f"percentage points of test accuracy on clusters, before - after the activation, {NAMES[activation]}",
        in_points(outcome.estimates["accuracy"][activation]),
        seeds=outcome.seeds,
        no_effect=0,
        smallest=SMALLEST_POINTS,
        resolution=100 / TEST_POINTS,
        decidable=not tuned_at_edge(outcome, "accuracy", activation),
    )


def tuned_at_edge(outcome: Outcome, score: str, activation: str) -> bool:
    """Whether the best rate for this score, in one of the places at one depth, may lie beyond the grid."""
    chosen = {outcome.tuned[score][name][place] for name in outcome.architectures[activation] for place in PLACES}
    return at_edge(chosen, outcome.rates)


def target_is_missed(outcome: Outcome, activation: str) -> bool:
    """Whether in one of the places at one depth more than a quarter of the runs do not reach the target."""
    steps = outcome.scores["steps"]
    return runs_are_lost(steps[name][place] for name in outcome.architectures[activation] for place in PLACES)


def after_is_better(outcome: Outcome) -> int:
    """In how many comparisons the other place is better by the smallest effect of interest."""
    steps = (side(each, 1 / SMALLEST_RATIO) for each in outcome.estimates["steps"].values())
    points = (side(in_points(each), -SMALLEST_POINTS) for each in outcome.estimates["accuracy"].values())
    return sum(where == "below" for where in (*steps, *points))
