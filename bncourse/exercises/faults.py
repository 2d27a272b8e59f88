"""Known mistakes, and the search for the smallest set of them that explains a result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, combinations

FaultSet = frozenset[str]


@dataclass(frozen=True)
class Fault:
    """One mistake that a learner may make.

    Parameters
    ----------
    id : short name, stable: it appears in :attr:`Result.faults <bncourse.exercises.Result.faults>`.
    message : names the mistake and says what to do, in the second person.
    slots : the parts of the formula that the mistake occupies. Two mistakes in one part cannot be made together
        (the variance is not both unbiased and missing its path), so sets that share a slot are not searched.
    strays : what a kernel that makes the mistake does to memory, by the keys of
        :data:`bncourse.exercises.judge.STRAYS`: it is not another mistake.
    """

    id: str
    message: str
    slots: tuple[str, ...]
    strays: tuple[str, ...] = ()


@dataclass(frozen=True)
class Coincidence:
    """Two sets of faults that are the same function, so that no probe can tell them apart.

    Parameters
    ----------
    named : the set that the diagnosis names.
    same_as : the set that it stands for as well.
    reason : why they are the same.
    """

    named: FaultSet
    same_as: FaultSet
    reason: str


@cache
def compatible_sets(faults: tuple[Fault, ...], size: int) -> tuple[FaultSet, ...]:
    """Every set of ``size`` faults of which no two occupy the same slot."""
    return _compatible(combinations(faults, size))


@cache
def repaired_in_part(faults: tuple[Fault, ...], given: FaultSet, size: int) -> tuple[FaultSet, ...]:
    """Every compatible set of ``size`` faults of which all, or all but one, are of those in ``given``.

    That is what a learner hands in who has repaired some of the given faults, and made one more at the most.
    """
    there = [fault for fault in faults if fault.id in given]
    others = [fault for fault in faults if fault.id not in given]
    with_another = ((*left, other) for left in combinations(there, size - 1) for other in others)
    return _compatible(chain(combinations(there, size), with_another))


def _compatible(sets: Iterable[tuple[Fault, ...]]) -> tuple[FaultSet, ...]:
    found = []
    for chosen in sets:
        slots = [slot for fault in chosen for slot in fault.slots]
        if len(slots) == len(set(slots)):
            found.append(frozenset(fault.id for fault in chosen))
    return tuple(found)


def explain(
    faults: tuple[Fault, ...],
    coincidences: Sequence[Coincidence],
    matches: Callable[[FaultSet], bool],
    given: FaultSet = frozenset(),
) -> FaultSet | None:
    """The smallest set of faults for which ``matches`` holds: one fault, else two.

    Where a function is to be repaired that has the faults in ``given``, these come first, which is how a class begins.
    Larger sets of them follow the pairs, with one other fault at the most.

    Returns
    -------
    The set, or None where no set matches, or where several of the smallest size do and are not declared to be the
    same function: then the diagnosis would be a guess.
    """
    if given and matches(given):
        return given
    sizes = [compatible_sets(faults, 1), compatible_sets(faults, 2)]
    sizes += [repaired_in_part(faults, given, size) for size in range(3, len(given) + 2)]
    for sets in sizes:
        found = [chosen for chosen in sets if matches(chosen)]
        for pair in coincidences:
            if pair.named in found and pair.same_as in found:
                found.remove(pair.same_as)
        if found:
            return found[0] if len(found) == 1 else None
    return None
