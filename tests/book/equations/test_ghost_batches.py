"""The equations of chapter 5.2, both sides evaluated on random input."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import integrate, stats

from bncourse.reference import batch_norm


@pytest.fixture
def rng():
    return np.random.default_rng(52)


@pytest.mark.equation("eq-ghost-finite")
@pytest.mark.parametrize("size", [2, 5, 9])
def test_the_mean_of_a_group_varies_less_when_the_rest_is_small(rng, size):
    """The variance over all groups that can be drawn. Catches sigma**2 / g, which has noise left at g = N."""
    values = rng.normal(3, 2, 9)
    means = [np.mean(group) for group in combinations(values, size)]
    assert np.var(means) == pytest.approx(values.var() / size * (9 - size) / 8, abs=1e-12)


def moments_from_outside(z: float, size: int) -> tuple[float, float]:
    """Mean and variance of (z - m) / s by integrals over the densities of m and of g s^2."""
    mean = stats.norm(0, size**-0.5)
    chi2 = stats.chi2(size - 1)

    def over(density, function):
        return integrate.quad(lambda value: function(value) * density.pdf(value), *density.support(), limit=200)[0]

    first = over(mean, lambda m: z - m) * over(chi2, lambda q: (size / q) ** 0.5)
    second = over(mean, lambda m: (z - m) ** 2) * over(chi2, lambda q: size / q)
    return first, second - first**2


@pytest.mark.equation("eq-ghost-outside")
@pytest.mark.parametrize("size", [5, 8, 33])
def test_noise_from_outside_has_the_variance_derived(rng, size):
    z = rng.uniform(0.5, 3)
    c = math.sqrt(size / 2) * math.gamma(size / 2 - 1) / math.gamma((size - 1) / 2)
    first, variance = moments_from_outside(z, size)
    assert first == pytest.approx(c * z, rel=1e-6)
    assert variance == pytest.approx((1 + size * z**2) / (size - 3) - c**2 * z**2, rel=1e-5)


def test_in_large_groups_it_is_the_first_order_one(rng):
    """The step: halving the group doubles the variance. Catches z**2 in place of z**2 / 2."""
    z = rng.uniform(1, 3)
    assert moments_from_outside(z, 100)[1] == pytest.approx((1 + z**2 / 2) / 100, rel=0.1)


@pytest.mark.equation("eq-ghost-inside")
@pytest.mark.parametrize("size", [2, 4, 11])
def test_a_value_pulls_the_statistics_of_its_group_along(rng, size):
    group = rng.normal(1.5, 2, size)
    z, others = group[0], group[1:]
    distance = z - others.mean()
    expected = math.sqrt(size - 1) * distance / math.sqrt(size * others.var() + distance**2)
    x_hat, _ = batch_norm(group[:, None], np.ones(1), np.zeros(1), eps=1e-14)
    assert x_hat[0, 0] == pytest.approx(expected, rel=1e-10)


@pytest.mark.equation("eq-noise-penalty")
def test_noise_is_a_penalty_on_gamma_for_the_squared_error(rng):
    """Over noise with finitely many values, unevenly likely, of mean 0."""
    gamma, beta, a, target = rng.normal(1.5, 1, 4)
    chances = rng.dirichlet(np.ones(6))
    noise = rng.normal(size=6)
    noise -= chances @ noise
    mean_error = chances @ (0.5 * (gamma * (a + noise) + beta - target) ** 2)
    variance = chances @ noise**2
    assert mean_error == pytest.approx(0.5 * (gamma * a + beta - target) ** 2 + 0.5 * gamma**2 * variance)
