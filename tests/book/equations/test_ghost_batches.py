"""The equations of chapter 5.2, both sides evaluated on random input."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from bncourse.reference import batch_norm


@pytest.fixture
def rng():
    return np.random.default_rng(52)


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
    gain = math.sqrt(size / 2) * math.gamma(size / 2 - 1) / math.gamma((size - 1) / 2)
    first, variance = moments_from_outside(z, size)
    assert first == pytest.approx(gain * z, rel=1e-6)
    assert variance == pytest.approx((size / (size - 3) - gain**2) * z**2 + 1 / (size - 3), rel=1e-5)


def test_in_large_groups_it_is_the_first_order_one(rng):
    """Halving the group doubles the variance. Catches z**2 in place of z**2 / 2."""
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
