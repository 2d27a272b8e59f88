"""Kernels in the sandbox: defined in a cell, launched in the child, judged by the parent."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

if sys.platform != "linux":
    pytest.skip("the grader needs Linux", allow_module_level=True)

from bncourse.exercises import inference_kernel, missing_mask
from bncourse.exercises.exercise import Property
from bncourse.exercises.grading import child, gradescope, submission, wire
from bncourse.exercises.grading.sandbox import open_sandbox
from bncourse.exercises.grading.submission import encode, grade
from bncourse.exercises.probe import Empty, Launch, Probe, Stray
from bncourse.exercises.source import KERNEL_HEADER
from tests.exercises.bank import solved
from tests.exercises.grading.conftest import opened
from tests.exercises.grading.notebooks import check, completed, notebook, solution, starter


@pytest.fixture(scope="module")
def sandbox():
    with opened(10.0) as sandbox:
        yield sandbox


def outcomes(sandbox, *cells, exercises=(inference_kernel,)):
    given = grade("s", notebook(*cells), exercises, sandbox)
    assert not given.problem, given.problem
    return [result.outcome for result in given.results]


def test_whatever_the_notebook_says_of_the_interpreter(sandbox):
    """Catches a grade that depends on whether the learner handed in the page's first cell."""
    assert outcomes(sandbox, *completed(inference_kernel)) == ["passed"]
    assert outcomes(sandbox, solution(inference_kernel)) == ["passed"]
    switched_on = "import os\nos.environ['TRITON_INTERPRET'] = '1'"
    assert outcomes(sandbox, switched_on, *completed(inference_kernel)) == ["passed"]
    switched_off = switched_on.replace("'1'", "'0'")
    assert outcomes(sandbox, switched_off, *completed(inference_kernel)) == ["error"]


def test_a_kernel_may_call_one_of_another_cell_and_torch_may_be_there(sandbox):
    helper = KERNEL_HEADER + "@triton.jit\ndef twice(values):\n    return 2 * values"
    text = solution(inference_kernel).replace("(x - mean) * inv_std", "twice(x - mean) * inv_std / 2")
    assert "twice" in text
    cells = ["import torch\ntorch.set_num_threads(1)", helper, text, check(inference_kernel)]
    pytest.importorskip("torch")
    assert outcomes(sandbox, *cells) == ["passed"]


def test_one_that_does_not_end_costs_its_own_mark_alone(sandbox):
    with opened(4.0) as short:
        endless = solution(inference_kernel).replace("row = tl.program_id(0)", "row = 0\n    while row == 0: pass")
        cells = [endless, check(inference_kernel), *completed(missing_mask)]
        found = outcomes(short, *cells, exercises=(inference_kernel, missing_mask))
    assert found == ["error", "passed"]


def test_a_mistake_in_a_cell_is_told_with_its_line(sandbox):
    broken = solution(missing_mask).replace("var = m2 / N", "var = m2 / n_samples")
    (result,) = grade("s", notebook(broken), [missing_mask], sandbox).results
    assert result.outcome == "error"
    assert "NameError" in result.message
    assert "`var = m2 / n_samples`" in result.message


def test_the_memory_of_another_platforms_container_is_enough():
    with opened(10.0):
        pass
    with open_sandbox(10.0, [], memory=gradescope.KERNEL_MEMORY) as sandbox:
        assert outcomes(sandbox, *completed(inference_kernel)) == ["passed"]


def sums_kernel(x_pointer, partial_pointer, N, BLOCK: tl.constexpr):
    """The sum of each block, as it is.

    It is launched on a grid of as many programs as there are blocks.
    """
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    part = tl.sum(tl.load(x_pointer + lane, mask=lane < N, other=0.0))
    tl.store(partial_pointer + tl.program_id(0), part)


def total_kernel(partial_pointer, y_pointer, PARTS, LANES: tl.constexpr):
    """The sum of all parts, by one program."""
    part = tl.arange(0, LANES)
    tl.store(y_pointer, tl.sum(tl.load(partial_pointer + part, mask=part < PARTS, other=0.0)))


def two_kernels():
    """An exercise with a launch for each of two kernels, and room for parts between them."""

    def make_probes(rng):
        x = rng.uniform(1, 2, 21).astype(np.float32)
        arguments = {"x": x, "partial": Empty((6,)), "y": Empty((1,)), "N": 21, "BLOCK": 4, "PARTS": 6, "LANES": 8}
        launches = (
            Launch((6,), ("x", "partial", "N", "BLOCK")),
            Launch((1,), ("partial", "y", "PARTS", "LANES"), kernel=1),
        )
        return [Probe("some numbers", arguments, launches=launches)]

    return replace(
        missing_mask,
        solution_function=sums_kernel,
        further_functions=(total_kernel,),
        given_function=None,
        given_faults=None,
        outputs=("y",),
        reference=lambda faults, arguments: (arguments["x"].sum(dtype=np.float64, keepdims=True),),
        faults=(),
        make_probes=make_probes,
        properties=(Property("y", "y", lambda y, arguments: y),),
    )


def test_several_kernels_are_handed_in_together(sandbox):
    exercise = two_kernels()
    cells = completed(exercise)
    assert cells[1].endswith("missing_mask.check(sums_kernel, total_kernel);")
    assert exercise.check(*solved(exercise)).outcome == "passed"
    assert outcomes(sandbox, *cells, exercises=[exercise]) == ["passed"]
    assert outcomes(sandbox, solution(exercise), exercises=[exercise]) == ["passed"]
    assert outcomes(sandbox, starter(exercise), exercises=[exercise]) == ["not attempted"]
    assert outcomes(sandbox, cells[0], cells[1].replace(", total_kernel", ""), exercises=[exercise]) == [
        "wrong interface"
    ]
    unmasked = cells[0].replace("part < PARTS", "part < LANES")
    (result,) = grade("s", notebook(unmasked), [exercise], sandbox).results
    assert result.faults == ("read_outside",)
    assert "reads outside of partial: 6 values are there, and it reads place 6" in result.message
    crowded = cells[0].replace("program_id(0), part", "program_id(0) // 2, part")
    (result,) = grade("s", notebook(crowded), [exercise], sandbox).results
    assert set(result.faults) == {"race", "read_unwritten"}


def test_launches_and_memory_cross_as_they_are():
    arguments = {"x": np.arange(6.0).reshape(2, 3), "y": Empty((2, 3), "float16"), "N": 2, "eps": 1e-5}
    launches = (Launch((2, 1)), Launch((3,), ("y", "x"), 1))
    exercise = replace(inference_kernel, outputs=("y",))

    class NoSandbox:
        seconds, memory = 1.0, 1

    probe = Probe("a", arguments, launches=launches)
    message = wire.unpack(submission._job(b"{}", [exercise], {exercise.id: [probe]}, NoSandbox()))
    there = child._probe(message.document["exercises"][0]["probes"][0], message.arrays)
    assert there.launches == launches
    assert there.arguments["y"] == arguments["y"]
    np.testing.assert_array_equal(there.arguments["x"], arguments["x"])
    assert encode(arguments["y"], {}) == {"empty": (2, 3), "dtype": "float16"}


@pytest.mark.parametrize(
    "forged",
    [
        [],
        "left_out",
        {"kind": "race"},
        ["passed", "y", 1, 0],
        ["race", "N", 1, 0],
        ["race", "nothing", 1, 0],
        ["race", ["y"], 1, 0],
        ["race", "y", 1.5, 0],
        ["race", "y", 1, "<script>"],
        [["race"], "y", 1, 0],
    ],
)
def test_a_forged_report_on_memory_is_refused(forged):
    probe = inference_kernel.make_probes(np.random.default_rng(0))[0]
    with pytest.raises(wire.WireError, match="report on memory"):
        submission._stray(forged, probe)
    assert submission._stray(["race", "y", 1, 0], probe) == Stray("race", "y", 1, 0)
