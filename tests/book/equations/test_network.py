"""Chapter 2.4: the gradients of a linear layer and of the loss, and the step with momentum."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bncourse.reference import numeric_gradient, relative_error

SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.equation("eq-linear-backward")
@given(SEEDS)
def test_linear_backward(seed):
    rng = np.random.default_rng(seed)
    x, weight, bias, dy = (rng.normal(size=shape) for shape in ((5, 3), (4, 3), (4,), (5, 4)))
    assert relative_error(dy @ weight, numeric_gradient(lambda x: x @ weight.T + bias, x, dy)) < 1e-7
    assert relative_error(dy.T @ x, numeric_gradient(lambda w: x @ w.T + bias, weight, dy)) < 1e-7
    assert relative_error(dy.sum(axis=0), numeric_gradient(lambda b: x @ weight.T + b, bias, dy)) < 1e-7


@pytest.mark.equation("eq-softmax-gradient")
@given(SEEDS)
def test_softmax_gradient(seed):
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(0, 2, (6, 4)), rng.integers(0, 4, 6)

    def loss(z):
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        return np.array(-np.log(p[np.arange(6), labels]).mean())

    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    gradient = (p - (np.arange(4) == labels[:, None])) / 6
    assert relative_error(gradient, numeric_gradient(loss, logits)) < 1e-6
    wanted = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels)).item()
    assert abs(loss(logits) - wanted) < 1e-12


@pytest.mark.equation("eq-sgd-momentum")
@given(SEEDS, st.floats(0, 0.99), st.floats(1e-3, 1))
def test_sgd_momentum(seed, rho, eta):
    """Against PyTorch's optimizer: in another common form the rate stands inside the velocity."""
    rng = np.random.default_rng(seed)
    theta, v = rng.normal(size=3), np.zeros(3)
    parameter = torch.nn.Parameter(torch.tensor(theta))
    optimizer = torch.optim.SGD([parameter], eta, momentum=rho)
    for _ in range(4):
        g = rng.normal(size=3)
        v = rho * v + g
        theta = theta - eta * v
        parameter.grad = torch.tensor(g)
        optimizer.step()
    assert relative_error(theta, parameter.detach().numpy()) < 1e-12
