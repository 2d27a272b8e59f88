"""Turns attempts into a verdict: agreement within tolerance, a named mistake, or the first property that fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bncourse.exercises.attempt import Attempt
from bncourse.exercises.faults import FaultSet, explain
from bncourse.exercises.probe import Probe
from bncourse.exercises.result import Result, Table

if TYPE_CHECKING:
    from bncourse.exercises.exercise import Exercise

CORRECT: FaultSet = frozenset()
IN_PLACE = "in_place"
RELATIVE_TOLERANCE = {4: 1e-3, 8: 1e-7}
VISIBLE = 1e-3
Outputs = tuple[np.ndarray, ...]


def judge(exercise: Exercise, probes: Sequence[Probe], attempts: Sequence[Attempt]) -> Result:
    """The verdict on ``attempts``, one for each of ``probes``, or fewer if one did not run.

    The order is: an attempt that did not run, a wrong shape, then the values. Values that disagree are compared with
    the exercise's reference under every compatible set of one or two faults.
    """
    for probe, one in zip(probes, attempts, strict=False):
        if one.outcome != "ran":
            return Result(one.outcome, one.message + _ran_elsewhere(one, probes, attempts), (), exercise.id)
        if problem := _shape_problem(exercise, probe, one):
            return Result("wrong interface", problem, (), exercise.id)

    expected = [_reference(exercise, CORRECT, probe) for probe in probes]
    verdicts = [
        [_agrees(got, right, _tolerance(one, probe)) for got, right in zip(one.outputs, rights, strict=True)]
        for probe, one, rights in zip(probes, attempts, expected, strict=True)
    ]
    correct = all(all(row) for row in verdicts)
    changed = sorted({name for one in attempts for name in one.changed})
    table = _table(exercise, probes, verdicts)
    if correct and not changed:
        return Result("passed", exercise.passed_message, (), exercise.id, table)

    messages: list[str] = []
    named: FaultSet | None = CORRECT
    if not correct:
        named = explain(
            exercise.faults, exercise.coincidences, lambda chosen: _matches(exercise, chosen, probes, attempts)
        )
        if named is None:
            messages.append(_first_failing_property(exercise, probes, attempts, expected, verdicts))
        else:
            messages.extend(fault.message for fault in exercise.faults if fault.id in named)
    if changed:
        messages.append(_in_place_message(changed))
    faults = [fault.id for fault in exercise.faults if fault.id in (named or CORRECT)]
    if changed:
        faults.append(IN_PLACE)
    if len(faults) > 1:
        messages.insert(0, f"{len(faults)} mistakes together:")
    return Result("failed", "\n".join(messages), tuple(faults), exercise.id, table)


def _reference(exercise: Exercise, faults: FaultSet, probe: Probe) -> Outputs:
    # A faulty formula may divide by zero; that is its result, not a warning for the learner to read.
    with np.errstate(all="ignore"):
        return exercise.reference(faults, probe.arguments)


def _tolerance(one: Attempt, probe: Probe) -> float:
    """Relative tolerance for the narrowest dtype that the attempt returned, widened by the probe's conditioning."""
    narrowest = min((output.dtype for output in one.outputs), key=lambda dtype: dtype.itemsize)
    return _tolerance_of(narrowest, probe)


def _tolerance_of(dtype: np.dtype, probe: Probe) -> float:
    return RELATIVE_TOLERANCE[min(dtype.itemsize, 8)] + 8 * float(np.finfo(dtype).eps) * probe.condition


def _agrees(got: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    """Whether every value is within ``tolerance`` times the largest expected magnitude. NaN and infinity never are."""
    if got.shape != expected.shape:
        return False
    with np.errstate(all="ignore"):
        return bool((abs(got - expected) <= tolerance * abs(expected).max()).all())


def _matches(exercise: Exercise, faults: FaultSet, probes: Sequence[Probe], attempts: Sequence[Attempt]) -> bool:
    for probe, one in zip(probes, attempts, strict=True):
        if not probe.diagnosed:
            continue
        tolerance = _tolerance(one, probe)
        faulty = _reference(exercise, faults, probe)
        if not all(_agrees(got, wrong, tolerance) for got, wrong in zip(one.outputs, faulty, strict=True)):
            return False
    return True


def _shape_problem(exercise: Exercise, probe: Probe, one: Attempt) -> str:
    expected = _reference(exercise, CORRECT, probe)
    for name, got, right in zip(exercise.outputs, one.outputs, expected, strict=True):
        if got.shape != right.shape:
            return (
                f"{name} has shape {got.shape}, and shape {right.shape} is expected "
                f"(probe: {probe.name}; {probe.shapes})."
            )
    return ""


def _ran_elsewhere(one: Attempt, probes: Sequence[Probe], attempts: Sequence[Attempt]) -> str:
    """Names the probes on which a function that raised an error did run: often they show which axis is mixed up."""
    ran = [probe.name for probe, other in zip(probes, attempts, strict=False) if other.outcome == "ran"]
    return f"\nIt did run on: {'; '.join(ran)}." if one.outcome == "error" and ran else ""


def _first_failing_property(
    exercise: Exercise,
    probes: Sequence[Probe],
    attempts: Sequence[Attempt],
    expected: Sequence[Outputs],
    verdicts: Sequence[Sequence[bool]],
) -> str:
    """The first property that is off on the first probe that fails, with the value expected and the value got."""
    wrong = [index for index, row in enumerate(verdicts) if not all(row)]
    index = wrong[0]
    probe, one, right = probes[index], attempts[index], expected[index]
    where = f"(probe: {probe.name}; {probe.shapes})"
    lines = [
        "The mistake is not one that this check knows by name. The first thing that is off:",
        f"{_off(exercise, probe, one, right)} {where}.",
    ]
    if probe.alone and {probes[index].alone for index in wrong} == {probe.alone}:
        lines.append(f"All other probes agree. {probe.alone}")
    elif _agrees_in_float32(probes, attempts, expected):
        lines.append(
            "The values agree to the precision of float32, yet they come as float64: something is computed in "
            "float32 on the way. Compute in float64, or return float32."
        )
    return "\n".join(lines)


def _off(exercise: Exercise, probe: Probe, one: Attempt, right: Outputs) -> str:
    for name, got in zip(exercise.outputs, one.outputs, strict=True):
        if bad := int((~np.isfinite(got)).sum()):
            return f"{name} holds NaN or infinity in {bad} of its {got.size} values"
    tolerance = _tolerance(one, probe)
    for prop in exercise.properties:
        place = exercise.outputs.index(prop.output)
        got, expected = (prop.value(outputs[place], probe.arguments) for outputs in (one.outputs, right))
        # A summary is shown where it is visibly off: its rounding errors are not what a learner should look at.
        visible = tolerance if prop.name == prop.output else max(tolerance, VISIBLE)
        allowed = visible * max(float(abs(right[place]).max()), float(abs(expected).max()))
        error = abs(got - expected)
        if (error > allowed).any():
            worst = np.unravel_index(int(error.argmax()), error.shape)
            wanted, found = _distinct(float(expected[worst]), float(got[worst]))
            return f"{prop.name}{prop.locate(worst)} should be {wanted}, got {found}"
    raise AssertionError("the last property of an exercise is its outputs themselves")


def _agrees_in_float32(probes: Sequence[Probe], attempts: Sequence[Attempt], expected: Sequence[Outputs]) -> bool:
    single = np.dtype(np.float32)
    return all(
        _agrees(got, right, _tolerance_of(single, probe))
        for probe, one, rights in zip(probes, attempts, expected, strict=True)
        for got, right in zip(one.outputs, rights, strict=True)
    )


def _in_place_message(changed: Sequence[str]) -> str:
    names = " and ".join(changed)
    return (
        f"Your function modifies its input in place: {names} holds other values after the call. The caller still "
        "needs them. Write `x = x - mean` for `x -= mean`, or work on a copy."
    )


def _table(exercise: Exercise, probes: Sequence[Probe], verdicts: Sequence[Sequence[bool]]) -> Table:
    header = ("probe", "shapes", *exercise.outputs)
    rows = tuple(
        (probe.name, probe.shapes, *("agrees" if right else "differs" for right in row))
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
