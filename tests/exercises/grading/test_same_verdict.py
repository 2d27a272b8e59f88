"""What a function earns in the notebook it earns in the sandbox too, with the same words."""

import inspect
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bncourse.exercises.grading.submission import grade
from tests.exercises.bank import EXERCISES, name_of
from tests.exercises.grading.notebooks import check, mistaken, notebook
from tests.exercises.test_alternatives import ALTERNATIVES
from tests.exercises.test_mistakes import BANK

pytestmark = pytest.mark.slow


def has_a_text(function):
    """Whether the function stands under its own name in its module, or in a text of its own: a notebook's cells."""
    in_its_module = getattr(inspect.getmodule(function), function.__name__, None) is function
    return in_its_module or function.__code__.co_filename.startswith("<cell ")


def learners(exercise):
    bank = BANK[exercise.id]
    functions = [
        *ALTERNATIVES[exercise.id],
        *bank.SINGLES.values(),
        *(function for function, _ in bank.IN_PLACE),
        *bank.UNNAMED,
    ]
    return [function for function in functions if exercise.kernels or has_a_text(function)]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_every_function_of_the_banks_gets_the_verdict_that_it_gets_in_a_notebook(exercise, patient_sandbox):
    functions = learners(exercise)
    assert len(functions) >= 15

    def graded(function):
        return grade(name_of(function), notebook(*mistaken(exercise, function)), [exercise], patient_sandbox)

    with ThreadPoolExecutor(4) as pool:
        grades = list(pool.map(graded, functions))
    for function, given in zip(functions, grades, strict=True):
        with np.errstate(all="ignore"):
            here = exercise.verdict(function, exercise.make_probes(np.random.default_rng(given.seed)))
        (there,) = given.results
        assert (there.outcome, there.faults) == (here.outcome, here.faults), name_of(function)
        if here.outcome != "error":
            assert there.message == here.message, name_of(function)
        assert there.table == here.table


def test_exceptions_name_the_line_of_the_cell(sandbox):
    exercise = EXERCISES[0]
    cell = "import numpy as np\n\ndef batch_norm_forward(x, gamma, beta, eps):\n    return x @ x"
    (result,) = grade("s", notebook(cell, check(exercise)), [exercise], sandbox).results
    assert result.outcome == "error"
    assert "It happened on line 4: `return x @ x`" in result.message
