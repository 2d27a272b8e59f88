"""The equations of part 2, both sides evaluated on random input; finite differences are the independent side."""

import numpy as np
import pytest

from bncourse.reference import batch_norm, batch_norm_backward, batch_norm_inference, numeric_gradient, relative_error

EPS = 0.3  # large, so that a misplaced or forgotten one shows
M = 7


@pytest.fixture
def one():
    """One feature: x, gamma, beta, dy and the cache; dy has a mean and is correlated with x_hat."""
    rng = np.random.default_rng(5)
    x = rng.gamma(2, 3, (M, 1)) + 5
    gamma, beta = np.array([-1.7]), np.array([0.4])
    _, cache = batch_norm(x, gamma, beta, EPS)
    dy = 1.5 + 0.8 * cache.x_hat + rng.normal(size=(M, 1))
    return x, gamma, beta, dy, cache


def numeric_jacobian(x):
    """Row i: the gradient of the i-th normalized value, by finite differences."""
    rows = [
        numeric_gradient(lambda x, i=i: batch_norm(x, np.ones(1), np.zeros(1), EPS)[0][i], x)[:, 0]
        for i in range(len(x))
    ]
    return np.stack(rows)


def jacobian(cache):
    x_hat, s = cache.x_hat[:, 0], cache.inv_std[0]
    return s * (np.eye(M) - np.ones((M, M)) / M - np.outer(x_hat, x_hat) / M)


@pytest.mark.equation("eq-bn-jacobian")
def test_jacobian_entry_by_entry(one):
    x, _, _, _, cache = one
    numeric, x_hat, s = numeric_jacobian(x), cache.x_hat[:, 0], cache.inv_std[0]
    for i in range(M):
        for j in range(M):
            assert s * ((i == j) - 1 / M - x_hat[i] * x_hat[j] / M) == pytest.approx(numeric[i, j], abs=1e-8)


@pytest.mark.equation("eq-bn-jacobian-matrix")
def test_jacobian_as_a_matrix(one):
    x, _, _, _, cache = one
    assert relative_error(jacobian(cache), numeric_jacobian(x)) < 1e-8


@pytest.mark.equation("eq-bn-dx")
def test_dx(one):
    """Catches either subtraction left out: dy has a mean and is correlated with x_hat."""
    x, gamma, beta, dy, cache = one
    x_hat = cache.x_hat
    formula = gamma * cache.inv_std * (dy - dy.mean() - x_hat * (dy * x_hat).mean())
    numeric = numeric_gradient(lambda x: batch_norm(x, gamma, beta, EPS)[0], x, dy)
    assert relative_error(formula, numeric) < 1e-8
    assert relative_error(formula, batch_norm_backward(dy, cache)[0]) < 1e-14


@pytest.mark.equation("eq-bn-dgamma")
def test_dgamma_is_a_sum_against_x_hat(one):
    x, gamma, beta, dy, cache = one
    numeric = numeric_gradient(lambda gamma: batch_norm(x, gamma, beta, EPS)[0], gamma, dy)
    assert sum(dy[:, 0] * cache.x_hat[:, 0]) == pytest.approx(numeric[0], rel=1e-8)


@pytest.mark.equation("eq-bn-dbeta")
def test_dbeta_is_a_sum(one):
    x, gamma, beta, dy, _ = one
    numeric = numeric_gradient(lambda beta: batch_norm(x, gamma, beta, EPS)[0], beta, dy)
    assert sum(dy[:, 0]) == pytest.approx(numeric[0], rel=1e-8)


def rho(x):
    return x.var() / (x.var() + EPS)


@pytest.mark.equation("eq-bn-length")
def test_squared_length_of_x_hat(one):
    x, _, _, _, cache = one
    assert np.sum(cache.x_hat**2) == pytest.approx(M * rho(x), rel=1e-12)


@pytest.mark.equation("eq-bn-two-projections")
def test_the_jacobian_is_a_product_of_two_factors_that_commute(one):
    *_, cache = one
    x_hat = cache.x_hat[:, 0]
    offset, scale = np.eye(M) - np.ones((M, M)) / M, np.eye(M) - np.outer(x_hat, x_hat) / M
    np.testing.assert_allclose(cache.inv_std * offset @ scale, jacobian(cache), atol=1e-14)
    np.testing.assert_allclose(offset @ scale, scale @ offset, atol=1e-14)


@pytest.mark.equation("eq-bn-spectrum")
def test_eigenvalues(one):
    x, _, _, _, cache = one
    s = cache.inv_std[0]
    expected = np.sort([0, s * (1 - rho(x)), *[s] * (M - 2)])
    np.testing.assert_allclose(np.sort(np.linalg.eigvalsh(numeric_jacobian(x))), expected, atol=1e-8)


@pytest.mark.equation("eq-bn-dx-sum")
def test_dx_sums_to_zero(one):
    x, gamma, beta, dy, _ = one
    numeric = numeric_gradient(lambda x: batch_norm(x, gamma, beta, EPS)[0], x, dy)
    assert abs(numeric.sum()) < 1e-8 * np.abs(numeric).sum()


@pytest.mark.equation("eq-bn-dx-along")
def test_dx_along_x_hat_is_what_eps_lets_through(one):
    x, gamma, beta, dy, cache = one
    numeric = numeric_gradient(lambda x: batch_norm(x, gamma, beta, EPS)[0], x, dy)
    dgamma = np.sum(dy * cache.x_hat)
    assert np.sum(cache.x_hat * numeric) == pytest.approx((gamma * cache.inv_std * (1 - rho(x)) * dgamma)[0], rel=1e-6)


@pytest.mark.equation("eq-bn-dx-norm")
def test_the_size_of_dx_without_eps(one):
    x, gamma, beta, dy, _ = one
    _, cache = batch_norm(x, gamma, beta, eps=1e-13)
    numeric = numeric_gradient(lambda x: batch_norm(x, gamma, beta, 1e-13)[0], x, dy)
    bracket = np.sum(dy**2) - M * dy.mean() ** 2 - M * (dy * cache.x_hat).mean() ** 2
    assert np.sum(numeric**2) == pytest.approx((gamma**2 * cache.inv_std**2 * bracket)[0], rel=1e-7)


@pytest.mark.equation("eq-bn-dx-frozen")
def test_dx_with_frozen_statistics(one):
    x, gamma, beta, dy, _ = one
    mean, var = np.array([4.0]), np.array([2.0])
    numeric = numeric_gradient(lambda x: batch_norm_inference(x, mean, var, gamma, beta, EPS), x, dy)
    assert relative_error(gamma / np.sqrt(var + EPS) * dy, numeric) < 1e-8
