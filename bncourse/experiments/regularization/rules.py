"""The decision rules of claims C9 and C18, as the package's docstring states them."""

from bncourse.experiments.regularization.outcome import Outcome
from bncourse.experiments.regularization.settings import FULL, NOISE_TASKS, NONE, TASKS, Arm
from bncourse.experiments.shared import Verdict
from bncourse.experiments.votes import Number, at_edge, decide, edge_note, in_points, number
from bncourse.lab import Interval

SMALLEST_DIFFERENCE = 1.0
"""In percentage points of test accuracy."""

TEST_POINTS = {"clusters": 4000, "noisy digits": 500, "digits": 500}
WORDS = {"clusters": "clusters", "noisy digits": "digits with noisy labels", "digits": "digits"}
AGAINST_FULL = {
    "batch": "ordinary batches - full statistics",
    "ghosts": "ghost batches - full statistics",
    "noise": "full statistics with noise - without",
}


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Apply the rules of the package's docstring."""
    return [_noise(outcome), _accuracy(outcome)]


def _noise(outcome: Outcome) -> Verdict:
    numbers = {
        (task, kind): _number(f"{words}, on {WORDS[task]}", outcome, task, outcome.noise[task][kind], arm, FULL)
        for task in NOISE_TASKS
        for kind, words in AGAINST_FULL.items()
        for arm in [_arm(outcome, task, kind)]
    }
    parts = (
        f"on {WORDS[task]}, ordinary batches: {numbers[task, 'batch'].effect}, "
        f"ghost batches of {outcome.size[task]}: {numbers[task, 'ghosts'].effect}, "
        f"their noise alone: {numbers[task, 'noise'].effect}"
        for task in NOISE_TASKS
    )
    edge = any(_edge(outcome, task, _arm(outcome, task, kind), FULL) for task, kind in numbers)
    reason = f"points of test accuracy more than with full statistics {'; '.join(parts)}{edge_note(edge)}"
    return decide("C9", "regularizes through the noise of the batch", reason, list(numbers.values()))


def _accuracy(outcome: Outcome) -> Verdict:
    batch = Arm("ghosts", outcome.sizes[-1])
    numbers = {
        task: _number(f"batch norm - none, on {WORDS[task]}", outcome, task, outcome.accuracy[task], batch, NONE)
        for task in TASKS
    }
    edge = any(_edge(outcome, task, batch, NONE) for task in TASKS)
    parts = (
        f"{each.effect} on {WORDS[task]} (gap to training accuracy {in_points(outcome.gap[task])})"
        for task, each in numbers.items()
    )
    reason = f"points of test accuracy, batch norm - none: {', '.join(parts)}{edge_note(edge)}"
    return decide("C18", "better accuracy and generalization", reason, list(numbers.values()))


def _arm(outcome: Outcome, task: str, kind: str) -> Arm:
    """The arm that is compared with full statistics."""
    return Arm("ghosts", outcome.sizes[-1]) if kind == "batch" else Arm(kind, outcome.size[task])


def _number(name: str, outcome: Outcome, task: str, difference: Interval, *arms: Arm) -> Number:
    return number(
        f"percentage points of test accuracy, {name}",
        in_points(difference),
        seeds=outcome.seeds,
        no_effect=0,
        smallest=SMALLEST_DIFFERENCE,
        resolution=100 / TEST_POINTS[task],
        decidable=not _edge(outcome, task, *arms),
    )


def _edge(outcome: Outcome, task: str, *arms: Arm) -> bool:
    """Whether the best rate of one of these arms may lie beyond the grid."""
    return at_edge((outcome.tuned[task][arm.name][0] for arm in arms), outcome.rates)
