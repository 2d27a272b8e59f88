"""Chapter 1.3: centring as a projection, the sphere, and what the invariances say about gradients."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncourse.reference import (
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    batch_norm_inference_backward,
    moments,
    numeric_gradient,
    relative_error,
)

SEEDS = st.integers(0, 2**32 - 1)
EPS = 0.3  # large, so that a misplaced one shows


def one_feature(seed, m=7):
    """Values far from mean 0 and spread 1, and skewed."""
    return np.random.default_rng(seed).gamma(2, 3, m) + 5


def normalized(x, eps=EPS):
    """One feature, or a column a feature."""
    columns = x.reshape(len(x), -1)
    features = columns.shape[1]
    return batch_norm(columns, np.ones(features), np.zeros(features), eps)[1].x_hat.reshape(x.shape)


def centring(m):
    return np.array([[(i == j) - 1 / m for j in range(m)] for i in range(m)])


@pytest.mark.equation("eq-centring")
@given(SEEDS)
def test_the_matrix_subtracts_the_mean(seed):
    """By the package's own statistics, which the transform subtracts."""
    x = one_feature(seed)
    np.testing.assert_allclose(x - moments(x, axis=0).mean, centring(7) @ x, atol=1e-12)


@pytest.mark.equation("eq-centring-projection")
@pytest.mark.parametrize("m", [2, 3, 10])
def test_centring_is_the_projection_orthogonal_to_the_ones(m):
    """Against the projection built from an orthonormal basis of what is orthogonal to the ones."""
    p = centring(m)
    np.testing.assert_allclose(p @ p, p, atol=1e-14)
    np.testing.assert_array_equal(p.T, p)
    np.testing.assert_allclose(p @ np.ones(m), 0, atol=1e-14)
    assert np.linalg.matrix_rank(p) == m - 1
    basis = np.linalg.svd(np.ones((1, m)))[2][1:]
    np.testing.assert_allclose(basis.T @ basis, p, atol=1e-14)


@pytest.mark.equation("eq-batch-pythagoras")
@given(SEEDS)
def test_squared_length_is_that_of_the_mean_and_of_the_deviations(seed):
    """Catches the unbiased variance."""
    x = one_feature(seed)
    assert math.fsum(x**2) == pytest.approx(7 * np.mean(x) ** 2 + 7 * np.var(x), rel=1e-12)


@pytest.mark.equation("eq-bn-polar")
@given(SEEDS, st.floats(-2, 2))
def test_normalizing_keeps_the_direction_and_replaces_the_length(seed, magnitude):
    x = 10**magnitude * one_feature(seed)
    centred = centring(7) @ x
    rho = np.var(x) / (np.var(x) + EPS)
    polar = math.sqrt(7 * rho) * centred / np.linalg.norm(centred)
    np.testing.assert_allclose(normalized(x), polar, rtol=1e-9, atol=1e-12)


@pytest.mark.equation("eq-batch-coordinates")
@given(SEEDS)
def test_a_batch_is_its_location_scale_and_direction(seed):
    """The direction is taken from the transform, so that nothing but mean and spread is added to what it keeps."""
    x = one_feature(seed)
    u = normalized(x, eps=1e-14)
    u = u / np.linalg.norm(u)
    np.testing.assert_allclose(np.mean(x) + np.std(x) * math.sqrt(7) * u, x, rtol=1e-10)


@pytest.mark.equation("eq-bn-correlation")
@given(SEEDS)
def test_dot_products_are_correlations(seed):
    rng = np.random.default_rng(seed)
    x = rng.gamma(2, 3, (9, 3)) @ rng.normal(size=(3, 3)) + 5
    x_hat = normalized(x)
    rho = x.var(axis=0) / (x.var(axis=0) + EPS)
    expected = np.sqrt(np.outer(rho, rho)) * np.corrcoef(x.T)
    np.testing.assert_allclose(x_hat.T @ x_hat / 9, expected, atol=1e-12)


@pytest.mark.equation("eq-bn-invariance")
@given(SEEDS, st.floats(0.01, 100), st.sampled_from([-1, 1]), st.floats(-100, 100))
def test_a_factor_acts_on_eps_and_on_the_sign_and_a_shift_not_at_all(seed, factor, sign, shift):
    """Both sides of the formula, and both sides through the transform. Catches eps / a for eps / a^2."""
    x, a = one_feature(seed), sign * factor
    centred = centring(7) @ x
    left = a * centred / np.sqrt(a**2 * np.var(x) + EPS)
    right = sign * centred / np.sqrt(np.var(x) + EPS / a**2)
    np.testing.assert_allclose(left, right, rtol=1e-9)
    np.testing.assert_allclose(normalized(a * x + shift), right, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(sign * normalized(x, EPS / a**2), left, rtol=1e-7, atol=1e-9)


def test_mixing_features_is_seen():
    """No equation of its own. Catches whitening, which would follow the rotation with a rotation."""
    rng = np.random.default_rng(3)
    x = rng.gamma(2, 3, (8, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]])
    turn = np.array([[1, -1], [1, 1]]) / math.sqrt(2)
    alone, mixed = normalized(x), normalized(x @ turn)
    assert relative_error(mixed, alone) > 0.1
    assert relative_error(mixed @ mixed.T, alone @ alone.T) > 0.1


class Unit:
    """A linear unit before batch norm, and a loss whose gradient by y is not constant: sum of c * y + y^3 / 3."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.inputs, self.weights = rng.normal(1, 2, (9, 4)), rng.normal(size=4)
        self.bias, self.c = rng.normal(), rng.normal(1, 1, (9, 1))
        self.gamma, self.beta = rng.uniform(0.5, 2, 1), rng.normal(size=1)

    def layer(self, weights, bias, eps):
        return batch_norm((self.inputs @ weights + bias)[:, None], self.gamma, self.beta, eps)

    def loss(self, weights=None, bias=None, eps=EPS):
        y, _ = self.layer(*self._given(weights, bias), eps)
        return np.array(np.sum(self.c * y + y**3 / 3))

    def gradients(self, weights=None, bias=None, eps=EPS):
        """With respect to the weights and the bias, by the package's backward pass."""
        y, cache = self.layer(*self._given(weights, bias), eps)
        dx, _, _ = batch_norm_backward(self.c + y**2, cache)
        return self.inputs.T @ dx[:, 0], dx.sum()

    def _given(self, weights, bias):
        return self.weights if weights is None else weights, self.bias if bias is None else bias


@pytest.mark.equation("eq-weight-invariance")
@given(SEEDS, st.floats(0.1, 10), st.floats(-10, 10))
def test_weights_scale_and_bias_does_nothing(seed, a, bias):
    unit = Unit(seed)
    tampered = normalized(unit.inputs @ (a * unit.weights) + bias)
    np.testing.assert_allclose(tampered, normalized(unit.inputs @ unit.weights, EPS / a**2), atol=1e-9)


@pytest.mark.equation("eq-bias-gradient")
@given(SEEDS)
def test_the_bias_has_no_gradient_in_training_and_one_in_inference(seed):
    """By the backward pass and by differences. The second half catches a check that any layer would pass."""
    unit = Unit(seed)
    weights, bias = unit.gradients()
    assert abs(bias) < 1e-10 * np.abs(weights).max()
    by_differences = numeric_gradient(lambda b: unit.loss(bias=b), np.array(unit.bias))
    assert abs(by_differences) < 1e-6 * np.abs(weights).max()

    x = (unit.inputs @ unit.weights + unit.bias)[:, None]
    statistics = x.mean(axis=0), x.var(axis=0)
    y = batch_norm_inference(x, *statistics, unit.gamma, unit.beta, EPS)
    dx, _, _ = batch_norm_inference_backward(unit.c + y**2, x, *statistics, unit.gamma, EPS)
    assert abs(dx.sum()) > 1e-6 * np.abs(dx).max()


@pytest.mark.equation("eq-gradient-scale")
@given(SEEDS, st.floats(0.2, 5))
def test_the_gradient_of_longer_weights_is_shorter(seed, a):
    """Left by differences, right by the backward pass."""
    unit = Unit(seed)
    left = numeric_gradient(lambda w: unit.loss(w), a * unit.weights)
    right = unit.gradients(eps=EPS / a**2)[0] / a
    assert relative_error(left, right) < 1e-5


@pytest.mark.equation("eq-weight-orthogonal")
@given(SEEDS, st.floats(0.01, 10))
def test_the_gradient_along_the_weights_is_what_eps_leaves(seed, eps):
    """Left by differences and by the backward pass, right from the definition; the step by differences in eps."""
    unit = Unit(seed)
    gradient, _ = unit.gradients(eps=eps)
    along = numeric_gradient(lambda a: unit.loss(weights=a * unit.weights, eps=eps), np.array(1.0))
    x = unit.inputs @ unit.weights
    x_hat = ((x - x.mean()) / np.sqrt(x.var() + eps))[:, None]
    products = x_hat * unit.gamma * (unit.c + (unit.gamma * x_hat + unit.beta) ** 2)
    scale = np.abs(products).sum()
    assert along == pytest.approx(eps / (x.var() + eps) * products.sum(), rel=1e-6, abs=1e-6 * scale)
    assert unit.weights @ gradient == pytest.approx(along, rel=1e-6, abs=1e-6 * scale)
    by_eps = (unit.loss(eps=eps * (1 + 1e-5)) - unit.loss(eps=eps * (1 - 1e-5))) / (2e-5 * eps)
    assert along == pytest.approx(-2 * eps * by_eps, rel=1e-5, abs=1e-5 * scale)


def test_the_gradient_is_orthogonal_to_the_weights_without_eps():
    unit = Unit(5)
    gradient, _ = unit.gradients(eps=1e-12)
    cosine = unit.weights @ gradient / np.linalg.norm(unit.weights) / np.linalg.norm(gradient)
    assert abs(cosine) < 1e-10


@pytest.mark.equation("eq-norm-growth")
@given(SEEDS, st.floats(0.01, 1))
def test_a_step_lengthens_the_weights(seed, rate):
    """The identity with a large eps, where all three terms matter; the growth with a small one."""
    unit = Unit(seed)
    for eps in (EPS, 1e-12):
        g, _ = unit.gradients(eps=eps)
        after = math.fsum((unit.weights - rate * g) ** 2)
        before, step, along = (math.fsum(v) for v in (unit.weights**2, (rate * g) ** 2, unit.weights * g))
        assert after == pytest.approx(before + step - 2 * rate * along, rel=1e-10)
    assert abs(2 * along / rate) < 0.01 * math.fsum(g**2)
    assert after > before
