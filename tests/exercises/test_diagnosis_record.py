"""The recorded confusion matrix is of the exercises as they are, and shows no wrong function accepted."""

import sys
from pathlib import Path

import pytest

from bncourse import results
from bncourse.exercises import list_exercises
from bncourse.exercises.faults import compatible_sets

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from diagnose import BANKS, COMMAND, EQUIVALENT, fingerprint

RECORD = results.load("diagnosis")
EXERCISES = list_exercises()


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_the_record_is_of_the_present_exercise(exercise):
    """Catches a solution or a fault that changed after the run: make the record again with its command."""
    assert RECORD.outcome["solutions"].get(exercise.id) == fingerprint(exercise), COMMAND


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_no_wrong_function_was_accepted_and_every_known_one_was_named(exercise):
    matrix = RECORD.outcome["matrices"][exercise.id]
    assert set(matrix) == set(BANKS)
    assert all(row["accepted"] == 0 for row in matrix.values())
    for size, bank in ((1, "single faults"), (2, "pairs of faults")):
        sets = sum(1 for _ in compatible_sets(exercise.faults, size))
        assert matrix[bank]["named"] == sum(matrix[bank].values()) == sets
    # Where a run decides, the solution may be three lines long; all answers that there are, test_placement.py tries.
    assert sum(matrix["mutants"].values()) > (50 if exercise.run is None else 5)


def test_every_mutant_that_passes_has_its_reason():
    assert RECORD.outcome["equivalent"] == EQUIVALENT
    for exercise in EXERCISES:
        survivors = RECORD.outcome["matrices"][exercise.id]["mutants"]["equivalent"]
        assert survivors == len(EQUIVALENT.get(exercise.id, {}))
