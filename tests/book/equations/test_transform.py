"""The equations of part 1, both sides evaluated on random input."""

import math

import numpy as np
import pytest

from bncourse.reference import batch_norm, batch_norm_inference, moments

EPS = 0.3  # large, so that a misplaced one shows


@pytest.fixture
def x():
    """One feature of seven values, far from mean 0 and spread 1."""
    return np.random.default_rng(11).gamma(2, 3, 7) + 5


def column(values):
    return np.asarray(values, float)[:, None]


@pytest.mark.equation("eq-bn-mean")
def test_mean(x):
    assert moments(x, 0).mean == pytest.approx(math.fsum(x) / 7)


@pytest.mark.equation("eq-bn-var")
def test_variance_divides_by_m(x):
    """Catches the unbiased variance, which divides by m - 1."""
    mean = math.fsum(x) / 7
    assert moments(x, 0).var == pytest.approx(math.fsum((value - mean) ** 2 for value in x) / 7)


@pytest.mark.equation("eq-bn-normalize")
def test_eps_is_inside_the_square_root(x):
    _, cache = batch_norm(column(x), np.ones(1), np.zeros(1), EPS)
    expected = [(value - x.mean()) / math.sqrt(x.var() + EPS) for value in x]
    np.testing.assert_allclose(cache.x_hat[:, 0], expected, rtol=1e-12)


@pytest.mark.equation("eq-bn-affine")
def test_gamma_multiplies_and_beta_is_added(x):
    y, cache = batch_norm(column(x), np.array([-2.5]), np.array([0.7]), EPS)
    np.testing.assert_allclose(y[:, 0], [-2.5 * value + 0.7 for value in cache.x_hat[:, 0]], rtol=1e-12)


@pytest.mark.equation("eq-bn-output-var")
@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1, 100])
def test_output_variance_is_short_of_one(x, scale):
    _, cache = batch_norm(column(scale * x), np.ones(1), np.zeros(1), EPS)
    variance = (scale * x).var()
    assert cache.x_hat.var() == pytest.approx(variance / (variance + EPS), rel=1e-9)


@pytest.mark.equation("eq-bn-bound")
@pytest.mark.parametrize("m", [2, 3, 10, 100])
def test_no_value_exceeds_the_bound_and_one_outlier_reaches_it(m):
    """Both directions: a bound that is too low fails on the outlier, one that is too high is not reached."""
    outlier = np.zeros((m, 1))
    outlier[0] = 1
    _, cache = batch_norm(outlier, np.ones(1), np.zeros(1), eps=1e-14)
    assert np.abs(cache.x_hat).max() == pytest.approx(math.sqrt(m - 1), rel=1e-6)
    heavy_tails = np.random.default_rng(m).standard_cauchy((m, 200))
    _, cache = batch_norm(heavy_tails, np.ones(200), np.zeros(200), eps=1e-14)
    assert np.abs(cache.x_hat).max() <= math.sqrt(m - 1) * (1 + 1e-12)


@pytest.mark.equation("eq-bn-inference")
def test_inference_uses_the_given_statistics(x):
    y = batch_norm_inference(column(x), *(np.array([value]) for value in (4.0, 2.0, -2.5, 0.7)), eps=EPS)
    np.testing.assert_allclose(y[:, 0], [-2.5 * (value - 4) / math.sqrt(2 + EPS) + 0.7 for value in x], rtol=1e-12)
