"""Whatever is handed to a check, the answer is a Result with a sentence, never a traceback."""

import functools
import inspect
import sys

import numpy as np
import pytest

from bncourse.exercises import bn_backward, bn_forward
from tests.exercises.bank import EXERCISES, defined
from tests.exercises.forward_mistakes import SINGLES


def right(x, gamma, beta, eps):
    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta


def right_gradients(dy, x, gamma, eps):
    return bn_backward.solution_function(dy, x, gamma, eps)


class Unreadable:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("no array for you")


WRONG_RETURNS = {
    "nothing": (lambda *a, eps: None, "returned None"),
    "a tuple with the cache": (lambda *a, eps: (right(*a, eps=eps), {}), "a tuple of 2: return y alone"),
    "text": (lambda *a, eps: "y", "y is a str of dtype <U1"),
    "a scalar": (lambda *a, eps: 1.0, "shape ()"),
    "an integer array": (lambda *a, eps: np.zeros(a[0].shape, int), "dtype int"),
    "a boolean array": (lambda *a, eps: np.zeros(a[0].shape, bool), "dtype bool"),
    "a complex array": (lambda *a, eps: right(*a, eps=eps) + 0j, "dtype complex128"),
    "half precision": (lambda *a, eps: right(*a, eps=eps).astype(np.float16), "dtype float16"),
    "objects": (lambda *a, eps: right(*a, eps=eps).astype(object), "dtype object"),
    "a ragged list": (lambda *a, eps: [[1.0], [1.0, 2.0]], "cannot be read as an array"),
    "an unreadable object": (lambda *a, eps: Unreadable(), "no array for you"),
    "a dictionary": (lambda *a, eps: {"y": right(*a, eps=eps)}, "dtype object"),
    "transposed": (lambda *a, eps: right(*a, eps=eps).T, "y has shape (4, 9), and shape (9, 4) is expected"),
    "flattened": (lambda *a, eps: right(*a, eps=eps).ravel(), "y has shape (36,)"),
    "a generator": (lambda *a, eps: (row for row in right(*a, eps=eps)), "dtype object"),
}


@pytest.mark.parametrize("name", WRONG_RETURNS)
def test_a_wrong_return_is_a_wrong_interface(name):
    function, sentence = WRONG_RETURNS[name]
    result = bn_forward.check(function)
    assert result.outcome == "wrong interface"
    assert sentence in result.message


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda *a, eps: right_gradients(*a, eps)[0], "returned a ndarray: return the tuple (dx, dgamma, dbeta)"),
        (lambda *a, eps: right_gradients(*a, eps)[:2], "returned 2 values: return 3"),
        (lambda *a, eps: (*right_gradients(*a, eps), None), "returned 4 values"),
        (lambda *a, eps: dict(enumerate(right_gradients(*a, eps))), "returned a dict"),
        (lambda dy, x, gamma, eps: (dy, dy * x, dy), "dgamma has shape (9, 4), and shape (4,) is expected"),
        (lambda dy, x, gamma, eps: (dy, gamma[None], gamma), "dgamma has shape (1, 4)"),
        (lambda dy, x, gamma, eps: (dy, gamma, None), "dbeta is a NoneType of dtype object"),
    ],
)
def test_wrong_gradients_are_a_wrong_interface(function, sentence):
    result = bn_backward.check(function)
    assert result.outcome == "wrong interface"
    assert sentence in result.message


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (None, "got a NoneType"),
        (np.ones(3), "got a ndarray"),
        (bn_forward, "got an Exercise"),
        (lambda x, gamma, beta: x, "calls f(x, gamma, beta, eps=eps), and yours is f(x, gamma, beta)"),
        (lambda x: x, "too many positional arguments"),
        (lambda x, gamma, beta, epsilon: x, "eps"),
    ],
)
def test_what_cannot_be_called_is_a_wrong_interface(function, sentence):
    result = bn_forward.check(function)
    assert result.outcome == "wrong interface"
    assert sentence in result.message


def test_whatever_can_be_called_may_be_checked():
    class Layer:
        def __call__(self, x, gamma, beta, *, eps):
            return right(x, gamma, beta, eps)

    with_extra = functools.partial(lambda x, gamma, beta, eps, extra: right(x, gamma, beta, eps), extra=1)
    assert bn_forward.check(Layer()).outcome == "passed"
    assert bn_forward.check(with_extra).outcome == "passed"
    assert bn_forward.check(functools.lru_cache(lambda x, gamma, beta, eps: x)).outcome == "error"  # unhashable


def test_lists_and_a_list_of_three_are_accepted():
    assert bn_forward.check(lambda *a, eps: right(*a, eps=eps).tolist()).outcome == "passed"
    assert bn_backward.check(lambda *a, eps: [g.tolist() for g in right_gradients(*a, eps)]).outcome == "passed"


def test_a_tensor_that_requires_a_gradient_says_what_to_do():
    torch = pytest.importorskip("torch")
    result = bn_forward.check(lambda *a, eps: torch.tensor(right(*a, eps=eps), requires_grad=True))
    assert result.outcome == "wrong interface"
    assert "detach" in result.message


def test_an_exception_is_told_with_its_type_its_message_and_the_line():
    def broken(x, gamma, beta, eps):
        mean = x.mean(0)
        return np.linalg.inv(mean)

    _, first = inspect.getsourcelines(broken)
    result = bn_forward.check(broken)
    assert result.outcome == "error"
    assert "raised LinAlgError: " in result.message
    assert f"line {first + 2}: `return np.linalg.inv(mean)`" in result.message
    assert "x (9, 4), gamma (4,), beta (4,)" in result.message
    assert "Traceback" not in result.as_text()


def test_an_exception_inside_a_helper_of_the_learner_names_the_helpers_line():
    def helper(x):
        return x[:, 99]

    def broken(x, gamma, beta, eps):
        return helper(x)

    result = bn_forward.check(broken)
    assert "raised IndexError" in result.message
    assert "`return x[:, 99]`" in result.message


def test_code_without_a_source_file_still_gets_its_line():
    namespace = {}
    exec("def f(x, gamma, beta, eps):\n    return 1 / 0\n", namespace)
    result = bn_forward.check(namespace["f"])
    assert result.outcome == "error"
    assert "ZeroDivisionError: division by zero." in result.message
    assert "line 2 of your code" in result.message


def test_a_function_that_runs_only_on_a_square_batch_says_so():
    """The statistics of shape (N,) broadcast against (N, C) where N = C alone: the sign of a wrong axis."""

    def wrong_axis_without_keepdims(x, gamma, beta, eps):
        return gamma * (x - x.mean(axis=1)) / np.sqrt(x.var(axis=1) + eps) + beta

    result = bn_forward.check(wrong_axis_without_keepdims)
    assert result.outcome == "error"
    assert "It did run on: as many samples as features." in result.message


class SilentError(Exception):
    def __str__(self):
        raise ValueError("not even its text")


@pytest.mark.parametrize("error", [SystemExit(0), SilentError(), RecursionError(), AssertionError(), MemoryError()])
def test_any_exception_becomes_an_error(error):
    def broken(x, gamma, beta, eps):
        raise error

    result = bn_forward.check(broken)
    assert result.outcome == "error"
    assert type(error).__name__ in result.message


def test_leaving_python_is_an_error_of_the_function():
    result = bn_forward.check(lambda x, gamma, beta, eps: sys.exit("bye"))
    assert (result.outcome, "SystemExit: bye" in result.message) == ("error", True)


def test_a_keyboard_interrupt_passes_through():
    def interrupted(x, gamma, beta, eps):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bn_forward.check(interrupted)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_the_starter_is_not_attempted(exercise):
    result = exercise.check(defined(exercise.starter(), *exercise.function_names))
    assert result.outcome == "not attempted"


def test_an_unfinished_helper_is_not_attempted():
    def helper(x):
        raise NotImplementedError

    assert bn_forward.check(lambda x, gamma, beta, eps: helper(x)).outcome == "not attempted"


def test_a_librarys_not_implemented_error_is_an_error():
    """Catches "not attempted" told to someone whose code called something that does not exist."""

    def library(x):
        raise NotImplementedError("no kernel for this dtype")

    result = bn_forward.check(lambda x, gamma, beta, eps: library(x))
    assert result.outcome == "error"
    assert "no kernel for this dtype" in result.message


def test_what_the_function_prints_is_left_alone(capsys):
    def talks(x, gamma, beta, eps):
        print("shape", x.shape)
        return right(x, gamma, beta, eps)

    assert bn_forward.check(talks).outcome == "passed"
    assert "shape (9, 4)" in capsys.readouterr().out


def test_numpy_set_to_raise_does_not_reach_the_check():
    """A faulty formula divides by zero or overflows; that must not surface as an exception of the check."""
    with np.errstate(all="raise"):
        assert bn_forward.check(SINGLES["unbiased_variance"]).faults == ("unbiased_variance",)
        assert bn_forward.check(lambda x, gamma, beta, eps: np.full_like(x, np.nan)).outcome == "failed"
        assert bn_forward.check(lambda x, gamma, beta, eps: np.full_like(x, 1e300)).outcome == "failed"
        assert bn_forward.check(lambda x, gamma, beta, eps: np.full_like(x, 1e-320)).outcome == "failed"
