"""What every experiment shares: the form of a verdict, and the way from a run to its record."""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch

from bncourse import results
from bncourse.lab import Interval

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Answer = Literal["supported", "qualified", "contradicted", "inconclusive"]
Side = Literal["above", "below", "across"]
ANSWERS: dict[Side, Answer] = {"above": "supported", "below": "contradicted", "across": "inconclusive"}

SettingsType = TypeVar("SettingsType", bound="DataclassInstance")
OutcomeType = TypeVar("OutcomeType", bound="DataclassInstance")


@dataclass(frozen=True)
class Verdict:
    """The answer of a claim's decision rule.

    Attributes
    ----------
    claim : identifier in the ledger, such as ``C2``.
    statement : what articles say, in our words.
    answer : what the rule makes of the numbers.
    reason : the numbers that decided, in words.
    """

    claim: str
    statement: str
    answer: Answer
    reason: str

    def __str__(self) -> str:
        return f"{self.claim} ({self.statement}): {self.answer}\n   {self.reason}"


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
) -> None:
    """Run an experiment on one thread, write its record, and print the verdicts.

    Parameters
    ----------
    experiment : names the record, and the module under ``bncourse.experiments`` that makes it again.
    settings, run, verdicts : of that module.
    arguments : of the command line; the process's own by default.
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
        threads=torch.get_num_threads(),
        seconds=time.perf_counter() - start,
    )
    path = results.save(results.Record(experiment, asdict(settings), source, asdict(outcome)), folder)
    for verdict in verdicts(outcome):
        print(verdict)
    print(f"written to {path}")


def revive(value: Any) -> Any:
    """Turn what ``dataclasses.asdict`` and JSON made of intervals back into intervals, however deep they lie."""
    if isinstance(value, dict):
        if value.keys() == {field.name for field in fields(Interval)}:
            return Interval(**value)
        return {key: revive(inner) for key, inner in value.items()}
    return [revive(inner) for inner in value] if isinstance(value, list) else value
