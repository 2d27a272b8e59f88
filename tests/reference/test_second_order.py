"""The gradient of the gradient against PyTorch's, finite differences of our own backward pass, and its symmetry."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.nn.functional import batch_norm as torch_batch_norm

from bncourse.reference import (
    batch_norm,
    batch_norm_backward,
    batch_norm_double_backward,
    numeric_gradient,
    relative_error,
)
from tests.reference.strategies import Case, cases

EPS = 0.3  # large, so that one in the wrong place shows


def incoming(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients with respect to dx, dgamma and dbeta: with a mean, and correlated with x_hat and dy."""
    rng = np.random.default_rng(case.x.size)
    x_hat = batch_norm(case.x, case.gamma, case.beta, case.eps)[1].x_hat
    features = case.x.shape[1]
    ddx = rng.normal(1, 1, case.x.shape) + x_hat - case.dy
    return ddx, rng.uniform(-2, 2, features), rng.uniform(-2, 2, features)


def torch_double_backward(case: Case, ddx: np.ndarray, ddgamma: np.ndarray, ddbeta: np.ndarray) -> list[np.ndarray]:
    x, gamma, beta, dy = (torch.tensor(a.copy(), requires_grad=True) for a in case[:4])
    y = torch_batch_norm(x, None, None, gamma, beta, training=True, eps=case.eps)
    first = torch.autograd.grad(y, (x, gamma, beta), dy, create_graph=True)
    second = torch.autograd.grad(first, (x, gamma, dy), [torch.tensor(a) for a in (ddx, ddgamma, ddbeta)])
    return [gradient.numpy() for gradient in second]


@settings(max_examples=100)
@given(cases())
def test_it_agrees_with_torch(case):
    """Catches a lost term on any of the shapes of one to three spatial axes, in any memory layout."""
    ddx, ddgamma, ddbeta = incoming(case)
    _, cache = batch_norm(case.x, case.gamma, case.beta, case.eps)
    ours = batch_norm_double_backward(ddx, case.dy, cache, ddgamma, ddbeta)
    theirs = torch_double_backward(case, ddx, ddgamma, ddbeta)
    # What cancels in each: the size of the terms, of which torch's order of summing costs some digits.
    s, g, v = cache.inv_std.max(), np.abs(case.dy).max(), np.abs(ddx).max()
    m = case.x.size // case.x.shape[1]
    gamma, w = np.abs(case.gamma).max(), np.abs(ddgamma).max()
    sizes = (s * g * w + 3 * gamma * s**2 * g * v * np.sqrt(m), m * s * v * g, gamma * s * v + w * np.sqrt(m) + 2)
    for found, wanted, size in zip(ours, theirs, sizes, strict=True):
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() < 1e-10 * size


@pytest.fixture
def one():
    rng = np.random.default_rng(3)
    x, gamma, beta = rng.gamma(2, 3, (4, 3, 2)) + 5, np.array([-1.7, 0.6, 2.0]), np.array([0.4, 1.0, -2.0])
    _, cache = batch_norm(x, gamma, beta, EPS)
    dy = 1.5 + 0.8 * cache.x_hat + rng.normal(size=x.shape)
    ddx = 0.5 - 0.7 * cache.x_hat + rng.normal(size=x.shape)
    return x, gamma, beta, dy, ddx, rng.normal(1, 1, 3), rng.normal(1, 1, 3), cache


@pytest.mark.parametrize("argument", ["x", "gamma", "dy"])
@pytest.mark.parametrize("part", ["dx", "dgamma", "dbeta"])
def test_it_is_the_finite_difference_of_the_backward_pass(one, argument, part):
    """One incoming gradient at a time, so that a missing one cannot hide behind a large one."""
    x, gamma, beta, dy, ddx, ddgamma, ddbeta, cache = one
    index = ["dx", "dgamma", "dbeta"].index(part)
    weights = (ddx, ddgamma, ddbeta)[index]
    functions = {
        "x": (lambda x: batch_norm_backward(dy, batch_norm(x, gamma, beta, EPS)[1])[index], x),
        "gamma": (lambda gamma: batch_norm_backward(dy, batch_norm(x, gamma, beta, EPS)[1])[index], gamma),
        "dy": (lambda dy: batch_norm_backward(dy, cache)[index], dy),
    }
    numeric = numeric_gradient(*functions[argument], weights)
    given = {"dx": {}, "dgamma": {"ddgamma": ddgamma}, "dbeta": {"ddbeta": ddbeta}}[part]
    closed = batch_norm_double_backward(ddx if part == "dx" else np.zeros_like(x), dy, cache, **given)
    found = closed[["x", "gamma", "dy"].index(argument)]
    assert np.abs(found - numeric).max() < 1e-8 * max(np.abs(numeric).max(), 1)


def test_the_three_directions_may_change_places(one):
    """x_hat is the gradient of a scalar, so its second derivative is symmetric; catches a term with a wrong factor."""
    *_, dy, ddx, _, _, cache = one
    directions = (ddx, dy, np.random.default_rng(9).normal(1, 1, dy.shape))
    values = [
        float((batch_norm_double_backward(a, b, cache)[0] * c).sum()) for a, b, c in itertools.permutations(directions)
    ]
    assert values == pytest.approx([values[0]] * 6, rel=1e-12)


def test_eps_is_exact(one):
    """Catches P P = P, which holds for eps = 0 only and passes a check with the usual eps and a usual tolerance."""
    x, gamma, beta, dy, ddx, *_, cache = one
    v_p, g_p = (batch_norm_backward(a, cache._replace(gamma=1 / cache.inv_std))[0] for a in (ddx, dy))
    axes = (0, 2)
    wrong_factor = (v_p * g_p).mean(axis=axes) - (ddx * g_p).mean(axis=axes)
    change = -((gamma * cache.inv_std**2 * wrong_factor)[:, None]) * cache.x_hat
    grad_x, _, _ = batch_norm_double_backward(ddx, dy, cache)
    numeric = numeric_gradient(lambda x: batch_norm_backward(dy, batch_norm(x, gamma, beta, EPS)[1])[0], x, ddx)
    assert relative_error(grad_x, numeric) < 1e-8
    assert relative_error(grad_x + change, numeric) > 1e-6


def test_for_dy_it_is_the_backward_pass_again(one):
    """Catches a factor that stands in one of the two and not in the other: P is symmetric."""
    *_, dy, ddx, _, _, cache = one
    _, _, grad_dy = batch_norm_double_backward(ddx, dy, cache)
    assert relative_error(grad_dy, batch_norm_backward(ddx, cache)[0]) < 1e-14


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_narrow_dtypes_come_back_as_they_went_in(dtype):
    """Catches sums in the narrow dtype: only the results are rounded to it."""
    rng = np.random.default_rng(4)
    x, dy, ddx = (rng.normal(1, 1, (64, 3, 5)).astype(dtype) for _ in range(3))
    gamma = rng.uniform(0.5, 2, 3).astype(dtype)
    _, cache = batch_norm(x, gamma, gamma)
    narrow = batch_norm_double_backward(ddx, dy, cache, gamma, gamma)
    wide_dy, wide_ddx, wide_gamma = (a.astype(np.float64) for a in (dy, ddx, gamma))
    wide = batch_norm_double_backward(wide_ddx, wide_dy, cache, wide_gamma, wide_gamma)
    for found, exact in zip(narrow, wide, strict=True):
        assert found.dtype == dtype
        assert relative_error(found, exact) < np.finfo(dtype).eps


def test_bad_input_is_named():
    x, gamma = np.random.default_rng(0).normal(size=(4, 3)), np.ones(3)
    _, cache = batch_norm(x, gamma, gamma)
    for call, message in (
        (lambda: batch_norm_double_backward(x[:2], x, cache), r"ddx of the shape of x, \(4, 3\), got \(2, 3\)"),
        (lambda: batch_norm_double_backward(x, x[:1], cache), "dy of the shape of x"),
        (lambda: batch_norm_double_backward(x, x, cache, ddgamma=x), "ddgamma of the shape of gamma"),
        (lambda: batch_norm_double_backward(x, x, cache, ddbeta=gamma[:1]), "ddbeta of the shape of gamma"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="ddx of a floating dtype"):
        batch_norm_double_backward(x.astype(int), x, cache)
