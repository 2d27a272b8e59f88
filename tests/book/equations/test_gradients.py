"""Chapter 2.3: differences, their best step, the complex step, and how far two gradients are apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncourse.reference import relative_error

SEEDS = st.integers(0, 2**32 - 1)


def loss(x):
    """A smooth function of three numbers, with a third derivative that does not vanish."""
    return np.sin(x[0]) * np.exp(x[1] / 2) + x[2] ** 3 / (1 + x[0] ** 2)


def gradient(x):
    return np.array(
        [
            np.cos(x[0]) * np.exp(x[1] / 2) - 2 * x[0] * x[2] ** 3 / (1 + x[0] ** 2) ** 2,
            np.sin(x[0]) * np.exp(x[1] / 2) / 2,
            3 * x[2] ** 2 / (1 + x[0] ** 2),
        ]
    )


@pytest.mark.equation("eq-central-difference")
@given(SEEDS, st.floats(1e-3, 0.3))
def test_central_difference(seed, h):
    """The remainder lies between the values that the third derivative takes in the interval."""
    x = np.random.default_rng(seed).uniform(-2, 2)
    remainder = np.cos(x) - (np.sin(x + h) - np.sin(x - h)) / (2 * h)
    third = -np.cos(x + np.linspace(-h, h, 1001))
    low, high = sorted((-(h**2) / 6 * third.max(), -(h**2) / 6 * third.min()))
    assert low - 1e-9 <= remainder <= high + 1e-9


@pytest.mark.equation("eq-best-step")
@given(st.floats(1e-17, 1e-6), st.floats(0.1, 10), st.floats(0.1, 10))
def test_best_step(u, size, third):
    best = np.cbrt(3 * u * size / third)

    def error(h):
        return h**2 / 6 * third + u * size / h

    assert error(best) <= error(best * np.logspace(-2, 2, 401)).min() * (1 + 1e-12)


@pytest.mark.equation("eq-complex-step")
@given(SEEDS)
def test_complex_step(seed):
    x = np.random.default_rng(seed).uniform(-1.5, 1.5, 3)
    for index in range(3):
        for h, tolerance in ((1e-30, 1e-14), (1e-3, 1e-4)):
            moved = x.astype(complex)
            moved[index] += 1j * h
            assert abs(loss(moved).imag / h - gradient(x)[index]) < tolerance * (1 + abs(gradient(x)).max())


@pytest.mark.equation("eq-relative-error")
@given(SEEDS)
def test_relative_error(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 3, 4))
    assert relative_error(a, b) == pytest.approx(abs(a - b).max() / max(abs(a).max(), abs(b).max()), rel=1e-14)


@pytest.mark.equation("eq-directional")
@given(SEEDS)
def test_directional(seed):
    rng = np.random.default_rng(seed)
    x, v, h = rng.uniform(-1.5, 1.5, 3), rng.normal(size=3), 1e-5
    along = (loss(x + h * v) - loss(x - h * v)) / (2 * h)
    assert abs(along - gradient(x) @ v) < 1e-8 * (1 + abs(v).max() ** 3) * (1 + abs(gradient(x)).max())
