"""Chapter 4.5: how far a step may go, and what scale invariance does to second derivatives."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bncourse.experiments.landscape.relative import RelativeLandscape
from bncourse.lab import MLPEnsemble, digits, measure

SEEDS = st.integers(0, 2**32 - 1)


def logistic(seed):
    """Loss and gradient of a logistic regression, and a bound of its curvature: slopes of a sigmoid are 1/4 at most."""
    generator = np.random.default_rng(seed)
    x, y = generator.normal(0.5, 2, (9, 4)), generator.integers(2, size=9)
    w = generator.normal(0, 1, 4)

    def loss(w):
        return np.mean(np.logaddexp(0, x @ w) - y * (x @ w))

    def gradient(w):
        return x.T @ (1 / (1 + np.exp(-x @ w)) - y) / len(y)

    return w, loss, gradient, np.linalg.norm(x, 2) ** 2 / (4 * len(y))


def quadratic(seed):
    """A quadratic function at a point on its steepest axis, where all bounds are met."""
    generator = np.random.default_rng(seed)
    values, vectors = np.array([0.1, 0.7, 3.0]), np.linalg.qr(generator.normal(size=(3, 3)))[0]
    hessian = vectors @ np.diag(values) @ vectors.T
    return generator.uniform(0.5, 2) * vectors[:, 2], lambda w: w @ hessian @ w / 2, lambda w: hessian @ w, 3.0


def invariant(seed, features=5, units=3, batch=8):
    """A loss of the weights before a batch norm without eps, in float64."""
    generator = torch.Generator().manual_seed(seed % 2**63)
    x, target = (torch.randn(batch, size, generator=generator, dtype=torch.float64) for size in (features, units))
    w = torch.randn(units * features, generator=generator, dtype=torch.float64)

    def loss(w):
        h = x @ w.reshape(units, features).T
        normalized = (h - h.mean(0)) / h.std(0, correction=0)
        return ((torch.tanh(1.3 * normalized + 0.4) - target) ** 2).mean() + (normalized[:, 0] ** 3).mean()

    return w, loss


def gradient_of(loss, w):
    w = w.clone().requires_grad_()
    return torch.autograd.grad(loss(w), w)[0]


def hessian_of(loss, w):
    return torch.autograd.functional.hessian(loss, w)


@pytest.mark.equation("eq-step-expansion")
@pytest.mark.parametrize("seed", range(6))
def test_what_the_expansion_leaves_out_shrinks_with_the_cube_of_the_step(seed):
    """Catches a lost factor one half, which would leave a remainder of second order."""
    w, loss = invariant(seed)
    g, h = gradient_of(loss, w), hessian_of(loss, w)
    unit = g / g.norm()
    scale = w.norm() / 3000

    def left_out(eta):
        direction = eta * unit
        return float(loss(w - direction) - (loss(w) - direction @ g + direction @ h @ direction / 2))

    coarse, fine = left_out(2 * scale), left_out(scale)
    assert abs(coarse - 8 * fine) <= 0.2 * abs(coarse) + 1e-13


@pytest.mark.equation("eq-descent-bound")
@given(SEEDS, st.floats(0.01, 3))
def test_a_step_lowers_the_loss_by_what_smoothness_promises(seed, share):
    w, loss, gradient, beta = logistic(seed)
    eta, g = share / beta, gradient(w)
    assert loss(w - eta * g) <= loss(w) - eta * (1 - eta * beta / 2) * g @ g + 1e-12
    w, loss, gradient, beta = quadratic(seed)
    eta, g = share / beta, gradient(w)
    np.testing.assert_allclose(loss(w - eta * g), loss(w) - eta * (1 - eta * beta / 2) * g @ g, rtol=1e-9, atol=1e-12)


@pytest.mark.equation("eq-step-bound")
@given(SEEDS)
def test_below_the_bound_the_loss_falls_and_above_it_may_rise(seed):
    w, loss, gradient, beta = logistic(seed)
    assert loss(w - 1.99 / beta * gradient(w)) < loss(w)
    w, loss, gradient, beta = quadratic(seed)
    assert loss(w - 1.99 / beta * gradient(w)) < loss(w) < loss(w - 2.01 / beta * gradient(w))


@pytest.mark.equation("eq-best-gain")
@given(SEEDS)
def test_the_gain_of_the_best_step(seed):
    w, loss, gradient, beta = logistic(seed)
    g = gradient(w)
    assert loss(w) - loss(w - g / beta) >= g @ g / (2 * beta) - 1e-12
    w, loss, gradient, beta = quadratic(seed)
    g = gradient(w)
    np.testing.assert_allclose(loss(w) - loss(w - g / beta), g @ g / (2 * beta), rtol=1e-9)


@pytest.mark.equation("eq-hessian-scale")
@given(SEEDS, st.floats(0.2, 5))
@settings(max_examples=20)
def test_weights_twice_as_long_have_a_quarter_of_the_curvature(seed, factor):
    w, loss = invariant(seed)
    torch.testing.assert_close(hessian_of(loss, factor * w), hessian_of(loss, w) / factor**2, rtol=1e-8, atol=1e-9)


@pytest.mark.equation("eq-hessian-radial")
@given(SEEDS)
@settings(max_examples=20)
def test_the_hessian_takes_the_weights_to_the_negative_gradient(seed):
    w, loss = invariant(seed)
    g = gradient_of(loss, w)
    torch.testing.assert_close(hessian_of(loss, w) @ w, -g, rtol=1e-7, atol=1e-9)
    assert g.norm() > 1e-3


@pytest.mark.equation("eq-negative-curvature")
@given(SEEDS)
@settings(max_examples=20)
def test_the_smallest_curvature_is_below_that_of_the_plane_of_weights_and_gradient(seed):
    """In two dimensions that plane is everything, so that both sides are equal."""
    for size, equal in (({"units": 1, "features": 2}, True), ({}, False)):
        w, loss = invariant(seed, **size)
        g, h = gradient_of(loss, w), hessian_of(loss, w)
        along = g @ h @ g / (g @ g)
        bound = along / 2 - torch.sqrt(along**2 / 4 + (g @ g) / (w @ w))
        smallest = torch.linalg.eigvalsh(h)[0]
        assert bound < 0
        if equal:
            torch.testing.assert_close(smallest, bound, rtol=1e-6, atol=1e-9)
        else:
            assert smallest <= bound + 1e-9


def small_network(batch_norm):
    network = MLPEnsemble((64, 6, 5, 10), (3,), batch_norm, activation="tanh").double().train()
    data = digits()
    return network, data.train_x[:30].double().unsqueeze(0), data.train_y[:30].unsqueeze(0)


def relative_gradient(network, x, y, steps=None):
    """By the chain rule's other side: autograd with respect to the relative weights themselves."""
    norms = [weight.detach().norm() for weight in network.weights[:-1]]
    units = [w.detach() / norm for w, norm in zip(network.weights[:-1], norms, strict=True)]
    units = [u - step for u, step in zip(units, steps, strict=True)] if steps else units
    units = [u.requires_grad_() for u in units]
    names = [f"layers.{layer}.linear.weight" for layer in range(len(units))]
    weights = {name: norm * unit for name, norm, unit in zip(names, norms, units, strict=True)}
    logits = torch.func.functional_call(network, weights, (x,))
    return torch.autograd.grad(torch.nn.functional.cross_entropy(logits, y), units)


@pytest.mark.equation("eq-relative-gradient")
@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_gradient_of_relative_weights_is_the_gradient_times_the_norm(batch_norm):
    network, x, y = small_network(batch_norm)
    weights = network.weights[:-1]
    plain = torch.autograd.grad(torch.nn.functional.cross_entropy(network(x), y), weights)
    for weight, gradient, relative in zip(weights, plain, relative_gradient(network, x, y), strict=True):
        torch.testing.assert_close(weight.detach().norm() * gradient, relative)


@pytest.mark.equation("eq-relative-smoothness")
@pytest.mark.parametrize("length", [0.03, 0.3])
def test_relative_smoothness_is_what_the_probe_reads(length):
    network, x, y = small_network(True)
    gradient = relative_gradient(network, x, y)
    size = torch.sqrt(sum(part.square().sum() for part in gradient))
    there = relative_gradient(network, x, y, [length * part / size for part in gradient])
    change = torch.sqrt(sum((after - before).square().sum() for after, before in zip(there, gradient, strict=True)))
    readings = measure(RelativeLandscape(lengths=(length,)), network, x, y)
    assert readings["relative_smoothness"][0, 0] == pytest.approx(float(change / length), rel=1e-6)
    assert readings["relative_change"][0, 0] == pytest.approx(float(change / size), rel=1e-6)


@pytest.mark.equation("eq-gamma-speed")
@given(SEEDS)
def test_gamma_grows_faster_than_the_length_of_weights_by_the_variance(seed):
    """By autograd through a unit whose weights have length 1, and through batch norm with gamma at the deviation."""
    generator = torch.Generator().manual_seed(seed % 2**63)
    inputs, target = torch.randn(9, 4, generator=generator), torch.randn(9, generator=generator)
    w = torch.randn(4, generator=generator)
    z = (0.02 * inputs @ (w / w.norm())).double()
    sigma = z.std(correction=0)

    def share(build, value, rate=0.3):
        """Of itself, by which one step changes a factor."""
        factor = value.clone().requires_grad_()
        loss = ((torch.sigmoid(build(factor) + 0.7) - target.double()) ** 2).sum()
        return -rate * torch.autograd.grad(loss, factor)[0] / value

    def normalized(gamma):
        columns = z.unsqueeze(1)
        y = torch.nn.functional.batch_norm(columns, None, None, gamma.reshape(1), z.mean().reshape(1), True, 0.1, 1e-14)
        return y[:, 0]

    by_length = share(lambda s: z.mean() + s * (z - z.mean()), torch.ones((), dtype=torch.float64))
    by_gamma = share(normalized, sigma)
    torch.testing.assert_close(by_gamma / by_length, 1 / sigma**2, rtol=1e-6, atol=0.0)
