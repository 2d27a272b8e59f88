"""Intervals cover what they should as often as they say, and pairing narrows them."""

import numpy as np
import pytest

from bncourse.lab import (
    Interval,
    difference_of_means,
    mean_interval,
    paired_interval,
    ratio_of_geometric_means,
    ratio_of_means,
)


def test_ninety_five_percent_intervals_cover_the_true_mean_about_that_often():
    """Catches a 90 % or 99 % interval, and one of the values instead of their mean."""
    generator = np.random.default_rng(4)
    covered = 0
    for _ in range(200):
        interval = mean_interval(generator.exponential(3.0, size=32))
        covered += interval.low <= 3.0 <= interval.high
    # 32 skewed values: a bootstrap interval covers a little less often than its name says.
    assert 0.88 <= covered / 200 <= 0.975


def test_the_interval_agrees_with_the_classical_one_on_normal_values():
    values = np.random.default_rng(0).normal(10, 2, size=400)
    interval = mean_interval(values)
    assert interval.estimate == values.mean()
    half = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_pairing_removes_what_the_arms_share():
    generator = np.random.default_rng(1)
    shared = generator.normal(100, 20, size=32)
    first, second = shared + generator.normal(3, 1, size=32), shared
    paired = paired_interval(first, second, difference_of_means)
    unpaired = paired_interval(first, generator.permutation(second), difference_of_means)
    assert paired.low > 2
    assert (unpaired.high - unpaired.low) > 5 * (paired.high - paired.low)


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [
        (ratio_of_means, (1 + 9) / (2 + 3)),
        (ratio_of_geometric_means, (1 / 2 * 9 / 3) ** 0.5),
        (difference_of_means, (1 - 2 + 9 - 3) / 2),
    ],
)
def test_a_statistic_is_the_one_of_its_name_on_the_last_axis(statistic, expected):
    first, second = np.array([1.0, 9.0]), np.array([2.0, 3.0])
    assert statistic(first, second) == pytest.approx(expected)
    assert statistic(np.stack([first, second]), np.stack([second, second])).tolist() == pytest.approx(
        [expected, 0 if statistic is difference_of_means else 1]
    )


def test_swapping_the_arms_of_a_ratio_turns_its_interval_over():
    generator = np.random.default_rng(2)
    first, second = generator.uniform(20, 40, 24), generator.uniform(10, 20, 24)
    forward = paired_interval(first, second, ratio_of_geometric_means)
    back = paired_interval(second, first, ratio_of_geometric_means)
    assert back.estimate == pytest.approx(1 / forward.estimate)
    assert back.low == pytest.approx(1 / forward.high, rel=0.01)


def test_where_all_seeds_agree_the_interval_is_the_value():
    """BCa is undefined there; a NaN would pass every later comparison as false."""
    assert mean_interval(np.full(24, 7.0)) == Interval(7.0, 7.0, 7.0)


def test_the_interval_is_the_same_each_time():
    values = np.random.default_rng(3).normal(size=24)
    assert mean_interval(values) == mean_interval(values)


def test_arms_that_are_not_paired_are_refused():
    with pytest.raises(ValueError, match=r"one value for each seed, got shapes \(3,\) and \(4,\)"):
        paired_interval(np.ones(3), np.ones(4), ratio_of_means)
    with pytest.raises(ValueError, match=r"two seeds at least, in one dimension, got shape \(1,\)"):
        mean_interval(np.ones(1))
