"""What the tests of several experiments ask."""

from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from bncourse import results
from bncourse.experiments.shared import revive
from bncourse.lab import Interval

__all__ = ["interval", "name_of", "read_again"]


def interval(low: float, high: float) -> Interval:
    """An interval with its estimate in the middle: the geometric middle, as a ratio's is, if both ends are positive."""
    return Interval((low * high) ** 0.5 if low > 0 else (low + high) / 2, low, high)


def name_of(experiment: ModuleType) -> str:
    return experiment.__name__.removeprefix("bncourse.experiments.")


def read_again(experiment: ModuleType, settings: Any, outcome: Any, folder: Path) -> Any:
    """The outcome as it comes out of a record of this run."""
    source = results.provenance("a command", ["numpy"], threads=1, seconds=2)
    results.save(results.Record(name_of(experiment), asdict(settings), source, asdict(outcome)), folder)
    return type(outcome)(**revive(results.load(name_of(experiment), folder).outcome))
