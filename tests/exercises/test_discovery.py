"""Exercises are found by their file, imported by their id, and cost little until they are used."""

import subprocess
import sys
from pathlib import Path

import pytest

import bncourse.exercises
from bncourse.exercises import Exercise, list_exercises
from bncourse.exercises.faults import Coincidence, Fault, compatible_sets, explain
from bncourse.exercises.judge import IN_PLACE

ROOT = Path(__file__).parents[2]


def test_every_file_is_an_exercise_of_its_name():
    names = {path.stem for path in (ROOT / "bncourse/exercises/tasks").glob("*.py")} - {"__init__"}
    exercises = list_exercises()
    assert {exercise.id for exercise in exercises} == names
    assert [exercise.chapter for exercise in exercises] == sorted(exercise.chapter for exercise in exercises)
    for exercise in exercises:
        assert isinstance(exercise, Exercise)
        assert getattr(bncourse.exercises, exercise.id) is exercise
        assert exercise.id in dir(bncourse.exercises)


def test_no_exercise_is_called_as_a_function_that_it_asks_for():
    """Catches a page whose check cell imports the exercise over the learner's function of that name."""
    for exercise in list_exercises():
        assert exercise.id not in exercise.function_names


def test_an_unknown_exercise_is_an_ordinary_import_error():
    with pytest.raises(ImportError, match="cannot import name 'no_such_exercise'"):
        from bncourse.exercises import no_such_exercise  # noqa: F401


def test_fault_ids_are_unique_and_their_messages_say_what_to_do():
    for exercise in list_exercises():
        ids = [fault.id for fault in exercise.faults]
        assert len(ids) == len(set(ids))
        assert IN_PLACE not in ids
        for fault in exercise.faults:
            assert fault.slots
            assert fault.message.endswith((".", ")."))
            assert len(fault.message) > 30


def test_importing_the_exercises_is_light():
    """Catches an import of torch or of a plotting library at the top of the exercises, and a slow import.

    The measure is the time in which NumPy itself is imported: exercises take twice that.
    """
    code = """
import sys, time
times = [time.process_time()]
import numpy
times.append(time.process_time())
import bncourse.exercises
bncourse.exercises.list_exercises()
times.append(time.process_time())
print(times[1] - times[0], times[2] - times[1])
print([name for name in ("torch", "triton", "matplotlib", "rich", "pandas", "IPython", "typer") if name in sys.modules])
"""
    times = []
    for _ in range(3):
        run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
        seconds, loaded = run.stdout.splitlines()
        assert loaded == "[]"
        times.append([float(part) for part in seconds.split()])
    numpy, exercises = (min(column) for column in zip(*times, strict=True))
    assert exercises < 4 * numpy


def test_a_check_answers_at_once():
    """The slowest answer is to a mistake that no set of faults explains: every set is tried."""
    import time

    exercise = bncourse.exercises.bn_backward
    start = time.process_time()
    result = exercise.check(lambda dy, x, gamma, eps: (1.5 * dy, gamma, gamma))
    assert (result.outcome, result.faults) == ("failed", ())
    assert time.process_time() - start < 1.0


A, B, C, D = (Fault(name, f"{name} is wrong", (slot,)) for name, slot in zip("abcd", "ppqr", strict=True))


def test_faults_of_one_slot_are_not_combined():
    assert set(compatible_sets((A, B, C), 2)) == {frozenset("ac"), frozenset("bc")}
    assert set(compatible_sets((A, B, C), 1)) == {frozenset("a"), frozenset("b"), frozenset("c")}


@pytest.mark.parametrize(
    ("matching", "expected"),
    [
        (["a"], "a"),
        (["a", "bc"], "a"),
        (["ac"], "ac"),
        ([], None),
        (["a", "b"], None),
        (["ac", "bc"], None),
        (["a", "b", "cd"], None),
        (["ad", "bd"], "ad"),
    ],
)
def test_the_smallest_set_is_named_only_where_it_is_the_only_one(matching, expected):
    sets = {frozenset(letters) for letters in matching}
    coincidences = [Coincidence(frozenset("ad"), frozenset("bd"), "by construction")]
    found = explain((A, B, C, D), coincidences, lambda chosen: chosen in sets)
    assert found == (None if expected is None else frozenset(expected))
