"""How experiments put networks together into ensembles, and how they score them."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from bncourse.lab import History, Split, accuracy
from bncourse.lab.ensemble import Ensemble

MEMBERS = 64
"""In one ensemble: with more, a step's values no longer fit into the processor's cache."""

Member = TypeVar("Member")


def side_by_side(rates: Sequence[float], seeds: Sequence[int]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Rates and seeds of the members of an ensemble that has every seed at every rate, rate by rate."""
    return tuple(rate for rate in rates for _ in seeds), tuple(seeds) * len(rates)


def portions(members: Sequence[Member]) -> Iterator[Sequence[Member]]:
    """The members in their order, as many at a time as one ensemble takes."""
    for start in range(0, len(members), MEMBERS):
        yield members[start : start + MEMBERS]


def best(score: str, means: Float[np.ndarray, "R"]) -> int:
    """Which of some mean scores is best: of "steps" the fewest, of others, such as "accuracy", the highest."""
    return int(means.argmin() if score == "steps" else means.argmax())


def final_accuracy(network: Ensemble, history: History, data: Split, part: str) -> Float[np.ndarray, "S"]:
    """Accuracy after the last step on the part that is named, "validation" or "test", and on no other."""
    return accuracy(network, data.test_x, data.test_y) if part == "test" else history.validation_accuracy[:, -1]
