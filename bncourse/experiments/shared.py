"""What every experiment shares: the form of a verdict, and the way from a run to its record."""

import argparse
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from jaxtyping import Float

from bncourse import results
from bncourse.lab import Interval
from bncourse.results.verdicts import Answer, Effect, Verdict

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "ANSWERS",
    "Answer",
    "Effect",
    "Experiment",
    "Side",
    "Verdict",
    "finite",
    "record_run",
    "revive",
    "side",
    "six_digits",
]

Side = Literal["above", "below", "across"]
ANSWERS: dict[Side, Answer] = {"above": "supported", "below": "contradicted", "across": "inconclusive"}

SettingsType = TypeVar("SettingsType", bound="DataclassInstance")
OutcomeType = TypeVar("OutcomeType", bound="DataclassInstance")


class Experiment(Protocol):
    """What the ledger needs of an experiment's module.

    Attributes
    ----------
    Settings : a dataclass; its defaults are the recorded run's.
    REDUCED : settings of the same estimands at reduced size, with which ``bncourse claims check`` runs it again.
    with_seeds : settings with another number of seeds, the rest unchanged.
    run : from settings to an outcome, a dataclass of plain values. ``jobs``, ``cache`` and ``progress`` are those of
        :func:`bncourse.lab.run_all`, through which it does whatever takes long.
    verdicts : the rule, from an outcome to one verdict for each claim that the experiment settles.
    """

    Settings: Callable[[], Any]
    REDUCED: Any

    def with_seeds(self, settings: Any, count: int, /) -> Any: ...
    def run(self, settings: Any, /, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Any: ...
    def verdicts(self, outcome: Any, /) -> Sequence[Verdict]: ...


def side(interval: Interval, threshold: float) -> Side:
    """On which side of a threshold the whole interval lies, or that it lies across."""
    if interval.low > threshold:
        return "above"
    return "below" if interval.high < threshold else "across"


def record_run(
    experiment: str,
    settings: SettingsType,
    run: Callable[[SettingsType], OutcomeType],
    verdicts: Callable[[OutcomeType], Sequence[Verdict]],
    arguments: Sequence[str] | None = None,
    *,
    processes: int = 1,
) -> None:
    """Run an experiment, one thread to a process, write its record, and print the verdicts.

    Parameters
    ----------
    experiment : names the record, and the module under ``bncourse.experiments`` that makes it again.
    settings, run, verdicts : of that module.
    arguments : of the command line; the process's own by default.
    processes : that ``run`` spreads its work over.
    """
    parser = argparse.ArgumentParser(prog=f"python -m bncourse.experiments.{experiment}")
    parser.add_argument("--output", type=Path, default=results.FOLDER, help="folder to write the record into")
    folder = parser.parse_args(arguments).output
    torch.set_num_threads(1)
    start = time.perf_counter()
    outcome = run(settings)
    source = results.provenance(
        command=parser.prog,
        packages=["torch", "numpy", "scipy", "scikit-learn"],
        threads=processes,
        seconds=time.perf_counter() - start,
    )
    answers = verdicts(outcome)
    record = results.Record(experiment, asdict(settings), source, asdict(outcome), [asdict(each) for each in answers])
    path = results.save(record, folder)
    for verdict in answers:
        print(verdict)
    print(f"written to {path}")


def six_digits(values: Float[np.ndarray, "S"]) -> list[float]:
    """Of each value, which keep a record short; what a record's estimates are made of."""
    return [float(f"{value:.6g}") for value in values.tolist()]


def finite(values: Iterable[float]) -> list[float | None]:
    """The values as a record takes them: None in place of infinity and of what is no number."""
    return [value if math.isfinite(value) else None for value in values]


def revive(value: Any) -> Any:
    """Turn what ``dataclasses.asdict`` and JSON made of intervals back into intervals, however deep they lie."""
    if isinstance(value, dict):
        if value.keys() == {field.name for field in fields(Interval)}:
            return Interval(**value)
        return {key: revive(inner) for key, inner in value.items()}
    return [revive(inner) for inner in value] if isinstance(value, list) else value
