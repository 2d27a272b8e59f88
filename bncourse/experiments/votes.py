"""The rule that most claims share: several numbers, each of which speaks for the claim, against it, or not at all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from bncourse.experiments.shared import Answer, Effect, Verdict, side
from bncourse.lab import Interval

Vote = Literal["for", "against", "open"]


@dataclass(frozen=True)
class Number:
    """An effect, and what it says of its claim."""

    effect: Effect
    vote: Vote


def number(
    name: str,
    interval: Interval,
    *,
    seeds: int,
    no_effect: float,
    smallest: float,
    ratio: bool = False,
    resolution: float = 0.0,
    claimed: Literal["above", "below"] = "above",
    decidable: bool = True,
) -> Number:
    """An effect and its vote.

    Parameters
    ----------
    name, interval, seeds, no_effect, smallest, ratio, resolution : of the effect, see
        :class:`bncourse.results.verdicts.Effect`.
    claimed : the side of ``smallest`` on which the whole interval speaks for the claim; on the other it speaks against.
    decidable : False leaves the vote open wherever the interval lies.
    """
    effect = Effect.of(
        name, interval, no_effect=no_effect, smallest=smallest, ratio=ratio, seeds=seeds, resolution=resolution
    )
    where = side(interval, smallest)
    if where == "across" or not decidable:
        return Number(effect, "open")
    return Number(effect, "for" if where == claimed else "against")


def answer_of(votes: Sequence[Vote]) -> Answer:
    """Supported if all are for, contradicted if all are against, qualified if some are of each, else inconclusive."""
    found = set(votes)
    if found == {"for"}:
        return "supported"
    if found == {"against"}:
        return "contradicted"
    return "qualified" if found >= {"for", "against"} else "inconclusive"


def decide(
    claim: str, statement: str, reason: str, numbers: Sequence[Number], deciding: Sequence[Number] | None = None
) -> Verdict:
    """The verdict of some numbers.

    Parameters
    ----------
    claim, statement, reason : of the verdict.
    numbers : all that the verdict shows.
    deciding : those of them whose votes count; all of them if nothing is said.

    Notes
    -----
    The p-value is the largest of those comparisons that all had to be clear. Of a mixed answer it is that of the
    clearest number on each side, corrected for the choice by Bonferroni's factor.
    """
    counted = numbers if deciding is None else deciding
    answer = answer_of([each.vote for each in counted])
    if answer == "inconclusive":
        p = 1.0
    elif answer == "qualified":
        clearest = [min(each.effect.p_value() for each in counted if each.vote == vote) for vote in ("for", "against")]
        p = min(1.0, len(numbers) * max(clearest))
    else:
        p = max(each.effect.p_value() for each in (numbers if answer == "supported" else counted))
    return Verdict(claim, statement, answer, reason, tuple(each.effect for each in numbers), p)


def in_points(share: Interval) -> Interval:
    """A difference of shares, such as accuracies, in percentage points."""
    return Interval(100 * share.estimate, 100 * share.low, 100 * share.high)


def runs_are_lost(arms: Iterable[Sequence[float | None]]) -> bool:
    """Whether in one of these arms more than a quarter of the runs have None, since they never reach a target."""
    return any(sum(steps is None for steps in arm) > len(arm) / 4 for arm in arms)


def at_edge(chosen: Iterable[float], grid: Sequence[float]) -> bool:
    """Whether one of the values chosen is an end of its grid, so that a better one may lie beyond it."""
    return not {grid[0], grid[-1]}.isdisjoint(chosen)


def edge_note(noted: bool) -> str:
    """What a reason says where a rate was best at the end of its grid."""
    return "; a tuned rate lies at the edge of the grid" if noted else ""
