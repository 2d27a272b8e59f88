"""Welford's, Chan's and the one-pass formula: the same in exact arithmetic, and not in ours."""

import functools
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from bncourse.reference import Moments, merge, moments, one_pass_moments, welford

EMPTY = Moments(0, np.zeros(()), np.zeros(()))
VALUES = st.lists(st.floats(-1e3, 1e3), max_size=12)


def exact(values):
    """Count, mean and m2 as fractions."""
    numbers = [Fraction(value) for value in values]
    mean = sum(numbers) / len(numbers)
    return len(numbers), mean, sum((number - mean) ** 2 for number in numbers)


def close(found, values):
    if not values:
        assert (found.count, float(found.mean), float(found.m2)) == (0, 0, 0)
        return
    count, mean, m2 = exact(values)
    size = 1 + max(map(abs, values))
    assert found.count == count
    assert abs(float(found.mean) - float(mean)) < 1e-13 * size
    assert abs(float(found.m2) - float(m2)) < 1e-12 * count * size**2


@given(VALUES)
def test_welford_is_exact_but_for_rounding(values):
    close(welford(values), values)


@given(VALUES, VALUES)
def test_merging_two_parts_is_the_moments_of_both(first, second):
    close(merge(welford(first), welford(second)), first + second)


@given(VALUES, VALUES, VALUES)
def test_the_order_of_merging_does_not_matter_but_for_rounding(a, b, c):
    parts = [welford(values) for values in (a, b, c)]
    close(merge(merge(parts[0], parts[1]), parts[2]), a + b + c)
    close(merge(parts[2], merge(parts[1], parts[0])), a + b + c)


@given(VALUES)
def test_an_empty_part_changes_nothing(values):
    part = welford(values)
    for merged in (merge(part, EMPTY), merge(EMPTY, part)):
        assert merged.count == part.count
        assert float(merged.mean) == float(part.mean)
        assert float(merged.m2) == float(part.m2)


def test_arrays_are_summarized_entry_by_entry():
    rng = np.random.default_rng(0)
    x = rng.normal(5, 2, (30, 4))
    whole = moments(x, 0)
    for found in (welford(x), merge(moments(x[:7], 0), moments(x[7:], 0))):
        assert found.count == 30
        np.testing.assert_allclose(found.mean, whole.mean, rtol=1e-14)
        np.testing.assert_allclose(found.m2, whole.m2, rtol=1e-12)


def test_welford_is_merging_with_parts_of_one():
    rng = np.random.default_rng(1)
    values = list(rng.normal(3, 1, 20))
    single = functools.reduce(merge, (Moments(1, np.asarray(value), np.zeros(())) for value in values), EMPTY)
    np.testing.assert_allclose(float(welford(values).m2), float(single.m2), rtol=1e-13)


@given(st.integers(0, 2**32 - 1), st.sampled_from([(5, 3), (4, 2, 3)]))
def test_one_pass_is_right_where_the_mean_is_small(seed, shape):
    x = np.random.default_rng(seed).normal(0.5, 1, shape)
    axes = (0, *range(2, len(shape)))
    found, wanted = one_pass_moments(x, axes), moments(x, axes)
    assert found.count == wanted.count
    np.testing.assert_allclose(found.mean, wanted.mean, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.m2, wanted.m2, rtol=1e-10, atol=1e-12)


def test_one_pass_fails_far_from_zero_and_the_others_do_not():
    """Catches a cautionary example that was mended on the way: its failure is what it is there for."""
    x = np.random.default_rng(2).normal(10_000, 1, 4096).astype(np.float32)
    true = float(x.astype(np.float64).var())
    assert abs(float(one_pass_moments(x, 0).var) - true) > 0.5
    assert one_pass_moments(x, 0).m2.dtype == np.float32
    streamed = welford(x)
    assert streamed.m2.dtype == np.float32
    assert abs(float(streamed.var) / true - 1) < 1e-2
    parts = [Moments(len(part), part.mean(), np.square(part - part.mean()).sum()) for part in np.split(x, 64)]
    assert abs(float(functools.reduce(merge, parts).var) / true - 1) < 1e-3
    assert abs(float(moments(x, 0).var) / true - 1) < 1e-12


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"a and b of one shape, got \(2,\) and \(3,\)"):
        merge(moments(np.ones((4, 2)), 0), moments(np.ones((4, 3)), 0))
    with pytest.raises(TypeError, match="values of a floating dtype"):
        welford([1, 2])
    with pytest.raises(ValueError, match="at least one value"):
        one_pass_moments(np.zeros((0, 3)), 0)
