"""What is accepted as a numerical gradient: by its error, whatever the step, and by nothing else."""

import ast
import inspect

import numpy as np
import pytest

from bncourse.exercises import functions, gradient_check
from bncourse.exercises.functions import FUNCTIONS, NamedFunction
from bncourse.reference import numeric_gradient, relative_error
from tests.exercises import gradcheck_mistakes
from tests.exercises.bank import SEEDS, verdict
from tests.exercises.gradcheck_alternatives import flat_central


def central(step, dtype=np.float64):
    return lambda function, x, dy: flat_central(function, x.astype(np.float64), dy, step).astype(dtype)


def one_sided(step, dtype=np.float64):
    def gradient(function, x, dy):
        here = (function(x.astype(float)) * dy).sum()
        return gradcheck_mistakes.by_entry(
            x, lambda index: ((function(gradcheck_mistakes.moved(x, index, step)) * dy).sum() - here) / step
        ).astype(dtype)

    return gradient


def probes(seed):
    return gradient_check.make_probes(np.random.default_rng(seed))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("step", [1e-7, 1e-6, 6e-6, 1e-5, 1e-4])
def test_central_differences_pass_with_every_sensible_step(step, dtype):
    for seed in SEEDS:
        result = verdict(gradient_check, central(step, dtype), seed)
        assert result.outcome == "passed", result.as_text()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("step", [1e-1, 1e-3, 1e-5, 1e-6, -1e-6, 1e-7, 1.5e-8, 1e-8, 1e-9, 2.0**-33, 2.0**-36, 1e-12])
def test_a_difference_to_one_side_passes_with_no_step(step, dtype):
    """Catches a tolerance that the best of one-sided differences meets; one of float32's size would."""
    for seed in SEEDS:
        result = verdict(gradient_check, one_sided(step, dtype), seed)
        assert result.outcome == "failed", result.as_text()
        assert set(result.faults) <= {"one_sided"}
        if abs(step) >= 1e-8:
            assert result.faults == ("one_sided",), "the step is read from what comes back"


@pytest.mark.parametrize("step", [1e-12, 1e-11, 1e-10, 1e-9, 1e-3, 2e-3, 4e-3, 1e-2, 0.1, 0.5])
def test_central_differences_with_a_bad_step_are_not_said_to_be_another_mistake(step):
    """Catches a fit that finds a mistake in the rounding errors."""
    for seed in SEEDS:
        faults = verdict(gradient_check, central(step), seed).faults
        assert faults in ((), ("step_too_large",))
        if step < 1e-3:
            assert faults == ()
        if step >= 1e-2:
            assert faults == ("step_too_large",)


@pytest.mark.parametrize("step", [1e-8, 1e-7, 1e-5, 1e-4, 1e-3])
def test_a_division_without_its_parentheses_is_named_with_every_step(step):
    def without(function, x, dy):
        return 2 * step * central(step)(function, x, dy) / 2 * step

    def not_at_all(function, x, dy):
        return 2 * step * central(step)(function, x, dy)

    for seed in SEEDS:
        for function in (without, not_at_all):
            result = verdict(gradient_check, function, seed)
            assert result.faults == ("not_divided",)
            assert "`/ 2 * h` divides by 2 and multiplies by h" in result.message


def test_whoever_neither_copies_nor_converts_is_told_both():
    """Catches a check that is silent about both because there are two: this is the function that many have at hand."""

    def one_array_for_all(function, x, dy):
        h, gradient, point = 1e-5, np.zeros_like(x), x.copy()
        for index in np.ndindex(x.shape):
            value = point[index]
            point[index] = value + h
            above = np.array(function(point))
            point[index] = value - h
            below = np.array(function(point))
            point[index] = value
            gradient[index] = ((above - below) * dy).sum() / (2 * h)
        return gradient

    for seed in SEEDS:
        result = verdict(gradient_check, one_array_for_all, seed)
        assert result.faults == ()
        assert "All other probes agree. As to those that do not:\noverwrites its input: So the" in result.message
        assert "\nin float32: So the differences are right. x comes in float32 here" in result.message


def test_a_small_error_is_put_down_to_the_step_and_not_to_the_formula():
    for seed in SEEDS:
        result = verdict(gradient_check, central(1e-10), seed)
        assert result.outcome == "failed"
        assert "The values agree to three digits and not to six" in result.message
        assert "something is computed in float32" not in result.message


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (gradcheck_mistakes.one_copy_for_all, "Hand it a fresh copy at each call"),
        (gradcheck_mistakes.in_the_dtype_of_x, "begin with `x.astype(np.float64)`"),
    ],
)
def test_a_right_formula_that_fails_on_one_kind_of_call_is_told_so(function, said):
    for seed in SEEDS:
        result = verdict(gradient_check, function, seed)
        assert "All other probes agree. So the differences are right" in result.message
        assert said in result.message


def test_how_copies_are_made_does_not_hide_a_mistake():
    """Catches a diagnosis that names a mistake only where its author makes copies as we do."""

    def with_one_copy(function, x, dy):
        return 2 * gradcheck_mistakes.one_copy_for_all(function, x, dy)

    def in_the_dtype_of_x(function, x, dy):
        return -gradcheck_mistakes.in_the_dtype_of_x(function, x, dy)

    for seed in SEEDS:
        assert verdict(gradient_check, with_one_copy, seed).faults == ("doubled",)
        assert verdict(gradient_check, in_the_dtype_of_x, seed).faults == ("sign_flipped",)


@pytest.mark.parametrize(
    "function",
    [
        lambda function, x, dy: gradcheck_mistakes.right(function, x, dy).ravel(),
        lambda function, x, dy: gradcheck_mistakes.right(function, x, dy).sum(),
        lambda function, x, dy: (function(x + 1e-5) - function(x - 1e-5)) / 2e-5,
    ],
)
def test_a_gradient_has_the_shape_of_x(function):
    result = verdict(gradient_check, function, 0)
    assert result.outcome == "wrong interface"
    assert "shape (4, 3) is expected" in result.message


def test_the_packages_own_function_passes():
    def own(function, x, dy):
        return numeric_gradient(function, x.astype(np.float64), dy.astype(np.float64))

    for seed in SEEDS:
        assert verdict(gradient_check, own, seed).outcome == "passed"


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_expected_is_exact(seed):
    """Differences of fourth order, which share nothing with the imaginary step of the reference."""
    for probe in probes(seed):
        function, x, dy = probe.fresh().values()
        (expected,) = gradient_check.reference(frozenset(), probe.arguments)
        x = x.astype(float)
        fourth = (4 * flat_central(function, x, dy, 1e-4) - flat_central(function, x, dy, 2e-4)) / 3
        assert relative_error(fourth, expected) < 1e-8


def test_no_entry_can_be_left_out_unseen():
    for seed in range(20):
        for probe in probes(seed):
            (gradient,) = gradient_check.reference(frozenset(), probe.arguments)
            assert abs(gradient).min() > 0.01 * abs(gradient).max()
            assert abs(gradient.sum()) > 0.01 * abs(gradient).max()
            assert abs(abs(probe.arguments["dy"]) - 1).min() > 0.1


def test_the_functions_differ_in_what_they_return_and_in_how_they_treat_their_input():
    seen = set()
    for probe in probes(0):
        function, x, _ = probe.fresh().values()
        given = x.copy()
        output = function(given)
        if not np.array_equal(given, x):
            seen.add("overwrites")
        if np.shares_memory(output, given):
            seen.add("a view")
        seen |= {np.ndim(output), "another shape" if np.shape(output) != x.shape else "the same shape", x.ndim}
    assert seen >= {"overwrites", "a view", "another shape", "the same shape", 0, 1, 2, 3}


@pytest.mark.parametrize("seed", range(3))
def test_every_function_takes_complex_numbers(seed):
    for probe in probes(seed):
        function, x, _ = probe.fresh().values()
        there = function(x.astype(complex))
        np.testing.assert_allclose(there.real, function(x.copy()), rtol=1e-5)
        assert np.iscomplexobj(there)


def test_the_module_that_travels_helps_with_no_exercise():
    """Catches a normalization or a derivative among the functions that submissions may import."""
    tree = ast.parse(inspect.getsource(functions))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not names & {"mean", "var", "std", "average", "gradient", "cov", "diff", "imag"}
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"numpy"}
    assert modules == {"__future__", "collections.abc", "dataclasses", "typing"}
    # The exchange between ranks travels with another exercise.
    assert {probe.arguments["function"].name for probe in probes(0)} == set(FUNCTIONS) - {"all_gather"}


def test_an_unknown_function_is_refused():
    with pytest.raises(ValueError, match=r"expected name to be one of tanh_product, .*, got 'eval'"):
        NamedFunction("eval")


def test_a_function_that_the_learner_changes_is_not_the_graders():
    """Catches probes that share a function's settings with the learner's code."""

    def makes_it_constant(function, x, dy):
        for setting in function.settings.values():
            if isinstance(setting, np.ndarray):
                setting[...] = 0
        return np.zeros(x.shape)

    result = verdict(gradient_check, makes_it_constant, 0)
    assert result.outcome == "failed"
    fresh = verdict(gradient_check, gradient_check.solution_function, 0)
    assert fresh.outcome == "passed"
