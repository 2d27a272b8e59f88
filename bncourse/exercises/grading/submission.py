"""Grades one submission: fresh probes, one run in the sandbox, and the same judge as in the notebook."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bncourse.exercises import list_exercises
from bncourse.exercises.attempt import Attempt
from bncourse.exercises.exercise import Exercise
from bncourse.exercises.functions import NamedFunction
from bncourse.exercises.grading import wire
from bncourse.exercises.grading.sandbox import Answer, Sandbox
from bncourse.exercises.judge import STRAYS, judge
from bncourse.exercises.probe import Empty, Probe, Stray
from bncourse.exercises.result import Result

LARGEST_FILE = 10 * 2**20
LONGEST_MESSAGE = 2000
OUTCOMES_FROM_OUTSIDE = ("ran", "error", "not attempted", "wrong interface")


class UnreadableSubmissionError(ValueError):
    """A file cannot be graded at all; the message is the reason that its row will hold."""


@dataclass(frozen=True)
class Grade:
    """What a submission earned.

    Parameters
    ----------
    submission : the file, relative to the folder of submissions.
    fingerprint : a hash of its content, by which a later run knows that it has not changed.
    results : one verdict for each exercise of the assignment.
    problem : why nothing in it could be graded; empty otherwise.
    failed_cells : what happened in the cells that did not run to their end.
    seed : of the probes: with it the same inputs can be drawn again.
    seconds : how long grading took.
    """

    submission: str
    fingerprint: str
    results: tuple[Result, ...]
    problem: str = ""
    failed_cells: tuple[str, ...] = ()
    seed: int = field(default=0)
    seconds: float = field(default=0.0)

    @property
    def score(self) -> int:
        """How many exercises passed."""
        return sum(result.outcome == "passed" for result in self.results)


def read_submission(path: Path) -> bytes:
    """The content of a submitted file.

    Raises
    ------
    UnreadableSubmissionError : if it is not a notebook's regular file of a size that a notebook may have.
    """
    try:
        # Never through a link: it might point out of the folder, at somebody else's work.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        reason = "it is a symbolic link" if path.is_symlink() else f"it cannot be read ({error.strerror})"
        raise UnreadableSubmissionError(f"Not graded: {reason}.") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableSubmissionError("Not graded: it is not a regular file.")
        if path.suffix.lower() != ".ipynb":
            raise UnreadableSubmissionError("Not graded: it is not a notebook (.ipynb).")
        if status.st_size > LARGEST_FILE:
            raise UnreadableSubmissionError(
                f"Not graded: it has {status.st_size / 2**20:.1f} MiB, more than {LARGEST_FILE // 2**20}. "
                "Clear the notebook's outputs and save it again."
            )
        return file.read(LARGEST_FILE)


def grade(name: str, content: bytes, exercises: Sequence[Exercise], sandbox: Sandbox) -> Grade:
    """Run a notebook in the sandbox and judge what its functions returned.

    Raises
    ------
    SandboxError : if the sandbox did not start.
    """
    fingerprint = hashlib.sha256(content).hexdigest()
    seed = int.from_bytes(os.urandom(8), "big")
    rng = np.random.default_rng(seed)
    probes = {exercise.id: list(exercise.make_probes(rng)) for exercise in exercises}
    answer = sandbox.run(_job(content, exercises, probes, sandbox))
    try:
        problem, cells, attempts = _understand(answer, exercises, probes)
    except wire.WireError as error:
        interfered = f"The notebook interfered with the grader: {error}."
        return replace(ungraded(name, fingerprint, exercises, interfered, "error"), seed=seed, seconds=answer.seconds)
    if problem:
        return replace(ungraded(name, fingerprint, exercises, problem), seed=seed, seconds=answer.seconds)
    results = tuple(
        judge(exercise, probes[exercise.id], attempts.get(exercise.id) or [_silence(answer, sandbox.seconds)])
        for exercise in exercises
    )
    return Grade(name, fingerprint, results, "", cells, seed, answer.seconds)


def ungraded(
    name: str, fingerprint: str, exercises: Sequence[Exercise], problem: str, outcome: str = "not attempted"
) -> Grade:
    """The row of a submission in which nothing could be graded."""
    results = tuple(Result(outcome, problem, (), exercise.id) for exercise in exercises)
    return Grade(name, fingerprint, results, problem)


def _job(
    content: bytes, exercises: Sequence[Exercise], probes: Mapping[str, Sequence[Probe]], sandbox: Sandbox
) -> bytes:
    """What the child needs: the notebook, and how each exercise calls its function; no answer."""
    arrays = {"notebook": np.frombuffer(content, np.uint8)}
    document = {
        "seconds": sandbox.seconds,
        "memory": sandbox.memory,
        "ids": [exercise.id for exercise in list_exercises()],
        "exercises": [
            {
                "id": exercise.id,
                "functions": exercise.function_names,
                "outputs": exercise.outputs,
                "probes": [
                    {
                        "name": probe.name,
                        "arguments": [[name, encode(value, arrays)] for name, value in probe.arguments.items()],
                        "launches": probe.launches,
                    }
                    for probe in probes[exercise.id]
                ],
            }
            for exercise in exercises
        ],
    }
    return wire.pack(document, arrays)


def encode(value: Any, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """An argument of a probe as JSON; an array joins ``arrays`` and is named.

    Raises
    ------
    TypeError : for a kind of argument that cannot be carried.
    """
    if isinstance(value, np.ndarray):
        name = f"argument{len(arrays)}"
        mask = value.dtype == bool  # which travels as numbers, since nothing else is let through
        arrays[name] = value.astype(np.uint8) if mask else value
        return {"mask" if mask else "array": name}
    if isinstance(value, Empty):
        return {"empty": value.shape, "dtype": value.dtype}
    if isinstance(value, tuple):
        return {"tuple": [encode(item, arrays) for item in value]}
    if isinstance(value, Iterator):  # one over a list, which a copy leaves where it is
        return {"iterator": [encode(item, arrays) for item in copy(value)]}
    if isinstance(value, NamedFunction):
        settings = {name: encode(setting, arrays) for name, setting in value.settings.items()}
        return {"function": value.name, "settings": settings}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise TypeError(
        "expected a probe's argument to be an array, number, text, tuple, iterator or named function, "
        f"got {type(value).__name__}"
    )


def _understand(
    answer: Answer, exercises: Sequence[Exercise], probes: Mapping[str, Sequence[Probe]]
) -> tuple[str, tuple[str, ...], dict[str, list[Attempt]]]:
    """What the child says: a problem with the whole notebook, the cells that failed, the attempts at each exercise."""
    known = {exercise.id: exercise for exercise in exercises}
    if answer.ended == "size":
        raise wire.WireError("it sent far more than answers")
    cells: tuple[str, ...] = ()
    attempts: dict[str, list[Attempt]] = {}
    for message in answer.messages[1:]:
        document, arrays = wire.unpack(message)
        if "problem" in document:
            return _text(document["problem"]), (), {}
        if "cells" in document:
            cells = tuple(_cell(cell) for cell in _list(document["cells"]))
            continue
        exercise = known.get(_text(document.get("exercise")))
        if exercise is None or exercise.id in attempts:
            raise wire.WireError("it answered for an exercise that was not asked for, or twice")
        attempts[exercise.id] = _attempts(document, arrays, exercise, probes[exercise.id])
    return "", cells, attempts


def _attempts(
    document: Mapping[str, Any], arrays: Mapping[str, np.ndarray], exercise: Exercise, probes: Sequence[Probe]
) -> list[Attempt]:
    attempts = []
    for number, (record, probe) in enumerate(zip(_list(document.get("attempts")), probes, strict=False)):
        if not isinstance(record, dict) or record.get("outcome") not in OUTCOMES_FROM_OUTSIDE:
            raise wire.WireError("it sent an attempt without an outcome")
        outputs: tuple[np.ndarray, ...] = ()
        if record["outcome"] == "ran":
            try:
                outputs = tuple(arrays[f"{number}.{place}"] for place in range(len(exercise.outputs)))
            except KeyError:
                raise wire.WireError("it sent an attempt without its outputs") from None
            if any(output.dtype.kind != "f" or output.dtype.itemsize < 4 for output in outputs):
                raise wire.WireError("it sent outputs that are not floating-point numbers")
        changed = tuple(name for name in probe.arguments if name in _list(record.get("changed")))
        strays = tuple(_stray(entry, probe) for entry in _list(record.get("strays")))
        attempts.append(Attempt(record["outcome"], _text(record.get("message")), outputs, changed, strays))
    if len(attempts) < len(probes) and all(attempt.outcome == "ran" for attempt in attempts):
        raise wire.WireError("it sent fewer attempts than there were calls")
    return attempts


def _stray(entry: Any, probe: Probe) -> Stray:
    try:
        stray = Stray(*entry)
        known = stray.kind in STRAYS and isinstance(probe.arguments[stray.array], np.ndarray | Empty)
    except (TypeError, KeyError):
        known = False
    if not known or type(stray.times) is not int or type(stray.place) is not int:
        raise wire.WireError("it sent a report on memory that is none")
    return stray


def _silence(answer: Answer, seconds: float) -> Attempt:
    """What is said of an exercise from which nothing came back."""
    if answer.ended == "time":
        reason = f"The notebook was stopped after {seconds:g} seconds, before it had answered this exercise."
    else:
        reason = "The notebook ended Python before it had answered this exercise."
    return Attempt("error", reason)


def _cell(record: Any) -> str:
    if not isinstance(record, dict):
        raise wire.WireError("it sent a report on its cells that is none")
    return f"Code cell {_text(str(record.get('number')))}: {_text(record.get('error'))}"


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise wire.WireError("it sent something else where a list belongs")
    return value


def _text(value: Any) -> str:
    """Text from outside, cut, and without characters that steer a terminal or turn the direction of text."""
    if not isinstance(value, str):
        raise wire.WireError("it sent something else where text belongs")
    return "".join(sign for sign in value[:LONGEST_MESSAGE] if sign == "\n" or sign.isprintable())
