"""The benchmark of the graders measures what it says, and its record meets the course's own bar."""

import sys

import pytest

from bncourse import results
from bncourse.exercises import list_exercises

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the grader needs Linux")


def test_every_kind_is_handed_in_and_no_two_files_are_the_same(tmp_path):
    from benchmarks.grading import COUNTS, hand_in, without_kernels

    assert sum(COUNTS.values()) == 200
    assert hand_in(tmp_path / "class", COUNTS, without_kernels()) == 200
    contents = {path.read_bytes() for path in (tmp_path / "class").iterdir()}
    assert len(contents) == 200


def test_the_record_meets_the_bar():
    """The class at the pace at which Python itself starts, a hostile one within its limit, a check in under a second.

    Machines differ in how fast they start a process, which is most of what a submission costs: so the pace is asked for
    in units of the time that Python with NumPy took to start in the same run.
    """
    record = results.load("grading")
    assert record.settings["workers"] <= 4
    pace = record.outcome["batch"]["without hostile ones"]["submissions a second"]
    assert pace * record.outcome["import"]["numpy"] >= 0.75
    assert max(record.outcome["batch"]["all"]["longest"].values()) <= record.settings["time limit"] + 0.5
    assert set(record.outcome["check"]) == {exercise.id for exercise in list_exercises()}
    assert max(max(times.values()) for times in record.outcome["check"].values()) < 1
    assert record.outcome["import"]["all exercises"] - record.outcome["import"]["numpy"] < 0.3
