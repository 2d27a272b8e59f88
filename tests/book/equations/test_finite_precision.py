"""Chapter 1.4: the two forms of the variance, what rounding does to them, and merging."""

from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given

VALUES = st.lists(st.fractions(-100, 100, max_denominator=50), min_size=1, max_size=8)
UNIT = Fraction(1, 2**24)


def mean(values):
    return sum(values) / len(values)


def m2(values):
    return sum((value - mean(values)) ** 2 for value in values)


@pytest.mark.equation("eq-two-forms")
@given(VALUES)
def test_two_forms(x):
    assert m2(x) == sum(value**2 for value in x) - len(x) * mean(x) ** 2


@pytest.mark.equation("eq-subtraction")
@given(
    st.fractions(-100, 100),
    st.fractions(-100, 100),
    st.fractions(-1, 1, max_denominator=10),
    st.fractions(-1, 1, max_denominator=10),
)
def test_subtraction(a, b, delta_a, delta_b):
    """Every relative error within the rounding unit, and the worst one, which reaches the bound."""
    assume(a != b)
    bound = UNIT * (abs(a) + abs(b)) / abs(a - b)
    error = (a * (1 + delta_a * UNIT) - b * (1 + delta_b * UNIT)) - (a - b)
    assert abs(error) / abs(a - b) <= bound
    signs = (1 if a > 0 else -1), (-1 if b > 0 else 1)
    worst = (a * (1 + signs[0] * UNIT) - b * (1 + signs[1] * UNIT)) - (a - b)
    assert abs(worst) / abs(a - b) == bound


@pytest.mark.equation("eq-one-pass-condition")
@given(VALUES)
def test_one_pass_condition(x):
    variance, mu = m2(x) / len(x), mean(x)
    assume(variance > 0)
    a, b = mean([value**2 for value in x]), mu**2
    assert (abs(a) + abs(b)) / abs(a - b) == 1 + 2 * mu**2 / variance


@pytest.mark.equation("eq-welford")
@given(VALUES)
def test_welford(x):
    for k in range(1, len(x)):
        seen, more = x[:k], x[: k + 1]
        new = x[k]
        assert mean(more) == mean(seen) + (new - mean(seen)) / (k + 1)
        assert m2(more) == m2(seen) + (new - mean(seen)) * (new - mean(more))


@pytest.mark.equation("eq-part-about")
@given(VALUES, st.fractions(-50, 50))
def test_part_about(x, c):
    assert sum((value - c) ** 2 for value in x) == m2(x) + len(x) * (mean(x) - c) ** 2


@pytest.mark.equation("eq-merge")
@given(VALUES, VALUES)
def test_merge(first, second):
    both, delta = first + second, mean(second) - mean(first)
    m_a, m_b, m = len(first), len(second), len(both)
    assert mean(both) == mean(first) + delta * Fraction(m_b, m)
    assert m2(both) == m2(first) + m2(second) + delta**2 * Fraction(m_a * m_b, m)


def test_what_the_text_says_of_two_passes():
    """The mean's error enters the variance squared: at a ratio of 10 000, less than a millionth."""
    assert (2.0**-24 * 1e4) ** 2 < 1e-6
    x = (1e4 + np.random.default_rng(0).normal(size=4096)).astype(np.float32)
    centre = x.mean(dtype=np.float32)
    assert np.array_equal((x - centre).astype(np.float64), x.astype(np.float64) - np.float64(centre)), "exact"
