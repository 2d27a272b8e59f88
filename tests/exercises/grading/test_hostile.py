"""No attack earns credit, outlasts its time, or harms what comes after it."""

import time
from pathlib import Path

import pytest

from bncourse.exercises import bn_forward, list_exercises
from bncourse.exercises.grading import report
from bncourse.exercises.grading.submission import grade
from tests.exercises.grading.hostile import CHECK, HOSTILE
from tests.exercises.grading.notebooks import completed, notebook, solution

pytestmark = pytest.mark.slow


def run(sandbox, cells, exercises=(bn_forward,)):
    return grade("submission.ipynb", notebook(*cells), exercises, sandbox)


@pytest.mark.parametrize("attack", HOSTILE)
def test_it_earns_nothing_and_the_next_submission_is_graded(attack, sandbox):
    start = time.monotonic()
    (result,) = run(sandbox, HOSTILE[attack]).results
    spent = time.monotonic() - start
    assert result.outcome != "passed", f"{attack}: {result.message}"
    # Starting and ending it takes a while where other tests run beside this one.
    assert spent < 2 * sandbox.seconds, "it cost more than its time limit"
    (next_result,) = run(sandbox, [solution(bn_forward), CHECK]).results
    assert next_result.outcome == "passed", next_result.message


@pytest.mark.filterwarnings("ignore::FutureWarning")  # one of them looks at every object of every library
def test_each_attack_would_succeed_if_its_way_were_open():
    """Catches an attack that is wrong in itself: outside of the sandbox, those that look for the answer find it."""
    import contextlib
    import io

    for attack in (
        "the package's own function",
        "the solution through inspect",
        "the solution through the garbage collector",
        "the solution through the modules",
        "the solution through the file system",
    ):
        namespace = {}
        with contextlib.redirect_stdout(io.StringIO()):
            for cell in HOSTILE[attack][:-1]:
                exec(cell, namespace)
        function = namespace[bn_forward.solution_function.__name__]
        assert bn_forward.verdict(function, probes()).outcome == "passed", attack


def probes():
    import numpy as np

    return bn_forward.make_probes(np.random.default_rng(0))


def test_a_pickle_is_never_opened(sandbox):
    marker = Path("/tmp/bncourse-pickle-was-executed")
    marker.unlink(missing_ok=True)
    grade_of = run(sandbox, HOSTILE["forged answer of objects"])
    assert not marker.exists()
    assert "interfered with the grader" in grade_of.problem


def test_the_time_of_one_exercise_is_not_the_time_of_the_others(sandbox):
    """Catches a grader in which an endless loop in the first exercise costs the points of all that follow."""
    exercises = [exercise for exercise in list_exercises() if not exercise.kernels]
    cells = [*HOSTILE["endless loop in the function"], *completed(*exercises[1:])]
    outcomes = [result.outcome for result in run(sandbox, cells, exercises).results]
    assert outcomes == ["error", *["passed"] * (len(exercises) - 1)]


def test_what_was_answered_before_the_limit_counts(sandbox):
    exercises = [exercise for exercise in list_exercises() if not exercise.kernels]
    last = exercises[-1]
    name = last.solution_function.__name__
    stuck = f"import signal\ndef {name}(*args, **kwargs):\n    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
    cells = [*completed(*exercises[:-1]), stuck + "    while True: pass"]
    results = run(sandbox, cells, exercises).results
    assert [result.outcome for result in results] == [*["passed"] * (len(exercises) - 1), "error"]
    assert "stopped after 3 seconds" in results[-1].message


def test_the_limit_ends_what_nothing_else_ends(sandbox):
    (result,) = run(sandbox, HOSTILE["endless loop that swallows its alarm"]).results
    assert f"stopped after {sandbox.seconds:g} seconds" in result.message


def test_feedback_holds_no_markup_and_no_terminal_codes(sandbox):
    given = run(sandbox, HOSTILE["markup and terminal codes"])
    page = report.as_page(given).decode()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    for text in (page, report.as_csv([given], [bn_forward]).decode(), report.as_json([given], {}).decode()):
        assert "\x1b" not in text
        assert "\u202e" not in text
