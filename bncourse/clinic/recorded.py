"""The record of the clinic: the curves of every case, broken and mended, over seeds; and how it is made."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bncourse import results
from bncourse.clinic.checking import curves, verdict
from bncourse.lab import Interval, mean_interval

if TYPE_CHECKING:
    from bncourse.clinic.case import Case

ARMS = ("broken", "fixed")


@dataclass(frozen=True)
class Settings:
    """Of the recorded run. The seeds are none of those with which cases and examinations were built and tried."""

    seeds: tuple[int, ...] = tuple(range(400, 408))


@dataclass(frozen=True)
class Curve:
    """A quantity against the step.

    Attributes
    ----------
    steps, mean, lowest, highest : one value each for every recorded step; over the seeds.
    """

    steps: list[int]
    mean: list[float]
    lowest: list[float]
    highest: list[float]


@dataclass(frozen=True)
class Outcome:
    """What was seen of one case.

    Attributes
    ----------
    curves : for both arms, by the name of the quantity.
    final : for both arms, the mean over seeds of the last value of each quantity, with its 95 % interval.
    healthy : for both arms, how many seeds pass the case's examination.
    """

    curves: dict[str, dict[str, Curve]]
    final: dict[str, dict[str, Interval]]
    healthy: dict[str, int]


def observe(case: "Case", settings: Settings) -> Outcome:
    """Run both arms of a case for every seed, once for the curves and once for the examination."""
    drawn: dict[str, dict[str, Curve]] = {}
    final: dict[str, dict[str, Interval]] = {}
    healthy: dict[str, int] = {}
    for arm, train in zip(ARMS, (case.broken, case.fixed), strict=True):
        runs = [curves(case, train, seed) for seed in settings.seeds]
        drawn[arm], final[arm] = {}, {}
        for name in ("loss", *(name for name in runs[0].rows if name != "loss")):
            values = np.array([run.rows[name] for run in runs])
            if name in case.curves:
                bounds = (values.mean(axis=0), values.min(axis=0), values.max(axis=0))
                drawn[arm][name] = Curve(runs[0].steps, *(np.round(each, 4).tolist() for each in bounds))
            final[arm][name] = mean_interval(values[:, -1])
        passed = [verdict(case, _another(train), [seed]).outcome == "passed" for seed in settings.seeds]
        healthy[arm] = sum(passed)
    return Outcome(drawn, final, healthy)


@cache
def recorded(case_id: str) -> Outcome:
    """What was recorded of a case.

    Raises
    ------
    LookupError : if the clinic has not been recorded, or not this case.
    """
    outcome = results.load("clinic").outcome
    if case_id not in outcome:
        raise LookupError(f"no case {case_id!r} is recorded; recorded are: {', '.join(outcome)}")
    found = outcome[case_id]
    return Outcome(
        {arm: {name: Curve(**curve) for name, curve in found["curves"][arm].items()} for arm in ARMS},
        {arm: {name: Interval(**value) for name, value in found["final"][arm].items()} for arm in ARMS},
        found["healthy"],
    )


def _another(train: Callable[..., Any]) -> Callable[..., Any]:
    """The same run with another source, since the broken one as it came counts as not attempted."""
    return lambda task, record: train(task, record)
