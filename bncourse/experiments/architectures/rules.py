"""The decision rule of claim C19, as the package's docstring states it."""

from bncourse.experiments.architectures.measure import Outcome
from bncourse.experiments.architectures.settings import CLAIMED, Cell
from bncourse.experiments.shared import Verdict, side
from bncourse.experiments.votes import Number, at_edge, decide, edge_note, number

SMALLEST_POINTS = 1.0
TEST_POINTS = 500


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Apply the rule of the package's docstring."""
    examples = outcome.budgets[0]
    numbers = {
        architecture: [_number(outcome, Cell(architecture, size, examples)) for size in outcome.batch_sizes]
        for architecture in CLAIMED
    }
    listed = "; ".join(
        f"{architecture} {' and '.join(str(each.effect) for each in pair)}, large - small batches "
        f"{outcome.interactions[f'{architecture}, {examples} examples']['batch_norm']}"
        for architecture, pair in numbers.items()
    )
    sizes = " and ".join(map(str, outcome.batch_sizes))
    flat = [each for pair in numbers.values() for each in pair]
    edge = any(tuned_at_edge(outcome, cell) for cell in _cells(outcome))
    reason = (
        f"points of test accuracy gained after {examples} examples, with batches of {sizes}: {listed}; in "
        f"{harmed(outcome)} of {len(flat)} cells batch norm costs as much{edge_note(edge)}"
    )
    return [decide("C19", "robust across architectures: fully connected, convolutional, recurrent", reason, flat)]


def _cells(outcome: Outcome) -> list[Cell]:
    return [Cell(architecture, size, outcome.budgets[0]) for architecture in CLAIMED for size in outcome.batch_sizes]


def _number(outcome: Outcome, cell: Cell) -> Number:
    return number(
        f"percentage points of test accuracy, batch norm - none, {cell.name}",
        outcome.gains[cell.name]["batch_norm"],
        seeds=outcome.seeds,
        no_effect=0,
        smallest=SMALLEST_POINTS,
        resolution=100 / TEST_POINTS,
        decidable=not tuned_at_edge(outcome, cell),
    )


def tuned_at_edge(outcome: Outcome, cell: Cell) -> bool:
    """Whether the best rate of one of the two arms may lie beyond the grid."""
    return at_edge([outcome.tuned[cell.name][arm] for arm in ("none", "batch_norm")], outcome.rates)


def harmed(outcome: Outcome) -> int:
    """In how many cells of the rule batch norm costs at least the smallest effect of interest."""
    return sum(side(outcome.gains[cell.name]["batch_norm"], -SMALLEST_POINTS) == "below" for cell in _cells(outcome))
