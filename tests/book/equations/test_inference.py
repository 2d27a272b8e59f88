"""Chapter 1.5: what running statistics contain, how wrong they are, and what lies between batches."""

import itertools
import math
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from bncourse.reference import Moments, RunningStatistics, merge, moments

MOMENTA = [Fraction(1, 10), Fraction(1, 3), Fraction(9, 10)]
VALUES = [Fraction(-3), Fraction(1), Fraction(1), Fraction(7, 2)]
"""A skewed population, drawn from with replacement; small enough to list every batch of it."""


def mean(values):
    return sum(values) / len(values)


def mean_square_around(values, centre):
    return mean([(value - centre) ** 2 for value in values])


VARIANCE = mean_square_around(VALUES, mean(VALUES))


def every_batch(m):
    """All batches of m values, each as likely as the others."""
    return list(itertools.product(VALUES, repeat=m))


def run(statistics, a, start):
    """The running average after each statistic, by the update and nothing else."""
    kept = [start]
    for statistic in statistics:
        kept.append((1 - a) * kept[-1] + a * statistic)
    return kept


@pytest.mark.equation("eq-running-update")
def test_momentum_weighs_the_new_batch():
    """Catches the other convention, in which it weighs the old value, and the biased variance."""
    a, batches = 0.2, np.random.default_rng(0).normal(5, 3, (4, 6, 3))
    running = RunningStatistics(3, momentum=a)
    r_mean, r_var = np.zeros(3), np.ones(3)
    for batch in batches:
        running.update(batch)
        r_mean = (1 - a) * r_mean + a * batch.mean(axis=0)
        r_var = (1 - a) * r_var + a * batch.var(axis=0, ddof=1)
        np.testing.assert_allclose(running.mean, r_mean, rtol=1e-13)
        np.testing.assert_allclose(running.var, r_var, rtol=1e-13)


@pytest.mark.equation("eq-running-unrolled")
@given(
    st.lists(st.fractions(-50, 50, max_denominator=20), min_size=1, max_size=12),
    st.fractions(0, 1, max_denominator=20),
    st.fractions(-5, 5, max_denominator=20),
)
def test_unrolled(statistics, a, start):
    t = len(statistics)
    weights = [a * (1 - a) ** k for k in range(t)]
    unrolled = (1 - a) ** t * start + sum(w * statistics[t - 1 - k] for k, w in enumerate(weights))
    assert run(statistics, a, start)[-1] == unrolled
    assert (1 - a) ** t + sum(weights) == 1, "all weights together"


@pytest.mark.equation("eq-running-bias")
@pytest.mark.parametrize("a", MOMENTA)
def test_bias(a):
    """The expectation over every sequence of three statistics, each drawn from VALUES."""
    start, t = Fraction(11, 4), 3
    expectation = mean([run(sequence, a, start)[-1] for sequence in every_batch(t)])
    assert expectation - mean(VALUES) == (1 - a) ** t * (start - mean(VALUES))


@pytest.mark.parametrize("a", MOMENTA)
def test_an_average_that_starts_at_zero_loses_its_bias_with_the_share_of_the_start(a):
    t = 3
    expectation = mean([run(sequence, a, Fraction(0))[-1] for sequence in every_batch(t)])
    assert expectation != mean(VALUES)
    assert expectation / (1 - (1 - a) ** t) == mean(VALUES)


@pytest.mark.equation("eq-half-life")
@pytest.mark.parametrize("a", MOMENTA)
def test_half_life(a):
    half_life = math.log(2) / -math.log(1 - a)
    assert float(1 - a) ** half_life == pytest.approx(0.5)
    assert math.log(2) / -math.log(1 - 0.001) == pytest.approx(0.7 / 0.001, rel=0.02), "about 0.7 / a"


@pytest.mark.equation("eq-running-noise")
@pytest.mark.parametrize("a", MOMENTA)
@pytest.mark.parametrize("t", [1, 2, 4])
def test_noise(a, t):
    ends = [run(sequence, a, Fraction(2))[-1] for sequence in every_batch(t)]
    assert mean_square_around(ends, mean(ends)) == a / (2 - a) * (1 - (1 - a) ** (2 * t)) * VARIANCE


@pytest.mark.equation("eq-effective-batches")
@pytest.mark.parametrize("a", MOMENTA)
def test_effective_batches(a):
    """Variances from the weights of a long run, against v / n of a plain average: the sum of squared weights is 1/n."""
    squares = sum((float(a) * float(1 - a) ** k) ** 2 for k in range(2000))
    assert 1 / squares == pytest.approx(float((2 - a) / a))


@pytest.mark.equation("eq-batch-mean-noise")
@pytest.mark.parametrize("m", [2, 3, 5])
def test_noise_of_the_batch_mean(m):
    means = [mean(batch) for batch in every_batch(m)]
    assert mean_square_around(means, mean(means)) == VARIANCE / m


@pytest.mark.equation("eq-batch-noise")
@pytest.mark.parametrize("m", [2, 3, 5])
def test_noise_of_the_unbiased_variance(m):
    """Catches 2 / (m - 1), which is right for normal values only."""
    kurtosis = mean([(value - mean(VALUES)) ** 4 for value in VALUES]) / VARIANCE**2
    unbiased = [mean_square_around(batch, mean(batch)) * Fraction(m, m - 1) for batch in every_batch(m)]
    spread = mean_square_around(unbiased, mean(unbiased))
    assert spread / VARIANCE**2 == Fraction(1, m) * (kurtosis - 1 + Fraction(2, m - 1))


@pytest.mark.parametrize("m", [2, 5, 16])
def test_what_the_text_says_of_normal_values(m):
    """The noise of the package's unbiased variance, measured; the biased one would have ((m - 1) / m)² of it."""
    draws = np.random.default_rng(6).normal(3, 2, (40_000, m))
    assert moments(draws, 1).unbiased_var.var() / 2**4 == pytest.approx(2 / (m - 1), rel=0.05)


def test_the_two_sums_of_the_derivation():
    """The unbiased variance of values around zero, squared out; and its two sums are uncorrelated."""
    values = [value - mean(VALUES) for value in VALUES]
    m, squares, products = 3, [], []
    for batch in itertools.product(values, repeat=m):
        squares.append(sum(x**2 for x in batch))
        products.append(sum(x * y for x, y in itertools.permutations(batch, 2)))
        unbiased = mean_square_around(batch, mean(batch)) * Fraction(m, m - 1)
        assert unbiased == squares[-1] / m - products[-1] / (m * (m - 1))
    assert mean(products) == 0
    assert mean([square * product for square, product in zip(squares, products, strict=True)]) == 0


@pytest.mark.equation("eq-running-lag")
@pytest.mark.parametrize("a", MOMENTA)
def test_lag(a):
    """A statistic that grows by d at each step, averaged until the start is forgotten."""
    d = 0.3
    drifting = d * np.arange(2000)
    behind = drifting[-1] - run(drifting, float(a), 0.0)[-1]
    assert behind == pytest.approx(d * float((1 - a) / a))


@pytest.mark.equation("eq-best-momentum")
@pytest.mark.parametrize(("d", "v"), [(0.003, 0.1), (0.01, 0.02), (2e-4, 1.5)])
def test_best_momentum(d, v):
    grid = np.logspace(-5, 2, 70_001)
    lowest = grid[np.argmin(grid * v / 2 + d**2 / grid**2)]
    best = (4 * d**2 / v) ** (1 / 3)
    assert lowest == pytest.approx(best, rel=1e-3)
    assert math.sqrt(best**3 * v) / 2 == pytest.approx(d), "read backwards"


def test_best_momentum_is_that_of_the_exact_error_where_the_drift_is_slow():
    """The expression above replaces a / (2 - a) and (1 - a) / a by their leading terms."""
    d, v = 1e-4, 0.1
    grid = np.logspace(-4, -0.1, 20_001)
    exact = grid / (2 - grid) * v + (d * (1 - grid) / grid) ** 2
    assert grid[np.argmin(exact)] == pytest.approx((4 * d**2 / v) ** (1 / 3), rel=0.02)


@pytest.mark.equation("eq-within-between")
@given(
    st.integers(1, 4).flatmap(
        lambda m: st.lists(
            st.lists(st.fractions(-30, 30, max_denominator=20), min_size=m, max_size=m), min_size=1, max_size=5
        )
    )
)
def test_within_and_between(batches):
    everything = [value for batch in batches for value in batch]
    mu = mean(everything)
    within = mean([mean_square_around(batch, mean(batch)) for batch in batches])
    between = mean([(mean(batch) - mu) ** 2 for batch in batches])
    assert mean_square_around(everything, mu) == within + between


@pytest.mark.equation("eq-biased-expectation")
@pytest.mark.parametrize("m", [2, 3, 5])
def test_a_batch_does_not_see_the_variance_of_its_mean(m):
    expectation = mean([mean_square_around(batch, mean(batch)) for batch in every_batch(m)])
    assert expectation == VARIANCE - VARIANCE / m == Fraction(m - 1, m) * VARIANCE


def test_merged_moments_have_the_part_between_and_averaged_variances_have_not():
    """Sorted values in batches: what the chapter's recalibration rests on."""
    x = np.sort(np.random.default_rng(3).gamma(2, 3, (40, 2)), axis=0)
    parts = [moments(part, 0) for part in np.split(x, [7, 20, 33])]
    total = Moments(0, np.zeros(2), np.zeros(2))
    for part in parts:
        total = merge(total, part)
    np.testing.assert_allclose(total.unbiased_var, x.var(axis=0, ddof=1), rtol=1e-12)
    assert np.all(np.mean([part.unbiased_var for part in parts], axis=0) < x.var(axis=0) / 2)


def test_cumulative_is_the_mean_of_all_batches_and_forgets_the_start():
    batches = np.random.default_rng(4).normal(5, 3, (7, 6, 3))
    running = RunningStatistics(3, momentum=None)
    for batch in batches:
        running.update(batch)
    np.testing.assert_allclose(running.mean, batches.mean(axis=(0, 1)), rtol=1e-12)
    np.testing.assert_allclose(running.var, batches.var(axis=1, ddof=1).mean(axis=0), rtol=1e-12)


def test_update_bn_of_pytorch_takes_the_cumulative_average():
    torch = pytest.importorskip("torch")
    batches = np.random.default_rng(5).normal(5, 3, (7, 6, 3))
    layer = torch.nn.BatchNorm1d(3, momentum=0.3, dtype=torch.float64)
    layer(torch.tensor(batches[0] + 100))  # what it kept before does not count
    torch.optim.swa_utils.update_bn(torch.tensor(batches), layer)
    running = RunningStatistics(3, momentum=None)
    for batch in batches:
        running.update(batch)
    np.testing.assert_allclose(layer.running_mean.numpy(), running.mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.numpy(), running.var, rtol=1e-12)


def test_one_value_per_feature_is_refused_here_and_by_pytorch():
    torch = pytest.importorskip("torch")
    one = np.ones((1, 3))
    with pytest.raises(ValueError, match="more than one value per feature"):
        RunningStatistics(3).update(one)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        torch.nn.BatchNorm1d(3, dtype=torch.float64)(torch.tensor(one))
