"""The decision rule of claim C16, as the package's docstring states it."""

from itertools import pairwise

import numpy as np

from bncourse.experiments.deeper.measure import RATIOS
from bncourse.experiments.deeper.outcome import Outcome
from bncourse.experiments.shared import Verdict
from bncourse.experiments.votes import Number, at_edge, decide, edge_note, number

SMALLEST_RATIO = 1.5
TRAINS = 0.5

WORDS = {
    "plain ratio": "plain networks, batch norm / none",
    "residual ratio": "residual networks, batch norm / none",
    "skip_init ratio": "residual networks, batch norm / SkipInit",
}


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Apply the rule of the package's docstring."""
    numbers = [_number(outcome, name) for name in WORDS]
    shown = "; ".join(f"{words} {each.effect}" for words, each in zip(WORDS.values(), numbers, strict=True))
    edge = any(tuned_at_edge(outcome, network) for name in WORDS for network in RATIOS[name])
    reason = f"largest depth that works, a ratio of geometric means: {shown}{edge_note(edge)}"
    return [decide("C16", 'enables deeper networks: "ResNet, DenseNet, Transformer"', reason, numbers)]


def _number(outcome: Outcome, name: str) -> Number:
    networks = RATIOS[name]
    sweeps = [outcome.depths[network] for network in networks]
    return number(
        f"largest depth that works, {WORDS[name]}",
        outcome.estimates[name],
        seeds=outcome.seeds,
        no_effect=1,
        smallest=SMALLEST_RATIO,
        ratio=True,
        resolution=max(after / before for sweep in sweeps for before, after in pairwise(sweep)),
        decidable=not any(works_nowhere(outcome, each) or tuned_at_edge(outcome, each) for each in networks),
    )


def works_nowhere(outcome: Outcome, network: str) -> bool:
    """Whether some seed works at no depth, so that its largest depth is smaller than the sweep's first."""
    return bool((np.max(outcome.test_accuracy[network], axis=0) < outcome.target_accuracy).any())


def tuned_at_edge(outcome: Outcome, network: str) -> bool:
    """Whether at some depth, where some seeds do not work, a rate beyond the grid might do better."""
    rows = zip(outcome.tuned[network], outcome.tuning_accuracy[network], outcome.test_accuracy[network], strict=True)
    return any(
        at_edge([rate], outcome.rates) and max(scores) >= TRAINS and min(accuracies) < outcome.target_accuracy
        for rate, scores, accuracies in rows
    )
