"""What a kernel does to memory is seen, also where the values come out right."""

import inspect
from dataclasses import replace

import numpy as np
import pytest

from bncourse.exercises import inference_kernel, missing_mask, split_reduction
from bncourse.exercises.attempt import attempt_all
from bncourse.exercises.kernel_memory import NEIGHBOUR
from bncourse.exercises.probe import Empty, Launch, Probe, Stray
from tests.exercises import inference_kernel_mistakes, missing_mask_mistakes
from tests.exercises.bank import defined, solved, verdict

HEAD = "import triton\nimport triton.language as tl\n\n@triton.jit\ndef kernel(x, y, BLOCK: tl.constexpr):\n"
TWO_PROGRAMS = (Launch((2,)),)
LANES = "    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)\n"


def kernel(body):
    return defined(HEAD + LANES + body, "kernel")


def run(*kernels, size=6, block=4, launches=TWO_PROGRAMS, x=None, outputs=("y",)):
    arguments = {"x": np.arange(size, dtype=np.float32) if x is None else x, "y": Empty((size,)), "BLOCK": block}
    (attempt,) = attempt_all(kernels, [Probe("a probe", arguments, launches=launches)], outputs)
    assert attempt.outcome == "ran", attempt.message
    return attempt


@pytest.mark.parametrize(
    ("body", "strays"),
    [
        ("    tl.store(y + lane, tl.load(x + lane, mask=lane < 6), mask=lane < 6)", ()),
        ("    tl.store(y + lane, tl.load(x + lane, mask=lane < 6))", (("written_outside", "y", 2, 6),)),
        ("    tl.store(y + lane, tl.load(x + lane), mask=lane < 6)", (("read_outside", "x", 2, 6),)),
        (
            "    tl.store(y + lane - 1, tl.load(x + lane, mask=lane < 6), mask=lane < 6)",
            (("written_outside", "y", 1, -1), ("left_out", "y", 1, 5)),
        ),
        ("    tl.store(y + lane, tl.load(x + lane, mask=lane < 6), mask=lane < 4)", (("left_out", "y", 2, 4),)),
        (
            "    tl.store(y + lane % 6, tl.load(x + lane % 6))",
            (("race", "y", 2, 0),),
        ),
        (
            "    tl.store(y + lane, 1.0, mask=lane < 6)\n    tl.store(x + lane, 0.0, mask=lane < 1)",
            (("in_place", "x", 1, 0),),
        ),
        (
            "    tl.store(y + lane, tl.load(y + lane, mask=lane < 6), mask=lane < 6)",
            (("read_unwritten", "y", 6, 0),),
        ),
        (
            "    tl.store(y + lane, 1.0, mask=lane < 6)\n    tl.load(y + lane - 4, mask=(lane >= 4) & (lane < 6))",
            (("race", "y", 2, 0),),
        ),
        (
            "    tl.atomic_add(y + lane % 2, 1.0)",
            (("read_unwritten", "y", 4, 0), ("left_out", "y", 4, 2)),
        ),
    ],
)
def test_each_kind_is_counted_and_its_first_place_told(body, strays):
    assert run(kernel(body)).strays == tuple(Stray(*stray) for stray in strays)


def test_the_values_are_those_of_the_kernel_and_of_nobody_where_it_strays():
    attempt = run(kernel("    tl.store(y + lane, tl.load(x + lane + 1, mask=lane < 6) * 2, mask=lane < 6)"))
    np.testing.assert_array_equal(attempt.outputs[0], [2, 4, 6, 8, 10, 2 * NEIGHBOUR])
    assert attempt.outputs[0].dtype == np.float32
    attempt = run(kernel("    tl.store(y + lane, 1.0, mask=lane < 3)"))
    np.testing.assert_array_equal(attempt.outputs[0], [1, 1, 1, np.nan, np.nan, np.nan])


WHOLE = "    lane = tl.arange(0, 8)\n"
STORED = "    tl.store(y, {})\n"


@pytest.mark.parametrize(
    ("body", "used"),
    [
        ("tl.sum(tl.load(x + lane, mask=lane < 6), 0)", True),
        ("tl.sum(tl.load(x + lane, mask=lane < 6) * (lane < 6), 0)", True),
        ("tl.max(tl.load(x + lane, mask=lane < 6) - 9, 0)", True),
        ("tl.sum(tl.load(x + lane, mask=lane < 6, other=0.0), 0)", False),
        ("tl.sum(tl.where(lane < 6, tl.load(x + lane, mask=lane < 6), 0.0), 0)", False),
        ("tl.sum(tl.load(x + lane % 6, mask=lane < 8), 0)", False),
        # A scalar and a block of one value, of which the interpreter forgets that they are told to be 0.
        ("tl.load(x, mask=lane.shape[0] < 6, other=0.0)", False),
        ("tl.load(x, mask=lane.shape[0] < 6)", True),
        ("tl.sum(tl.load(x + tl.arange(0, 1), mask=tl.arange(0, 1) > 0, other=0.0), 0)", False),
        ("tl.sum(tl.load(x + tl.arange(0, 1), mask=tl.arange(0, 1) > 0), 0)", True),
        ("tl.sum(tl.load(tl.make_block_ptr(x, (6,), (1,), (0,), (8,), (0,)), boundary_check=(0,)), 0)", True),
        (
            "tl.sum(tl.load(tl.make_block_ptr(x, (6,), (1,), (0,), (8,), (0,)), boundary_check=(0,), "
            "padding_option='zero'), 0)",
            False,
        ),
    ],
)
def test_a_lane_that_a_load_leaves_undefined_must_not_enter_a_result(body, used):
    """Catches a sum that is right because the interpreter puts 0 where Triton promises nothing."""
    attempt = run(kernel(WHOLE + STORED.format(body)), launches=(Launch((1,)),), outputs=("y",))
    assert (Stray("lanes_undefined", "y", 1, 0) in attempt.strays) is used
    assert np.isfinite(attempt.outputs[0][0])


def test_the_interpreter_is_afterwards_as_it_was():
    """Catches a launch that leaves its own load behind: other kernels of the notebook would not run."""
    from triton.runtime import interpreter

    def state():
        return interpreter._interpreter, interpreter.TritonSemantic.load, interpreter.interpreter_builder.options

    before = state()
    run(kernel("    tl.store(y + lane, tl.load(x + lane, mask=lane < 6), mask=lane < 6)"))
    assert before == state()


def test_a_pointer_may_go_astray_by_any_amount():
    """Catches a check that ends the learner's process: these addresses are not mapped."""
    for far in (10**6, -(10**6), 2**30):
        attempt = run(kernel(f"    tl.store(y + lane + {far}, tl.load(x + lane - {far}))"))
        assert {stray.kind for stray in attempt.strays} == {"left_out", "read_outside", "written_outside"}


def test_an_address_that_is_none_is_an_error_with_its_line():
    wild = kernel("    tl.store((lane * 8).to(tl.pointer_type(tl.float32)), 1.0)")
    probe = Probe("a", {"x": np.ones(2, np.float32), "y": Empty((2,)), "BLOCK": 4}, launches=(Launch((1,)),))
    (attempt,) = attempt_all(wild, [probe], ["y"])
    assert attempt.outcome == "error"
    assert "Your kernel raised ValueError: an address was used that belongs to no array" in attempt.message
    assert "tl.store((lane * 8)" in attempt.message


def test_launches_follow_each_other_and_memory_stays():
    """What one launch wrote the next may read: that is no race. Two kernels, and a choice of arguments for each."""
    first = kernel("    tl.store(y + lane, tl.load(x + lane, mask=lane < 6) + 1, mask=lane < 6)")
    second = defined(
        "import triton\nimport triton.language as tl\n\n@triton.jit\ndef kernel(total, y, BLOCK: tl.constexpr):\n"
        "    lane = tl.arange(0, BLOCK)\n"
        "    tl.store(total, tl.sum(tl.load(y + lane, mask=lane < 6, other=0.0)))",
        "kernel",
    )
    arguments = {
        "x": np.arange(6, dtype=np.float32),
        "y": Empty((6,)),
        "total": Empty((1,)),
        "BLOCK": 4,
        "WHOLE": 8,
    }
    launches = (Launch((2,), ("x", "y", "BLOCK")), Launch((1,), ("total", "y", "WHOLE"), kernel=1))
    probe = Probe("a probe", arguments, launches=launches)
    (attempt,) = attempt_all((first, second), [probe], ["total"])
    assert attempt.strays == ()
    np.testing.assert_array_equal(attempt.outputs[0], [21.0])
    (swapped,) = attempt_all((second, first), [probe], ["total"])
    assert {stray.kind for stray in swapped.strays} >= {"read_unwritten"}
    (alone,) = attempt_all(first, [probe], ["total"])
    assert (alone.outcome, alone.message) == ("wrong interface", "`check` takes 2 kernels here; it got 1.")


def test_half_precision_comes_back_in_single():
    attempt = run(
        kernel("    tl.store(y + lane, tl.load(x + lane, mask=lane < 6), mask=lane < 6)"),
        x=np.array([1, 2, 3, 1 / 3, 5, 6], np.float16),
    )
    assert attempt.outputs[0][3] == np.float32(np.float16(1 / 3))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (print, "a function under `@triton.jit`; it got a builtin_function_or_method."),
        (lambda x: x, "it got the function `<lambda>`; put `@triton.jit` above its `def`"),
        (None, "it got a NoneType"),
        (kernel("    pass"), "`kernel` is launched with 11 arguments, (x, y, mean, var"),
    ],
)
def test_what_cannot_be_launched_is_a_wrong_interface(given, sentence):
    result = inference_kernel.check(given)
    assert result.outcome == "wrong interface"
    assert sentence in result.message


def test_kernels_in_the_wrong_order_are_told_so():
    """Both take six arguments, so that their number does not give it away."""
    first, second = solved(split_reduction)
    result = split_reduction.check(second, first)
    assert result.outcome == "wrong interface"
    assert result.message.endswith("check(moments_kernel, finish_kernel).")


def test_two_where_one_is_wanted_is_a_wrong_interface():
    result = inference_kernel.check(kernel("    pass"), kernel("    pass"))
    assert (result.outcome, result.message) == ("wrong interface", "`check` takes one kernel here; it got 2.")


def test_an_exception_names_the_kernels_line():
    source = inference_kernel_mistakes.KERNEL.format(
        name="broken", **{**inference_kernel_mistakes.RIGHT, "y": "tl.no_such_thing(x)"}
    )
    result = inference_kernel.check(defined(source, "broken"))
    assert result.outcome == "error"
    assert result.message.startswith("Your kernel raised AttributeError: module 'triton.language' has no attribute")
    assert "`y = tl.no_such_thing(x)`" in result.message
    assert "The launch was with x (2, 3, 16)" in result.message


def test_right_sums_in_half_precision_and_in_one_pass_are_put_down_to_the_arithmetic():
    one_pass = verdict(missing_mask, missing_mask_mistakes.one_pass, 0)
    assert "All other probes agree" in one_pass.message
    assert "Subtract the mean before you square" in one_pass.message
    half = verdict(missing_mask, missing_mask_mistakes.half_sums, 0)
    assert "All other probes agree" in half.message
    assert "`.to(tl.float32)`" in half.message


def test_the_given_kernel_is_not_attempted_and_shows_where_it_is_right():
    result = missing_mask.check(defined(missing_mask.starter(), *missing_mask.function_names))
    assert result.outcome == "not attempted"
    agreeing = [row[0] for row in result.table.rows if row[-1] == "agrees"]
    assert agreeing == ["whole blocks of samples", "features left over"]
    assert "mask" not in result.message


def test_a_kernel_that_strays_and_is_right_does_not_pass_and_is_not_called_wrong():
    unmasked = next(function for function, faults in inference_kernel_mistakes.IN_PLACE if "race" in faults)
    result = verdict(inference_kernel, unmasked, 0)
    assert result.outcome == "failed"
    assert {cell for row in result.table.rows for cell in row[2:]} == {"agrees"}
    assert "mistakes together" not in result.message
    assert "writes to place 370" in result.message


def test_a_careless_sum_is_told_what_it_lacks():
    careless = next(f for f, _ in missing_mask_mistakes.IN_PLACE if f.__name__ == "sum_without_other")
    result = verdict(missing_mask, careless, 0)
    assert {cell for row in result.table.rows for cell in row[2:]} == {"agrees"}
    assert "A masked load has no `other`, and what its masked lanes hold gets into mean, at place 0" in result.message
    assert "Probe: samples left over" in result.message


def test_what_is_left_out_agrees_only_with_what_is_left_out():
    """Catches poisoned memory that counts as right: a kernel that writes nothing at all."""
    nothing = inference_kernel_mistakes.kernel("nothing", store="pass")
    result = verdict(inference_kernel, nothing, 0)
    assert (result.outcome, result.faults) == ("failed", ("left_out",))
    lenient = replace(inference_kernel, faults=())
    assert verdict(lenient, inference_kernel_mistakes.SINGLES["last_block_ignored"], 0).faults == ("left_out",)


@pytest.mark.parametrize("fault", missing_mask_mistakes.SINGLES)
def test_a_mistake_beside_undefined_lanes_is_named_as_it_is_alone(fault):
    """Catches lanes whose content makes another formula of every mistake, which then nobody recognizes."""
    right = missing_mask_mistakes.SINGLES[fault]
    source = inspect.getsource(right.fn).replace(", other=0.0", "")
    assert source.count("mask=inside).to") == 2
    header = "import triton\nimport triton.language as tl\n\n"
    result = verdict(missing_mask, defined(header + source, right.__name__), 0)
    # Where no mean has a block that is not full, no undefined lane enters one.
    lanes = set() if fault == "mean_last_block_ignored" else {"lanes_undefined"}
    assert (result.outcome, set(result.faults)) == ("failed", {fault} | lanes)
