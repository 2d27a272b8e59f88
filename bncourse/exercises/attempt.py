"""Calls a learner's function on a probe and records what it did, whatever it did.

Nothing here knows the right answer: an attempt holds what came back, or a plain sentence about why nothing did.
"""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bncourse.exercises import launching
from bncourse.exercises.functions import CALLS, NamedFunction
from bncourse.exercises.probe import Probe, Stray, split_call

# Outputs for which an integer is as good as a float, and those for which a truth value is as well.
WHOLE_NUMBERS = frozenset({"count", "ddof", "momentum", "places"})
TRUTH_VALUES = frozenset({"places"})
NOT_ATTEMPTED = "Replace `raise NotImplementedError` by your code, then run the cell and this check again."


@dataclass(frozen=True)
class Attempt:
    """What one call of the learner's function did.

    Parameters
    ----------
    outcome : "ran", "error", "not attempted" or "wrong interface".
    message : why it did not run to a usable result; empty if it did.
    outputs : copies of the arrays that it returned, in the order of the exercise's outputs.
    changed : the names of the arguments that it modified in place, and of functions that it called more or less often
        than it must.
    strays : what a kernel did to memory that it must not do.
    """

    outcome: str
    message: str = ""
    outputs: tuple[np.ndarray, ...] = ()
    changed: tuple[str, ...] = ()
    strays: tuple[Stray, ...] = ()


def attempt_all(function: Any, probes: Sequence[Probe], output_names: Sequence[str]) -> list[Attempt]:
    """Call ``function`` on every probe; one attempt where it cannot be called or is not written yet.

    Where the probes launch kernels, ``function`` is a kernel, or a tuple of them.
    """
    kernels = function if isinstance(function, tuple) else (function,)
    if probes[0].launches:
        outcome, problem = launching.wrong_kernels(kernels, probes[0])
        if problem:
            return [Attempt(outcome, problem)]
    elif problem := interface_problem(function, probes[0]):
        return [Attempt("wrong interface", problem)]
    attempts: list[Attempt] = []
    for probe in probes:
        if probe.launches:
            attempts.append(attempt_kernels(kernels, probe, output_names))
        else:
            attempts.append(attempt(function, probe, output_names))
        if attempts[-1].outcome == "not attempted":
            return attempts[-1:]
    return attempts


def interface_problem(function: object, probe: Probe) -> str:
    """Why ``function`` cannot be called as the exercise calls it, or an empty string."""
    names = list(probe.arguments)
    positional, keyword = split_call(probe.arguments)
    call = ", ".join([*names[: len(positional)], *(f"{name}={name}" for name in keyword)])
    if not callable(function):
        return f"`check` takes your function itself, as in `check(my_function)`; it got {_describe(function)}."
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(*positional, **keyword)
    except TypeError as error:
        return f"The exercise calls f({call}), and yours is f{signature}: {error}."
    return ""


def attempt(function: Callable[..., object], probe: Probe, output_names: Sequence[str]) -> Attempt:
    """Call ``function`` on a fresh copy of the probe's arguments.

    Exceptions become an outcome; ``KeyboardInterrupt`` passes through, because it is the reader's.
    """
    arguments = probe.fresh()
    positional, keyword = split_call(arguments)
    try:
        returned = function(*positional, **keyword)
    except (Exception, SystemExit) as error:
        if isinstance(error, NotImplementedError) and (not error.args or _raised_by(function, error)):
            return Attempt("not attempted", NOT_ATTEMPTED)
        return Attempt("error", f"{_explain_exception([function], error)}\nThe call was with {probe.shapes}.")
    try:
        outputs = _as_arrays(returned, output_names)
    except _UnreadableError as problem:
        return Attempt("wrong interface", str(problem))
    return Attempt("ran", "", outputs, _changed(probe.arguments, arguments))


def attempt_kernels(kernels: Sequence[Any], probe: Probe, output_names: Sequence[str]) -> Attempt:
    """Launch kernels on a probe, with exceptions handled as :func:`attempt` does."""
    try:
        outputs, strays = launching.launch_all(kernels, probe, tuple(output_names))
    except (Exception, SystemExit) as error:
        if isinstance(error, NotImplementedError) and not error.args:
            return Attempt("not attempted", NOT_ATTEMPTED)
        code = [launching.code_of(kernel) for kernel in kernels]
        return Attempt("error", f"{_explain_exception(code, error, 'kernel')}\nThe launch was with {probe.shapes}.")
    return Attempt("ran", "", outputs, (), strays)


class _UnreadableError(Exception):
    """What was returned cannot be read as the exercise's outputs."""


def _as_arrays(returned: object, names: Sequence[str]) -> tuple[np.ndarray, ...]:
    wanted = names[0] if len(names) == 1 else f"({', '.join(names)})"
    if returned is None:
        raise _UnreadableError(f"Your function returned None: end it with `return {', '.join(names)}`.")
    if len(names) == 1:
        if isinstance(returned, tuple):
            raise _UnreadableError(f"Your function returned a tuple of {len(returned)}: return {wanted} alone.")
        return (_as_array(returned, names[0]),)
    if not isinstance(returned, tuple | list):
        raise _UnreadableError(f"Your function returned {_describe(returned)}: return the tuple {wanted}.")
    if len(returned) != len(names):
        raise _UnreadableError(
            f"Your function returned {len(returned)} values: return {len(names)}, the tuple {wanted}."
        )
    return tuple(_as_array(value, name) for value, name in zip(returned, names, strict=True))


def _as_array(value: object, name: str) -> np.ndarray:
    try:
        array = np.asarray(value).copy()
    except Exception as error:
        raise _UnreadableError(f"{name} cannot be read as an array: {_first_line(error)}") from error
    if name in WHOLE_NUMBERS and array.dtype.kind in ("biu" if name in TRUTH_VALUES else "iu"):
        array = array.astype(np.float64)
    if array.dtype.kind != "f" or array.dtype.itemsize < 4:
        numbers = "numbers" if array.ndim else "a number"
        wanted = numbers if name in WHOLE_NUMBERS else "an array of dtype float32 or float64"
        raise _UnreadableError(f"{name} is {_describe(value)} of dtype {array.dtype}: return {wanted}.")
    return array


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    def differs(one: Any, other: Any) -> bool:
        if isinstance(one, NamedFunction):
            calls: int = other.calls[0] - one.calls[0]
            return calls != CALLS.get(one.name, calls)
        return isinstance(one, np.ndarray) and (one.shape != other.shape or one.tobytes() != other.tobytes())

    return tuple(name for name, value in before.items() if differs(value, after[name]))


def _raised_by(function: Callable[..., object], error: BaseException) -> bool:
    """Whether the last frame of the traceback is the function itself, not something that it called."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and traceback.tb_frame.f_code is getattr(function, "__code__", None)


def _explain_exception(functions: Sequence[Callable[..., object]], error: BaseException, noun: str = "function") -> str:
    """Type and message, and the line of the learner's own code on which it happened."""
    text = f"Your {noun} raised {type(error).__name__}: {_first_line(error)}"
    codes = [getattr(inspect.unwrap(function), "__code__", None) for function in functions]
    files = {code.co_filename for code in codes if code is not None}
    place = None
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename in files:
            place = traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
        traceback = traceback.tb_next
    if place is None:
        return text
    source = linecache.getline(*place).strip()
    return f"{text}\nIt happened on line {place[1]}" + (f": `{source}`" if source else " of your code.")


def _first_line(error: BaseException) -> str:
    try:
        lines = str(error).strip().splitlines()
    except Exception:
        lines = []
    return (lines[0] if lines else "(no message)").removesuffix(".") + "."


def _describe(value: object) -> str:
    """The kind of an object, with its article, for a sentence."""
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
