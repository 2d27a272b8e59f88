"""The equations of chapter 6.1: both sides, on asymmetric input, by sampling or by autograd."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from bncourse.lab import Gradients, MLPEnsemble, measure
from bncourse.reference import batch_norm


def standardized(x, eps=1e-12):
    return batch_norm(x, np.ones(x.shape[1]), np.zeros(x.shape[1]), eps=eps)[0]


def relu(x):
    return np.maximum(x, 0)


@pytest.mark.equation("eq-active-share")
@pytest.mark.parametrize(("gamma", "beta"), [(1.0, 0.0), (0.7, -0.5), (-2.0, 1.1)])
def test_active_share(gamma, beta):
    """Catches beta / gamma with a negative gamma. Six standard errors of 200 000 draws."""
    x_hat = standardized(np.random.default_rng(0).normal(4, 3, (200_000, 1)))
    share = np.mean(gamma * x_hat + beta > 0)
    assert share == pytest.approx(norm.cdf(beta / abs(gamma)), abs=0.007)


@pytest.mark.equation("eq-centred-gradient")
def test_weights_before_batch_norm_learn_from_centred_inputs():
    """By autograd; inputs with large means, so that a layer without batch norm behind it tells them apart."""
    rng = np.random.default_rng(1)
    h, target = (torch.from_numpy(rng.normal(5, 2, (40, width))) for width in (7, 3))
    weight = torch.from_numpy(rng.normal(size=(3, 7))).requires_grad_()

    def both_sides(normalize):
        z = h @ weight.T
        y = torch.nn.functional.batch_norm(z, None, None, training=True) if normalize else z
        loss = (torch.tanh(y) * target).mean()
        dw, delta = torch.autograd.grad(loss, (weight, z))
        torch.testing.assert_close(delta.T @ h, dw)
        return dw, delta.T @ (h - h.mean(dim=0))

    torch.testing.assert_close(*both_sides(True))
    plain, centred = both_sides(False)
    assert not torch.allclose(plain, centred, rtol=0.1)


@pytest.mark.equation("eq-after-moments")
def test_moments_behind_the_next_map():
    """Correlated units; catches the covariance or the identity in place of the correlation."""
    rng = np.random.default_rng(2)
    h = relu(rng.normal(0.3, 1, (50, 6)) @ rng.normal(size=(6, 6)))
    gamma, beta, w, b = rng.uniform(0.5, 2, 6), rng.normal(size=6), rng.normal(size=6), -0.7
    z = batch_norm(h, gamma, beta, eps=1e-12)[0] @ w + b
    correlation = np.corrcoef(h.T)
    assert np.abs(correlation - np.eye(6)).max() > 0.2
    assert z.mean() == pytest.approx(w @ beta + b)
    assert z.var() == pytest.approx((w * gamma) @ correlation @ (w * gamma))


@pytest.mark.equation("eq-after-scale")
@pytest.mark.parametrize("a", [0.1, 3.0])
def test_a_relu_passes_a_factor_on_to_batch_norm_and_tanh_does_not(a):
    """With an eps large enough to be seen, which catches eps * a^2 and an eps that is left as it was."""
    z = np.random.default_rng(3).normal(0.4, 1, (30, 5))
    for function, invariant in ((relu, True), (np.tanh, False)):
        left, right = standardized(function(a * z), eps=0.05), standardized(function(z), eps=0.05 / a**2)
        assert np.allclose(left, right, rtol=1e-9) == invariant
        assert not np.allclose(left, standardized(function(z), eps=0.05), rtol=1e-2)


@pytest.mark.equation("eq-after-growth")
@pytest.mark.parametrize(("activation", "gain"), [("relu", 1.0), ("tanh", 0.4), ("tanh", 2.0), ("sigmoid", 3.0)])
def test_growth_with_batch_norm_after_the_activation(activation, gain):
    """A wide ensemble's gradients by autograd; catches the formula of the other place, which has no gain."""
    functions = {
        "relu": (relu, lambda z: float(z > 0)),
        "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
        "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: 1 / (2 + np.exp(z) + np.exp(-z))),
    }
    function, slope = functions[activation]
    scale = gain * math.sqrt(2 if activation == "relu" else 1)

    def expected(values):
        return quad(lambda z: values(scale * z) * norm.pdf(z), -12, 12, points=[0], limit=200)[0]

    variance = expected(lambda z: function(z) ** 2) - expected(function) ** 2
    told = scale**2 * expected(lambda z: slope(z) ** 2) / variance

    rng = np.random.default_rng(4)
    x = torch.from_numpy(rng.standard_normal((6, 256, 512), dtype=np.float32))
    y = torch.from_numpy(rng.integers(10, size=(6, 256)))
    order = ("activation", "norm", "dropout")
    network = MLPEnsemble((512,) * 7 + (10,), range(6), True, activation=activation, order=order, gain=gain)
    norms = measure(Gradients(), network, x, y)["activation_gradient"]
    squares = np.exp(np.log(norms**2).mean(axis=0))
    # Not the uppermost step: the gradient of the output layer is not one of a batch norm's.
    assert (squares[0] / squares[-2]) ** (1 / 4) == pytest.approx(told, rel=0.02)
    if activation == "relu":
        assert told == pytest.approx(math.pi / (math.pi - 1))


@pytest.mark.equation("eq-zero-image")
def test_where_batch_norm_sends_the_zeros_of_a_relu():
    h = relu(np.random.default_rng(6).normal(size=(400_000, 1)))
    (image,) = np.unique(standardized(h)[h == 0])
    mean, variance = 1 / math.sqrt(2 * math.pi), (math.pi - 1) / (2 * math.pi)
    assert -mean / math.sqrt(variance) == pytest.approx(-1 / math.sqrt(math.pi - 1))
    assert image == pytest.approx(-1 / math.sqrt(math.pi - 1), rel=0.01)


@pytest.mark.equation("eq-rectified-kurtosis")
def test_kurtosis_of_a_rectified_normal_variable():
    def expected(values):
        return quad(lambda z: values(max(z, 0.0)) * norm.pdf(z), -12, 12, points=[0], limit=200)[0]

    mean = expected(lambda h: h)
    second, fourth = (expected(lambda h, power=power: (h - mean) ** power) for power in (2, 4))
    assert fourth / second**2 == pytest.approx((6 * math.pi**2 - 10 * math.pi - 3) / (math.pi - 1) ** 2, rel=1e-9)


@pytest.mark.equation("eq-same-function")
def test_an_inner_batch_norm_changes_nothing_between_standardized_values_and_a_relu():
    """And changes something where what enters the map has a mean, or behind tanh."""
    rng = np.random.default_rng(7)
    x = rng.normal(1, 2, (60, 5))
    weight = rng.normal(size=(5, 8))
    for function, u, same in ((relu, standardized(x), True), (relu, x, False), (np.tanh, standardized(x), False)):
        inner = standardized(function(standardized(u @ weight)))
        assert np.allclose(inner, standardized(function(u @ weight)), atol=1e-9) == same


@pytest.mark.equation("eq-same-function")
@pytest.mark.parametrize(("both_sides", "smallest", "largest"), [(True, 0, 1e-9), (False, 0.02, 0.2)])
def test_before_and_last_is_close_to_after_and_not_the_same(both_sides, smallest, largest):
    """Two ReLU layers. Batch norm on both sides of a ReLU is exactly that behind it; without the inner ones, nearly."""
    rng = np.random.default_rng(8)
    x = standardized(rng.normal(size=(400, 20)))
    first, second = rng.normal(size=(20, 30)), rng.normal(size=(30, 30))
    after = standardized(relu(standardized(relu(x @ first)) @ second))
    h = relu(standardized(x @ first))
    other = standardized(relu(standardized((standardized(h) if both_sides else h) @ second)))
    assert smallest <= np.sqrt(np.mean((after - other) ** 2)) < largest
