"""The grader's half inside the sandbox: runs a submission's cells, calls its functions, sends back what they return.

It knows the inputs and no answer. Everything after the cells ran may have been tampered with by them; whoever reads
what it sends must not believe it.
"""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any

import numpy as np

import bncourse.exercises as stub  # in the sandbox, this is stub.py
from bncourse.exercises.attempt import Attempt, attempt_all
from bncourse.exercises.functions import NamedFunction
from bncourse.exercises.grading import notebook, prove, wire
from bncourse.exercises.grading.confine import confine
from bncourse.exercises.probe import Empty, Launch, Probe

LONGEST_MESSAGE = 2000
MOST_CELLS_REPORTED = 10
LARGEST_OUTPUT = 2**18
# An alarm that a submission swallows rings again.
ALARM_REPEATS = 0.1
# Of the time limit, what one cell or one exercise may take: two that never end leave time for the others.
SHARE = 0.4


class TimeLimitError(BaseException):
    """Not an Exception, so that ``except Exception`` in a submission does not swallow it."""


def main(answer: int) -> None:
    """Read the job from standard input, confine this process, and write the answer to the file descriptor."""
    job = wire.unpack(sys.stdin.buffer.read())
    document = job.document
    confine(math.ceil(document["seconds"]) + 1, document["memory"])
    os.chdir("/tmp")
    # What went wrong up to here was said on standard error; from now on nobody listens.
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    if "prove" in document:
        _send(answer, {"holes": prove.holes(document["prove"], document["memory"])})
    else:
        _send(answer, {"started": True})
        _grade(answer, document, job.arrays)
    os._exit(0)


def _grade(answer: int, document: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    stub.ids.extend(document["ids"])  # type: ignore[attr-defined]
    try:
        sources = notebook.read_cells(arrays["notebook"].tobytes())
    except notebook.UnreadableNotebookError as error:
        _send(answer, {"problem": str(error)})
        return
    main_module = ModuleType("__main__")
    sys.modules["__main__"] = main_module
    namespace = main_module.__dict__
    namespace["display"] = lambda *objects, **options: None
    share = SHARE * document["seconds"]
    failed = list(notebook.run_cells(sources, namespace, lambda: _alarm(share, "this cell")))
    _send(
        answer,
        {"cells": [{"number": cell.number, "error": cell.error} for cell in failed[:MOST_CELLS_REPORTED]]},
    )
    for exercise in document["exercises"]:
        probes = [_probe(probe, arrays) for probe in exercise["probes"]]
        attempts = _attempts(exercise, probes, namespace, failed, share)
        _send_attempts(answer, exercise["id"], attempts)


def _attempts(
    exercise: Mapping[str, Any],
    probes: Sequence[Probe],
    namespace: Mapping[str, Any],
    failed: Sequence[notebook.FailedCell],
    share: float,
) -> Sequence[Attempt]:
    """What the submission's function does; the one given to the check last, else the one of the starter's name."""
    function = stub.checked.get(exercise["id"])  # type: ignore[attr-defined]
    if function is None:
        names = exercise["functions"]
        for name in names:
            if namespace.get(name) is None:
                return [_undefined(name, failed)]
        function = namespace[names[0]] if len(names) == 1 else tuple(namespace[name] for name in names)
    try:
        with _alarm(share, "this exercise"):
            return attempt_all(function, probes, exercise["outputs"])
    except TimeLimitError as error:
        return [Attempt("error", f"Your function did not answer in time: {error}.")]
    except BaseException as error:  # a KeyboardInterrupt that the function raised itself, and its like
        return [Attempt("error", f"Your function raised {type(error).__name__}.")]


def _undefined(name: str, failed: Sequence[notebook.FailedCell]) -> Attempt:
    for cell in failed:
        if f"def {name}" in cell.source:
            return Attempt("error", f"The cell that defines {name} (code cell {cell.number}) failed: {cell.error}")
    return Attempt("not attempted", f"The notebook neither defines {name} nor hands a function to this check.")


@contextmanager
def _alarm(seconds: float, what: str) -> Iterator[None]:
    """Raise :class:`TimeLimitError` in the block when it takes longer."""

    armed = True

    def ring(number: int, frame: FrameType | None) -> None:
        if armed:
            raise TimeLimitError(f"{what} may take {seconds:g} seconds")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, ALARM_REPEATS)
    try:
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)


def _probe(document: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Probe:
    launches = tuple(Launch(tuple(grid), tuple(names), kernel) for grid, names, kernel in document["launches"])
    arguments = {name: _value(value, arrays) for name, value in document["arguments"]}
    return Probe(document["name"], arguments, launches=launches)


def _value(document: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    """An argument, as :func:`bncourse.exercises.grading.submission.encode` wrote it."""
    if "array" in document:
        return arrays[document["array"]].copy()
    if "mask" in document:
        return arrays[document["mask"]].astype(bool)
    if "empty" in document:
        return Empty(tuple(document["empty"]), document["dtype"])
    if "tuple" in document:
        return tuple(_value(item, arrays) for item in document["tuple"])
    if "iterator" in document:
        return iter([_value(item, arrays) for item in document["iterator"]])
    if "function" in document:
        settings = {name: _value(value, arrays) for name, value in document["settings"].items()}
        return NamedFunction(document["function"], settings)
    return document["value"]


def _send_attempts(answer: int, exercise_id: str, attempts: Sequence[Attempt]) -> None:
    records, arrays = [], {}
    for number, attempt in enumerate(attempts):
        if sum(output.nbytes for output in attempt.outputs) > LARGEST_OUTPUT:
            sizes = ", ".join(str(output.shape) for output in attempt.outputs)
            attempt = Attempt("wrong interface", f"Your function returned far more than is expected: {sizes}.")
        records.append(
            {
                "outcome": attempt.outcome,
                "message": attempt.message[:LONGEST_MESSAGE],
                "changed": attempt.changed,
                "strays": attempt.strays,
            }
        )
        for place, output in enumerate(attempt.outputs):
            arrays[f"{number}.{place}"] = np.ascontiguousarray(output).reshape(output.shape)
    _send(answer, {"exercise": exercise_id, "attempts": records}, arrays)


def _send(answer: int, document: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> None:
    data = wire.frame(wire.pack(document, arrays or {}))
    while data:
        data = data[os.write(answer, data) :]
