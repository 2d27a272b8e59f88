"""The gradient checker must be right where it is used and must not pass what is wrong."""

import numpy as np
import pytest

from bncourse.reference import complex_step_gradient, numeric_gradient, relative_error


def test_gradient_of_a_known_function():
    x = np.random.default_rng(1).normal(3, 2, (3, 4))
    dy = np.random.default_rng(2).standard_normal((3, 4))
    assert relative_error(numeric_gradient(np.sin, x, dy), dy * np.cos(x)) < 1e-9


def test_dy_is_ones_by_default_and_the_output_may_have_another_shape():
    x = np.random.default_rng(1).normal(3, 2, (3, 4))
    assert relative_error(numeric_gradient(lambda a: (a**2).sum(axis=0), x), 2 * x) < 1e-9
    assert relative_error(numeric_gradient(lambda a: (a**3).sum(), x), 3 * x**2) < 1e-9


def test_a_function_that_changes_its_input_does_no_harm():
    def doubles_in_place(a):
        a *= 2
        return a

    x = np.ones((2, 2))
    np.testing.assert_allclose(numeric_gradient(doubles_in_place, x), 2)
    np.testing.assert_array_equal(x, np.ones((2, 2)))


def test_the_default_step_is_near_the_best_one():
    """Catches a step of 1e-8, the square root of the rounding unit: right for one-sided differences only."""
    x = np.random.default_rng(5).normal(0, 1, 50)
    error = {h: relative_error(numeric_gradient(np.exp, x, step=h), np.exp(x)) for h in (None, 1e-2, 1e-8, 1e-11)}
    assert error[None] < 1e-9 < 1e-8 < min(error[1e-2], error[1e-8], error[1e-11])


def test_float32_keeps_its_dtype_and_its_larger_error():
    x = np.random.default_rng(5).normal(0, 1, 50).astype(np.float32)
    gradient = numeric_gradient(np.exp, x)
    assert gradient.dtype == np.float32
    assert 1e-6 < relative_error(gradient, np.exp(x)) < 1e-3


def test_relative_error_is_symmetric_scale_free_and_zero_on_equal():
    a, b = np.array([1.0, -4.0]), np.array([1.0, -5.0])
    assert relative_error(a, b) == relative_error(b, a) == pytest.approx(0.2)
    assert relative_error(1e9 * a, 1e9 * b) == pytest.approx(0.2)
    assert relative_error(a, a) == 0
    assert relative_error(np.zeros(3), np.zeros(3)) == 0
    assert relative_error(np.zeros(0), np.zeros(0)) == 0


def test_nan_passes_no_threshold():
    assert not relative_error(np.array([np.nan, 1.0]), np.ones(2)) < 1e9


def test_a_gradient_of_zeros_is_completely_wrong():
    assert relative_error(np.zeros(3), np.array([0.5, 1e-9, 0.0])) == 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: relative_error(np.ones(3), np.ones((3, 1))), ValueError, r"\(3,\) and \(3, 1\)"),
        (lambda: numeric_gradient(np.sin, np.arange(3)), TypeError, "x of a floating dtype, got int64"),
        (lambda: numeric_gradient(np.sin, np.ones(3), np.ones(4)), ValueError, r"\(3,\), got \(4,\)"),
        (lambda: numeric_gradient(np.sin, np.ones(3), step=0.0), ValueError, "expected step > 0, got 0.0"),
    ],
)
def test_errors_name_the_argument_and_what_it_got(call, error, message):
    with pytest.raises(error, match=message):
        call()


def transform(x):
    """Batch norm with plain formulas, which complex numbers may pass."""
    centred = x - x.mean(axis=0)
    return centred / np.sqrt((centred**2).mean(axis=0) + 1e-5)


def test_a_complex_step_is_right_to_the_last_digits():
    """Catches a step that is subtracted somewhere: finite differences lose six digits more."""
    from bncourse.reference import batch_norm, batch_norm_backward

    rng = np.random.default_rng(9)
    x, dy, ones = rng.normal(3, 2, (6, 3)), rng.normal(1, 1, (6, 3)), np.ones(3)
    dx, _, _ = batch_norm_backward(dy, batch_norm(x, ones, 0 * ones)[1])
    stepped = relative_error(complex_step_gradient(transform, x, dy), dx)
    differenced = relative_error(numeric_gradient(transform, x, dy), dx)
    assert stepped < 1e-14
    assert differenced > 100 * stepped


def test_a_complex_step_refuses_a_function_that_drops_it():
    """Catches a gradient of zeros from a function that takes the real part."""
    for drops in (np.abs, np.real):
        with pytest.raises(TypeError, match="expected f to return complex numbers"):
            complex_step_gradient(drops, np.ones(3))
    with pytest.raises(ValueError, match=r"dy of the shape of f\(x\), \(3,\)"):
        complex_step_gradient(np.sin, np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="step > 0"):
        complex_step_gradient(np.sin, np.ones(3), step=0.0)
