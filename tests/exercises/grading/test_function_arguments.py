"""A function crosses into the sandbox as a name and numbers: the same function there, and no answer with it."""

import json
import time

import numpy as np
import pytest

from bncourse.exercises import gradient_check, merge_ranks
from bncourse.exercises.functions import NamedFunction
from bncourse.exercises.grading import child, submission, wire
from bncourse.exercises.grading.submission import encode, grade
from tests.exercises.grading.hostile import THROUGH_A_FUNCTION
from tests.exercises.grading.notebooks import check, notebook, solution

pytestmark = pytest.mark.slow

NAME, CHECK = gradient_check.solution_function.__name__, check(gradient_check)
# Outside of the sandbox, where there is something to find, these find it.
OPEN_OUTSIDE = ("the package's own function", "the solution through the modules")


def probes(seed=0):
    return gradient_check.make_probes(np.random.default_rng(seed))


@pytest.mark.parametrize("attack", THROUGH_A_FUNCTION)
def test_it_earns_nothing_and_the_next_submission_is_graded(attack, sandbox):
    start = time.monotonic()
    (result,) = grade("s", notebook(*THROUGH_A_FUNCTION[attack]), [gradient_check], sandbox).results
    spent = time.monotonic() - start
    assert result.outcome != "passed", f"{attack}: {result.message}"
    assert spent < sandbox.seconds + 1, "it cost more than its time limit"
    (next_result,) = grade("s", notebook(solution(gradient_check), CHECK), [gradient_check], sandbox).results
    assert next_result.outcome == "passed", next_result.message


@pytest.mark.parametrize("attack", OPEN_OUTSIDE)
def test_the_attack_would_succeed_if_its_way_were_open(attack):
    namespace = {}
    for cell in THROUGH_A_FUNCTION[attack][:-1]:
        exec(cell, namespace)
    assert gradient_check.verdict(namespace[NAME], probes()).outcome == "passed"


def test_the_search_through_the_garbage_collector_finds_an_answer_that_lies_about():
    namespace = {}
    exec(THROUGH_A_FUNCTION["the answers through the garbage collector"][0], namespace)
    function, x, dy = probes()[0].fresh().values()
    assert not namespace[NAME](function, x, dy).any()
    held = [*gradient_check.reference(frozenset(), {"function": function, "x": x, "dy": dy})]
    np.testing.assert_array_equal(namespace[NAME](function, x, dy), held[0])


def test_the_function_on_the_other_side_is_the_same():
    for probe in probes():
        arrays = {}
        document = json.loads(json.dumps(encode(probe.arguments["function"], arrays)))
        there = child._value(document, arrays)
        assert isinstance(there, NamedFunction)
        x = probe.arguments["x"]
        np.testing.assert_array_equal(there(x.copy()), probe.arguments["function"](x.copy()))


def test_what_travels_holds_no_gradient():
    """Catches an argument, or a setting of a function, from which the answer can be read off."""

    class NoSandbox:
        seconds, memory = 1.0, 1

    drawn = {gradient_check.id: probes()}
    message = wire.unpack(submission._job(b"{}", [gradient_check], drawn, NoSandbox()))
    for probe in drawn[gradient_check.id]:
        (expected,) = gradient_check.reference(frozenset(), probe.arguments)
        for array in message.arrays.values():
            if array.size == expected.size:
                ratio = array.ravel() / expected.ravel()
                same = probe.name == "returns a view" and np.allclose(np.sort(array.ravel()), np.sort(expected.ravel()))
                assert same or np.ptp(ratio) > 1e-3 * abs(ratio).max()
    (document,) = message.document["exercises"]
    kinds = {tuple(value) for probe in document["probes"] for _, value in probe["arguments"]}
    assert kinds == {("array",), ("function", "settings")}


def test_a_mask_arrives_as_a_mask():
    """Catches truth values that arrive as numbers, with which an array is indexed and not filtered."""
    arrays = {}
    document = json.loads(json.dumps(encode(np.array([[True, False], [False, True]]), arrays)))
    assert {array.dtype.kind for array in arrays.values()} == {"u"}
    there = child._value(document, arrays)
    assert there.dtype == bool
    np.testing.assert_array_equal(there, [[True, False], [False, True]])


@pytest.mark.parametrize("value", [lambda x: x, np.tanh, {}, [1.0]])
def test_any_other_function_is_refused(value):
    """Catches an encoding that would pickle code, or drop it."""
    with pytest.raises(TypeError, match="tuple, iterator or named function, got"):
        encode(value, {})


def test_calls_are_counted_in_the_sandbox_too(sandbox):
    """Catches a count that stays on the learner's side of the wall."""
    again = [
        solution(merge_ranks),
        """right = synchronized_step


def synchronized_step(dy, x, gamma, all_gather, eps):
    returned = right(dy, x, gamma, all_gather, eps)
    all_gather(np.concatenate(returned[-2:]))
    return returned
""",
        check(merge_ranks),
    ]
    (result,) = grade("s", notebook(*again), [merge_ranks], sandbox).results
    assert (result.outcome, result.faults) == ("failed", ("calls_of_all_gather",)), result.message
