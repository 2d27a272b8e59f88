"""Turns attempts into a verdict: agreement within tolerance, a named mistake, or the first property that fails."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bncourse.exercises.attempt import Attempt
from bncourse.exercises.faults import FaultSet, explain
from bncourse.exercises.functions import CALLS, NamedFunction
from bncourse.exercises.probe import Probe, Stray
from bncourse.exercises.result import Result, Table

if TYPE_CHECKING:
    from bncourse.exercises.exercise import Exercise

CORRECT: FaultSet = frozenset()
IN_PLACE = "in_place"
RELATIVE_TOLERANCE = {4: 1e-3, 8: 1e-7}
VISIBLE = 1e-3
# Of the largest value, or of the tolerance, what is left of a zero: a learner should not look at it.
ROUNDING = 1e-12
ROUNDING_OF_TOLERANCE = 1e-2
AS_GIVEN = (
    "Your {noun} still does what the given one does. The table says where that is right and where it is not: what is "
    "different there?"
)
UNKNOWN = "The mistake is not one that this check knows by name."
IN_FLOAT32 = (
    "The values agree to the precision of float32, yet they come as float64: something is computed in float32 on the "
    "way. Compute in float64, or return float32."
)
WRONG_CALLS = (
    "The values are right, but on some probe `{name}` is called more or less often than {calls} times. Others wait for "
    "each of these calls, also where this one has nothing to say: on a cluster all would stand still."
)
Outputs = tuple[np.ndarray, ...]
# What a kernel may do to memory that is wrong whatever it computes, each with its message.
STRAYS = {
    "left_out": (
        "{times} of the {size} values of {array} are never written, the first at place {place}: look at the blocks "
        "that your programs take, all together, and at the mask of the store, or the condition above it."
    ),
    "written_outside": (
        "Your kernel writes outside of {array}: {size} values are there, and it writes to place {place}. On a GPU that "
        "is the memory of another tensor. The store needs a mask that is false in these lanes; or the index is wrong."
    ),
    "read_outside": (
        "Your kernel reads outside of {array}: {size} values are there, and it reads place {place}. What lies there is "
        "somebody else's number. The load needs a mask that is false in these lanes, and a value `other` where they "
        "enter a sum; or the index is wrong."
    ),
    "lanes_undefined": (
        "A masked load has no `other`, and what its masked lanes hold gets into {array}, at place {place}. The "
        "interpreter puts 0 there; Triton leaves it undefined, so that another device or version may give any number. "
        "Infinity and NaN are among them, which a product with 0 does not take away. Say what these lanes hold: "
        "`other=0.0`, where they enter a sum."
    ),
    "read_unwritten": (
        "Your kernel reads {array} at place {place}, where nothing has been written yet: it holds what was in this "
        "memory before. What is read has to be stored first, also by a program that has nothing to add; and "
        "`tl.atomic_add` reads what it adds to."
    ),
    "race": (
        "Two programs of one launch meet in {array}, at place {place}: one writes what the other writes or reads. The "
        "interpreter runs one after the other; on a GPU nobody knows which comes first. A place that is written is for "
        "one program alone: look at the blocks that each one takes, and at the mask of the store, or the condition "
        "above it."
    ),
    IN_PLACE: (
        "Your kernel writes into {array}, at place {place}. It is an input, and the caller still needs it: store "
        "through the pointer of a result."
    ),
}


# A faulty formula may divide by zero; that is its result, not a warning for the learner to read.
@np.errstate(all="ignore")
def judge(exercise: Exercise, probes: Sequence[Probe], attempts: Sequence[Attempt]) -> Result:
    """The verdict on ``attempts``, one for each of ``probes``, or fewer if one did not run.

    The order is: an attempt that did not run, a wrong shape, then the values, or what comes of them in a run, and where
    they are right, how often a function was called that others wait for. Values that disagree are compared with the
    exercise's reference under every compatible set of one or two faults, and under larger ones where several were given
    (:func:`~bncourse.exercises.faults.explain`).
    """
    expected: list[Outputs] = []
    for probe, one in zip(probes, attempts, strict=False):
        if one.outcome != "ran":
            return Result(one.outcome, one.message + _ran_elsewhere(probe, one, probes, attempts), (), exercise.id)
        expected.append(exercise.reference(CORRECT, probe.arguments))
        if problem := _shape_problem(exercise, probe, one, expected[-1]):
            return Result("wrong interface", problem, (), exercise.id)

    happened: list[str] = []
    returned = attempts
    if exercise.run is not None:
        happened = [exercise.run(one.outputs, probe) for probe, one in zip(probes, attempts, strict=True)]
        attempts = [
            one if fell_short else replace(one, outputs=right)
            for one, right, fell_short in zip(attempts, expected, happened, strict=True)
        ]
    tolerances = [_tolerance(exercise, one, probe) for probe, one in zip(probes, attempts, strict=True)]
    verdicts = [
        [values_agree(got, right, tolerance) for got, right in zip(one.outputs, rights, strict=True)]
        for one, rights, tolerance in zip(attempts, expected, tolerances, strict=True)
    ]
    correct = all(all(row) for row in verdicts)
    changed = sorted({name for one in attempts for name in one.changed})
    functions = [name for name in changed if isinstance(probes[0].arguments[name], NamedFunction)]
    changed = [name for name in changed if name not in functions]
    strays = _strays(probes, attempts)
    table = _table(exercise, probes, verdicts)
    if correct and not changed and not strays and functions:
        message = "\n".join(
            WRONG_CALLS.format(name=name, calls=CALLS[probes[0].arguments[name].name]) for name in functions
        )
        return Result("failed", message, tuple(f"calls_of_{name}" for name in functions), exercise.id, table)
    if correct and not changed and not strays:
        return Result("passed", exercise.passed_message, (), exercise.id, table)

    messages: list[str] = []
    named: FaultSet | None = CORRECT
    if not correct:
        # What a right answer may choose is read from what came back, not from the answer that it counts as.
        named = _explain(exercise, probes, returned if exercise.read_free else attempts, tolerances)
        if named:
            for kind in (kind for fault in exercise.faults if fault.id in named for kind in fault.strays):
                strays.pop(kind, None)
            if named == exercise.given_faults and not strays:
                said = AS_GIVEN.format(noun="kernel" if exercise.kernels else "function")
                return Result("not attempted", said, (), exercise.id, table)
        if named is None and exercise.run is not None:
            messages.append(UNKNOWN)
        elif named is None and not strays:
            messages.append(_first_failing_property(exercise, probes, attempts, expected, tolerances, verdicts))
        messages.extend(fault.message for fault in exercise.faults if fault.id in (named or CORRECT))
        messages.extend(f"{what} (probe: {probe.name})" for probe, what in zip(probes, happened, strict=False) if what)
    if changed:
        messages.append(_in_place_message(changed))
    messages.extend(strays.values())
    faults = [fault.id for fault in exercise.faults if fault.id in (named or CORRECT)]
    if changed:
        faults.append(IN_PLACE)
    faults.extend(strays)
    # A kernel that strays does so in several ways at once.
    mistakes = len(named or CORRECT) + bool(changed) + bool(strays)
    if mistakes > 1:
        messages.insert(0, f"{mistakes} mistakes together:")
    return Result("failed", "\n".join(messages), tuple(faults), exercise.id, table)


def _strays(probes: Sequence[Probe], attempts: Sequence[Attempt]) -> dict[str, str]:
    """The messages about what kernels did to memory: of each kind, about the first probe on which it happened."""
    messages = {}
    for kind, message in STRAYS.items():
        for probe, one in zip(probes, attempts, strict=True):
            stray = next((stray for stray in one.strays if stray.kind == kind), None)
            if stray is not None:
                said = message.format(**stray._asdict(), size=_size(probe, stray))
                messages[kind] = f"{said} (Probe: {probe.name}; {probe.shapes}.)"
                break
    return messages


def _size(probe: Probe, stray: Stray) -> int:
    return math.prod(probe.arguments[stray.array].shape)


def _tolerance(exercise: Exercise, one: Attempt, probe: Probe) -> float:
    """Relative tolerance for the narrowest dtype that the attempt returned, widened by the probe's conditioning."""
    narrowest = min((output.dtype for output in one.outputs), key=lambda dtype: dtype.itemsize)
    return _tolerance_of(exercise.tolerance, narrowest, probe)


def _tolerance_of(tolerance: Mapping[int, float], dtype: np.dtype, probe: Probe) -> float:
    return tolerance[min(dtype.itemsize, 8)] + 8 * float(np.finfo(dtype).eps) * probe.condition


def values_agree(got: np.ndarray, expected: np.ndarray, tolerance: float, nan: bool = False) -> bool:
    """Whether every value is within ``tolerance`` times the largest expected magnitude. NaN and infinity never are.

    With ``nan``, for the results of mistakes, NaN agrees with NaN: a number spoiled, or one that a kernel left out.
    """
    if got.shape != expected.shape:
        return False
    if nan and (both := np.isnan(got) & np.isnan(expected)).any():
        got, expected = np.where(both, 0, got), np.where(both, 0, expected)
    largest, error = (abs(values).max(initial=0.0) for values in (expected, got - expected))
    return bool(error <= tolerance * largest < np.inf)


def _explain(
    exercise: Exercise, probes: Sequence[Probe], attempts: Sequence[Attempt], tolerances: Sequence[float]
) -> FaultSet | None:
    """The mistakes that give these outputs on every probe that takes part in naming them, if there is one such set."""
    outputs = [one.outputs for one in attempts]
    # At the largest value that was returned, sets that agree differ by little more than the tolerance; most do not, and
    # this is seen much sooner than that all values agree.
    seen = [
        (
            probe,
            returned,
            [(got.shape, place := int(abs(got).argmax()), got.item(place)) for got in returned],
            tolerance,
        )
        for probe, returned, tolerance in zip(probes, outputs, tolerances, strict=True)
        if probe.diagnosed
    ]

    def matches(faults: FaultSet) -> bool:
        free = exercise.read_free(faults, probes, outputs) if exercise.read_free else {}
        for probe, returned, largest, tolerance in seen:
            faulty = exercise.reference(faults, {**probe.arguments, **free} if free else probe.arguments)
            for wrong, (shape, place, value) in zip(faulty, largest, strict=True):
                if shape == wrong.shape and abs(value - wrong.item(place)) > 2 * tolerance * abs(value):
                    return False
            if not all(
                values_agree(got, wrong, tolerance, nan=True) for got, wrong in zip(returned, faulty, strict=True)
            ):
                return False
        return True

    return explain(exercise.faults, exercise.coincidences, matches, exercise.given_faults or CORRECT)


def _shape_problem(exercise: Exercise, probe: Probe, one: Attempt, expected: Outputs) -> str:
    for name, got, right in zip(exercise.outputs, one.outputs, expected, strict=True):
        if got.shape != right.shape:
            return (
                f"{name} has shape {got.shape}, and shape {right.shape} is expected "
                f"(probe: {probe.name}; {probe.shapes})."
            )
    return ""


def _ran_elsewhere(probe: Probe, one: Attempt, probes: Sequence[Probe], attempts: Sequence[Attempt]) -> str:
    """Names the probes on which the function did run: often they show which axis, or which branch, is mixed up."""
    ran = [other.name for other, attempt in zip(probes, attempts, strict=False) if attempt.outcome == "ran"]
    if not ran or one.outcome == "not attempted":
        return ""
    # An error's message says already what the call was with.
    call = f"\nThe call was with {probe.shapes}." if one.outcome == "wrong interface" else ""
    return f"{call}\nIt did run on: {'; '.join(ran)}."


def _first_failing_property(
    exercise: Exercise,
    probes: Sequence[Probe],
    attempts: Sequence[Attempt],
    expected: Sequence[Outputs],
    tolerances: Sequence[float],
    verdicts: Sequence[Sequence[bool]],
) -> str:
    """The first property that is off on the first probe that fails, with the value expected and the value got."""
    wrong = [index for index, row in enumerate(verdicts) if not all(row)]
    index = wrong[0]
    probe, one, right = probes[index], attempts[index], expected[index]
    where = f"(probe: {probe.name}; {probe.shapes})"
    lines = [
        f"{UNKNOWN} The first thing that is off:",
        f"{_off(exercise, probe, one, right, tolerances[index])} {where}.",
    ]
    meanings = {probes[index].alone: probes[index].name for index in wrong}
    if set(meanings) == {probe.alone} - {""}:
        lines.append(f"All other probes agree. {probe.alone}")
    elif "" not in meanings:
        lines.append("All other probes agree. As to those that do not:")
        lines.extend(f"{name}: {meaning}" for meaning, name in meanings.items())
    elif _agrees_in_float32(probes, attempts, expected):
        lines.append(exercise.nearly)
    return "\n".join(lines)


def _off(exercise: Exercise, probe: Probe, one: Attempt, right: Outputs, tolerance: float) -> str:
    for name, got in zip(exercise.outputs, one.outputs, strict=True):
        if bad := int((~np.isfinite(got)).sum()):
            return f"{name} holds NaN or infinity in {bad} of its {got.size} values"
    for prop in exercise.properties:
        place = exercise.outputs.index(prop.output)
        got, expected = (prop.value(outputs[place], probe.arguments) for outputs in (one.outputs, right))
        # A summary is shown where it is visibly off: its rounding errors are not what a learner should look at.
        visible = tolerance if prop.name == prop.output else max(tolerance, VISIBLE)
        scale = max(float(abs(values).max(initial=0.0)) for values in (right[place], expected))
        error = abs(got - expected)
        if (error > visible * scale).any():
            worst = np.unravel_index(int(error.argmax()), error.shape)
            shown = (float(value[worst]) for value in (expected, got))
            nothing = max(ROUNDING, ROUNDING_OF_TOLERANCE * tolerance) * scale
            wanted, found = _distinct(*(0.0 if abs(value) < nothing else value for value in shown))
            return f"{prop.name}{prop.locate(worst)} should be {wanted}, got {found}"
    raise AssertionError("the last property of an exercise is its outputs themselves")


def _agrees_in_float32(probes: Sequence[Probe], attempts: Sequence[Attempt], expected: Sequence[Outputs]) -> bool:
    single = np.dtype(np.float32)
    return all(
        values_agree(got, right, _tolerance_of(RELATIVE_TOLERANCE, single, probe))
        for probe, one, rights in zip(probes, attempts, expected, strict=True)
        for got, right in zip(one.outputs, rights, strict=True)
    )


def _in_place_message(changed: Sequence[str]) -> str:
    names, one = " and ".join(changed), changed[0]
    return (
        f"Your function modifies its input in place: {names} holds other values after the call. The caller still "
        f"needs them. `{one} -= ...` and `{one}[...] = ...` write into the caller's array, and so does writing into a "
        f"view of it: write `{one} = {one} - ...`, or work on `{one}.copy()`."
    )


def _table(exercise: Exercise, probes: Sequence[Probe], verdicts: Sequence[Sequence[bool]]) -> Table:
    header = ("probe", "shapes", *exercise.outputs)
    good, bad = ("agrees", "differs") if exercise.run is None else ("works", "fails")
    rows = tuple(
        (probe.name, probe.shapes, *(good if right else bad for right in row))
        for probe, row in zip(probes, verdicts, strict=True)
    )
    return Table(header, rows)


def _distinct(first: float, second: float) -> tuple[str, str]:
    """Both numbers with as many digits as it takes to see that they differ, four at least."""
    for digits in range(4, 17):
        texts = f"{first:.{digits}g}", f"{second:.{digits}g}"
        if texts[0] != texts[1]:
            return texts
    return repr(first), repr(second)
