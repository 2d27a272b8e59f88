"""Covering pairs: few cases in which every two values of two factors meet, if they can."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

Pair = tuple[tuple[str, Any], tuple[str, Any]]


def covering(
    factors: Mapping[str, Sequence[Any]], possible: Callable[[dict[str, Any]], bool], seed: int = 0
) -> tuple[list[dict[str, Any]], set[Pair]]:
    """Choose cases greedily: each is the one of some random ones that covers most of the pairs that are left.

    Returns
    -------
    cases, and the pairs that no case could be found for: who calls says why each of those is impossible.
    """
    draw = random.Random(seed)
    wanted = [
        ((a, x), (b, y)) for a, b in combinations(factors, 2) for x in factors[a] for y in factors[b]
    ]  # in order, so that the same seed gives the same cases
    left, cases, impossible = set(wanted), [], set()
    while left:
        target = next(pair for pair in wanted if pair in left)
        candidates = list(_tries(factors, dict(target), possible, draw))
        if not candidates:
            impossible.add(target)
            left.remove(target)
            continue
        best = max(candidates, key=lambda case: len(left & pairs_of(case)))
        cases.append(best)
        left -= pairs_of(best)
    return cases, impossible


def pairs_of(case: Mapping[str, Any]) -> set[Pair]:
    """All pairs of values that meet in a case."""
    return set(combinations(case.items(), 2))


def _tries(
    factors: Mapping[str, Sequence[Any]],
    fixed: dict[str, Any],
    possible: Callable[[dict[str, Any]], bool],
    draw: random.Random,
) -> Iterator[dict[str, Any]]:
    found = 0
    for _ in range(1000):
        case = {name: fixed.get(name, draw.choice(values)) for name, values in factors.items()}
        if possible(case):
            yield case
            found += 1
        if found == 40:
            return
