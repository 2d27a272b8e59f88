"""The equations of chapter 2.7; finite differences of the forward and the backward pass are the independent side."""

import numpy as np
import pytest

from bncourse.reference import batch_norm, batch_norm_backward, batch_norm_double_backward, numeric_gradient

EPS = 0.3  # large, so that a misplaced or forgotten one shows
M = 7
GAMMA, W, U = np.array([-1.7]), np.array([0.8]), np.array([-0.6])


@pytest.fixture
def one():
    """One feature: x, g and v with means and correlated with x_hat, and the cache."""
    rng = np.random.default_rng(5)
    x = rng.gamma(2, 3, (M, 1)) + 5
    _, cache = batch_norm(x, GAMMA, np.zeros(1), EPS)
    g = 1.5 + 0.8 * cache.x_hat + rng.normal(size=(M, 1))
    v = 0.5 - 0.7 * cache.x_hat + rng.normal(size=(M, 1))
    return x, g, v, cache


def project(v, x_hat):
    return v - v.mean() - x_hat * (v * x_hat).mean()


def phi(x, gamma, g, v):
    """What a loss sees of the backward pass, weighed with the fixed v, W and U."""
    dx, dgamma, dbeta = batch_norm_backward(g, batch_norm(x, gamma, np.zeros(1), EPS)[1])
    return np.sum(v * dx) + (W * dgamma + U * dbeta)[0]


@pytest.mark.equation("eq-bn-projector")
def test_p_is_the_symmetric_matrix_of_the_jacobian(one):
    """The right side against the matrix, and against J = s P and its transpose from finite differences."""
    x, g, v, cache = one
    x_hat = cache.x_hat[:, 0]
    matrix = np.eye(M) - np.ones((M, M)) / M - np.outer(x_hat, x_hat) / M
    np.testing.assert_allclose(project(v, cache.x_hat)[:, 0], matrix @ v[:, 0], rtol=1e-12)
    numeric = numeric_gradient(lambda x: batch_norm(x, np.ones(1), np.zeros(1), EPS)[0], x, v)
    np.testing.assert_allclose(cache.inv_std * project(v, cache.x_hat), numeric, atol=1e-9)
    assert np.sum(v * project(g, cache.x_hat)) == pytest.approx(np.sum(g * project(v, cache.x_hat)), rel=1e-12)


@pytest.mark.equation("eq-bn-double-scalar")
def test_phi_is_what_the_loss_sees(one):
    x, g, v, cache = one
    right = GAMMA * cache.inv_std * np.sum(v * project(g, cache.x_hat)) + W * np.sum(g * cache.x_hat) + U * np.sum(g)
    assert right[0] == pytest.approx(phi(x, GAMMA, g, v), rel=1e-12)


@pytest.mark.equation("eq-bn-double-dy")
def test_gradient_for_dy(one):
    x, g, v, cache = one
    right = GAMMA * cache.inv_std * project(v, cache.x_hat) + W * cache.x_hat + U
    np.testing.assert_allclose(right, numeric_gradient(lambda g: phi(x, GAMMA, g, v), g), atol=1e-8)
    np.testing.assert_allclose(right, batch_norm_double_backward(v, g, cache, W, U)[2], rtol=1e-12)


@pytest.mark.equation("eq-bn-double-gamma")
def test_gradient_for_gamma(one):
    x, g, v, cache = one
    right = cache.inv_std * np.sum(v * project(g, cache.x_hat))
    np.testing.assert_allclose(right, numeric_gradient(lambda gamma: phi(x, gamma, g, v), GAMMA), rtol=1e-8)
    np.testing.assert_allclose(right, batch_norm_double_backward(v, g, cache, W, U)[1], rtol=1e-12)


@pytest.mark.equation("eq-bn-double-x")
def test_gradient_for_x(one):
    """Catches any of the four terms left out, and P taken for a projection: each is far above the tolerance."""
    x, g, v, cache = one
    x_hat, s = cache.x_hat, cache.inv_std
    pg, pv = project(g, x_hat), project(v, x_hat)
    terms = [
        W * s * pg,
        -GAMMA * s**2 * x_hat * (v * pg).mean(),
        -GAMMA * s**2 * pg * (v * x_hat).mean(),
        -GAMMA * s**2 * pv * (g * x_hat).mean(),
    ]
    numeric = numeric_gradient(lambda x: phi(x, GAMMA, g, v), x)
    np.testing.assert_allclose(sum(terms), numeric, atol=1e-8)
    np.testing.assert_allclose(sum(terms), batch_norm_double_backward(v, g, cache, W, U)[0], rtol=1e-10)
    assert all(np.abs(term).max() > 1e-3 for term in terms)
    idempotent = terms[1] * (pv * pg).mean() / (v * pg).mean()
    assert np.abs(idempotent - terms[1]).max() > 1e-6


@pytest.mark.equation("eq-bn-potential")
def test_the_normalized_values_are_the_gradient_of_the_standard_deviation(one):
    x, _, _, cache = one
    numeric = numeric_gradient(lambda x: M * np.sqrt(x.var() + EPS), x)
    np.testing.assert_allclose(cache.x_hat, numeric, atol=1e-8)
