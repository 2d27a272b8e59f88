"""The equations of chapter 4.1: a formula against what is sampled, integrated or backpropagated."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import eval_hermitenorm
from scipy.stats import norm

from bncourse.lab import Gradients, MLPEnsemble, measure
from bncourse.reference import batch_norm, batch_norm_backward

pytestmark = pytest.mark.slow

SLOPES = {
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: 1 / (2 + np.exp(z) + np.exp(-z))),
    "relu": (lambda z: max(z, 0.0), lambda z: float(z > 0)),
    "cubic": (lambda z: 2 + 0.7 * z - 0.4 * z**2 + 0.3 * z**3, lambda z: 0.7 - 0.8 * z + 0.9 * z**2),
}


def expected(function, scale=1.0):
    """Mean over a normal variable of this scale, by adaptive quadrature."""
    return quad(lambda z: function(scale * z) * norm.pdf(z), -12, 12, points=[0], limit=200)[0]


def growth(activation):
    function, slope = SLOPES[activation]
    variance = expected(lambda z: function(z) ** 2) - expected(function) ** 2
    return expected(lambda z: slope(z) ** 2) / variance


def backpropagated(activation, batch_norm, width=512, depth=6, batch=256, gain=1.0, residual=None):
    """Squared gradient norms at the hidden layers, averaged over networks: a wide ensemble's, by autograd."""
    generator = np.random.default_rng(3)
    seeds = range(6)
    x = torch.from_numpy(generator.standard_normal((len(seeds), batch, width), dtype=np.float32))
    y = torch.from_numpy(generator.integers(10, size=(len(seeds), batch)))
    network = MLPEnsemble(
        (width, *(width,) * depth, 10), seeds, batch_norm, activation=activation, gain=gain, residual=residual
    )
    norms = measure(Gradients(), network, x, y)["activation_gradient"]
    return np.exp(np.log(norms**2).mean(axis=0))


@pytest.mark.equation("eq-backward-linear")
def test_the_variance_counts_inputs_not_outputs():
    """Catches sigma_w^2 times outputs by inputs, which agrees in square layers only. Tolerance: six standard errors."""
    rng, outputs, inputs, variance = np.random.default_rng(0), 30, 70, 1.7
    d = rng.normal(2, 3, outputs)
    draws = rng.normal(0, math.sqrt(variance / inputs), (4000, outputs, inputs))
    squares = np.square(d @ draws).sum(axis=-1)
    assert np.mean(squares) == pytest.approx(variance * d @ d, abs=6 * np.std(squares) / math.sqrt(len(squares)))


@pytest.mark.equation("eq-plain-growth")
@pytest.mark.parametrize("gain", [0.8, 1.5])
def test_growth_without_normalization(gain):
    """Of a tanh network, whose scale of z changes from layer to layer; a wrong layer's scale would miss by over 5 %."""
    function, slope = SLOPES["tanh"]
    squares = backpropagated("tanh", False, gain=gain)
    mean_square, told = 1.0, []
    for _ in range(6):
        scale = gain * math.sqrt(mean_square)
        told.append(gain**2 * expected(lambda z: slope(z) ** 2, scale))
        mean_square = expected(lambda z: function(z) ** 2, scale)
    np.testing.assert_allclose(squares[:-1] / squares[1:], told[1:], rtol=0.03)


@pytest.mark.equation("eq-sigmoid-bound")
@pytest.mark.parametrize("scale", [1e-3, 0.5, 3.0])
def test_a_sigmoid_loses_three_quarters_at_least(scale):
    """The bound holds at each scale and is reached where all values are near zero."""
    mean_square = expected(lambda z: SLOPES["sigmoid"][1](z) ** 2, scale)
    assert mean_square <= 1 / 16
    if scale == 1e-3:
        assert mean_square == pytest.approx(1 / 16, rel=1e-5)


@pytest.mark.equation("eq-bn-batch-variance")
def test_correlated_inputs_add_their_variances_only():
    """Inputs with unequal variances and large covariances; catches a mean square in the variance's place."""
    rng, variance = np.random.default_rng(1), 2.0
    common = rng.normal(size=(40, 1))
    h = np.maximum(rng.normal(1, 1, (40, 25)) * np.linspace(0.2, 2, 25) + common, 0)
    draws = rng.normal(0, math.sqrt(variance / 25), (40_000, 25))
    sampled = (draws @ h.T).var(axis=1)
    error = 6 * np.std(sampled) / math.sqrt(len(sampled))
    assert np.mean(sampled) == pytest.approx(variance / 25 * h.var(axis=0).sum(), abs=error)


@pytest.mark.equation("eq-projection-shares")
def test_shares_that_the_projections_remove():
    """Sampled in a batch of 400 that is symmetric, with a gradient that sums to zero on its arrival."""
    rng, m, units = np.random.default_rng(2), 400, 20_000
    x_hat = batch_norm(rng.normal(size=(m, units)), np.ones(units), np.zeros(units), eps=1e-12)[1].x_hat
    arriving = rng.normal(size=(m, units))
    d = (arriving - arriving.mean(axis=0)) * (x_hat > 0)
    whole = np.mean(np.sum(d**2, axis=0))
    shares = [m * np.mean(d.mean(axis=0) ** 2) / whole, m * np.mean((d * x_hat).mean(axis=0) ** 2) / whole]
    # A relative error of sqrt(2 / units) = 1 % for the mean of a squared normal, and O(1/m) of the limit.
    np.testing.assert_allclose(np.multiply(m, shares), [1 / 2, (math.pi - 1) / math.pi], rtol=0.05)


@pytest.mark.equation("eq-bn-growth")
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_growth_with_batch_norm_whatever_the_gain(activation):
    """Catches E[phi^2] in the variance's place (1 for ReLU), and a gain that does not cancel."""
    for gain in (0.5, 3.0):
        squares = backpropagated(activation, True, gain=gain)
        # Not the uppermost step: the gradient of the output layer is not one of a batch norm's.
        measured = (squares[0] / squares[-2]) ** (1 / 4)
        assert measured == pytest.approx(growth(activation), rel=0.02)


@pytest.mark.equation("eq-relu-variance")
def test_variance_of_a_relu():
    function = SLOPES["relu"][0]
    sampled = expected(lambda z: function(z) ** 2) - expected(function) ** 2
    assert sampled == pytest.approx((math.pi - 1) / (2 * math.pi), rel=1e-9)


@pytest.mark.equation("eq-relu-bn-growth")
def test_growth_of_a_relu():
    assert growth("relu") == pytest.approx(math.pi / (math.pi - 1), rel=1e-9)
    assert math.pi / (math.pi - 1) == pytest.approx(1.467, abs=5e-4)


@pytest.mark.equation("eq-hermite-degree")
@pytest.mark.parametrize("activation", ["cubic", "tanh", "sigmoid"])
def test_growth_is_the_mean_degree(activation):
    """Coefficients by projection on the normalized polynomials; catches those with degree 0 in the sum below."""
    function = SLOPES[activation][0]
    degrees = np.arange(1, 40)
    coefficients = [
        expected(lambda z, k=int(k): function(z) * eval_hermitenorm(k, z) / math.sqrt(math.factorial(k)))
        for k in degrees
    ]
    weights = np.square(coefficients)
    assert np.sum(degrees * weights) / np.sum(weights) == pytest.approx(growth(activation), rel=1e-3)
    assert growth(activation) > 1


@pytest.mark.equation("eq-relu-growth-batch")
@pytest.mark.parametrize("m", [9, 20])
def test_growth_at_a_batch_size(m):
    """One unit at a time: h from a symmetric batch below, z from fresh weights, d through batch norm's backward.

    Catches m - 2 or m - 4 in the denominator, 10 to 20 % off at m = 9, and a missing projection, 5 % and more.
    """
    rng, units, variance = np.random.default_rng(4), 100_000, 1.3
    ones, zeros = np.ones(units), np.zeros(units)
    below = batch_norm(rng.normal(size=(m, units)), ones, zeros, eps=1e-12)[1].x_hat
    second_moment = np.maximum(below, 0) @ np.maximum(below, 0).T / units
    pre = np.linalg.cholesky(variance * second_moment) @ rng.normal(size=(m, units))
    _, cache = batch_norm(pre, ones, zeros, eps=1e-12)
    arriving = rng.normal(size=(m, units))
    arriving -= arriving.mean(axis=0)
    dz, _, _ = batch_norm_backward(arriving * (cache.x_hat > 0), cache)
    sampled = variance * np.sum(dz**2) / np.sum(arriving**2)

    rho = -1 / (m - 1)
    p = (math.pi - math.acos(rho)) / math.pi
    c = math.sqrt(1 - rho**2) / math.pi + rho * p
    assert sampled == pytest.approx(((m - 1 + p) / (1 - c) - 1) / (m - 3), rel=0.015)


@pytest.mark.equation("eq-one-step-range")
def test_a_longer_matrix_has_a_shorter_gradient():
    """In a layer before batch norm, by autograd; one of the steps is long, so that a missing square shows."""
    torch.manual_seed(5)
    x, target = torch.randn(40, 7, dtype=torch.float64), torch.randn(40, 5, dtype=torch.float64)
    weight = torch.randn(5, 7, dtype=torch.float64)

    def gradient(w):
        w = w.clone().requires_grad_()
        hidden = torch.nn.functional.batch_norm(x @ w.T, None, None, training=True, eps=1e-12)
        return torch.autograd.grad((torch.relu(hidden) * target).sum(), w)[0]

    first = gradient(weight)
    for rate in (0.02, 0.4):
        longer = (weight - rate * first).norm() / weight.norm()
        told = first.norm() / torch.sqrt(1 + rate**2 * first.norm() ** 2 / weight.norm() ** 2)
        torch.testing.assert_close(gradient(longer * weight).norm(), told)
        torch.testing.assert_close(first.norm() / longer, told)
        assert told <= weight.norm() / rate


@pytest.mark.equation("eq-saturated-share")
def test_share_of_saturated_values():
    values = np.random.default_rng(6).normal(5, 3, (200_000, 1))
    z_hat, _ = batch_norm(values, np.ones(1), np.zeros(1))
    sampled = np.mean(np.abs(np.tanh(z_hat)) > 0.97)
    told = 2 * (1 - norm.cdf(math.atanh(0.97)))
    assert sampled == pytest.approx(told, rel=0.05)
    assert told == pytest.approx(0.036, abs=5e-4)


@pytest.mark.equation("eq-branch-variance")
def test_variance_grows_by_the_same_amount_in_each_block():
    """Two blocks with batch norm at their beginning, of a wide layer; catches the mean square, which is 1 for ReLU."""
    rng, width, batch = np.random.default_rng(8), 1500, 400
    h = rng.normal(0.5, 1.4, (batch, width))
    v = [h.var(axis=0).mean()]
    for _ in range(2):
        x_hat = batch_norm(h, np.ones(width), np.zeros(width))[1].x_hat
        h = h + np.maximum(x_hat, 0) @ rng.normal(0, math.sqrt(2 / width), (width, width))
        v.append(h.var(axis=0).mean())
    np.testing.assert_allclose(np.diff(v), 2 * (math.pi - 1) / (2 * math.pi), rtol=0.03)


@pytest.mark.equation("eq-branch-growth")
@pytest.mark.parametrize(("activation", "variance"), [("relu", 2.0), ("tanh", 1.0)])
def test_growth_with_branches(activation, variance):
    """Block by block: the first layer is linear alone, and leaves the variance of its weights."""
    function, slope = SLOPES[activation]
    squares = backpropagated(activation, True, residual="pre")
    added = variance * (expected(lambda z: function(z) ** 2) - expected(function) ** 2)
    v = variance + added * np.arange(5)
    told = 1 + variance * expected(lambda z: slope(z) ** 2) / v
    np.testing.assert_allclose(squares[:-1] / squares[1:], told, rtol=0.02)
