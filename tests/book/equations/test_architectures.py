"""Both sides of the equations of chapter 6.3."""

import numpy as np
import pytest
import torch

from bncourse.lab import RecurrentEnsemble
from bncourse.lab.probes import captured


@pytest.mark.equation("eq-cluster-noise")
@pytest.mark.parametrize("shared", [-0.15, 0.0, 1.5])
def test_the_noise_of_a_mean_over_examples_and_positions(shared):
    """Batches of two, drawn with replacement: all of them. Positions have means of their own."""
    rng = np.random.default_rng(0)
    examples, positions, batch = 60, 5, 2
    x = rng.normal(size=(examples, positions)) + np.arange(positions)
    x += shared * x.sum(axis=1, keepdims=True)
    mean, variance = x.mean(), x.var()
    centred = x - mean
    pairs = [(s, t) for s in range(positions) for t in range(positions) if s != t]
    rho = np.mean([np.mean(centred[:, s] * centred[:, t]) for s, t in pairs]) / variance
    means = [np.concatenate([first, second]).mean() for first in x for second in x]
    predicted = variance / (batch * positions) * (1 + (positions - 1) * rho)
    assert np.var(means) == pytest.approx(predicted)


def state(from_input, from_state, inputs):
    h = np.zeros(len(from_state))
    for x in inputs:
        h = from_state @ h + from_input @ x
    return h


@pytest.mark.equation("eq-state-sum")
def test_a_linear_state_is_a_sum_over_steps():
    rng = np.random.default_rng(0)
    from_input, from_state, inputs = rng.normal(size=(7, 3)), rng.normal(size=(7, 7)), rng.normal(size=(5, 3))
    powers = [np.linalg.matrix_power(from_state, 5 - k) for k in range(1, 6)]
    total = sum(power @ from_input @ x for power, x in zip(powers, inputs, strict=True))
    np.testing.assert_allclose(state(from_input, from_state, inputs), total, rtol=1e-10)


@pytest.mark.equation("eq-state-variance")
@pytest.mark.parametrize("deviation", [0.8, 1.0, 1.2])
def test_the_mean_square_of_a_linear_state(deviation):
    """Inputs are the same at all steps: what is added is unrelated all the same, for the weights turn it."""
    rng = np.random.default_rng(0)
    width, steps = 400, 6
    inputs = np.repeat(rng.normal(size=(1, 30)), steps, axis=0)
    found, given = [], []
    for _ in range(12):
        from_input = rng.normal(size=(width, 30)) / 30**0.5
        from_state = deviation * rng.normal(size=(width, width)) / width**0.5
        found.append(np.mean(state(from_input, from_state, inputs) ** 2))
        given.append(np.mean((from_input @ inputs[0]) ** 2))
    predicted = np.mean(given) * sum(deviation ** (2 * (steps - k)) for k in range(1, steps + 1))
    assert np.mean(found) == pytest.approx(predicted, rel=0.05)


@pytest.mark.equation("eq-running-steps")
def test_running_statistics_of_a_layer_that_is_called_at_every_step():
    generator = torch.Generator().manual_seed(0)
    momentum, steps = 0.2, 7
    layer = torch.nn.BatchNorm1d(3, momentum=momentum)
    layer(torch.randn(9, 3, generator=generator) + 5)
    before = {"mean": layer.running_mean.clone(), "var": layer.running_var.clone()}
    batches = [torch.randn(9, 3, generator=generator) * (t + 1) - t for t in range(steps)]
    for each in batches:
        layer(each)
    statistics = {"mean": [each.mean(dim=0) for each in batches], "var": [each.var(dim=0) for each in batches]}
    for name, found in (("mean", layer.running_mean), ("var", layer.running_var)):
        shares = [momentum * (1 - momentum) ** (steps - t) for t in range(1, steps + 1)]
        new = sum(share * each for share, each in zip(shares, statistics[name], strict=True))
        torch.testing.assert_close(found, (1 - momentum) ** steps * before[name] + new, rtol=1e-4, atol=1e-5)


@pytest.mark.equation("eq-shared-inference")
def test_what_inference_makes_of_the_values_of_one_step():
    layer = torch.nn.BatchNorm1d(4, eps=0.3, affine=False)
    generator = torch.Generator().manual_seed(0)
    layer.running_mean = torch.randn(4, generator=generator)
    layer.running_var = torch.rand(4, generator=generator) + 0.5
    values = 3 * torch.randn(50, 4, generator=generator) + 2
    found = layer.eval()(values)
    scale = layer.running_var + 0.3
    torch.testing.assert_close(found.mean(dim=0), (values.mean(dim=0) - layer.running_mean) / scale.sqrt())
    torch.testing.assert_close(found.var(dim=0, correction=0), values.var(dim=0, correction=0) / scale)


@pytest.mark.equation("eq-through-time")
@pytest.mark.parametrize("gamma", [(1.0, 1.0), (0.1, 0.1), (0.5, 1.5)])
def test_the_growth_of_gradients_through_time(gamma):
    """Wide networks at initialization, independent inputs, gammas of the input and of the state; by quadrature."""
    of_input, of_state = gamma
    generator = torch.Generator().manual_seed(0)
    network = RecurrentEnsemble((64, 200, 10), range(4), "per_step", image=24)
    layer = network.layers[0]
    with torch.no_grad():
        layer.input_norm.gamma.fill_(of_input)
        layer.state_norm.gamma.fill_(of_state)
    x = torch.randn(256, 576, generator=generator)
    with captured([layer.activation]) as states:
        logits = network(x.expand(4, *x.shape))
    direction = torch.randn(logits.shape, generator=generator)
    gradients = torch.autograd.grad((logits * direction).sum(), states)
    squares = [gradient.square().sum().item() for gradient in gradients]
    found = (squares[3] / squares[-1]) ** (1 / (len(states) - 4))

    nodes, weights = np.polynomial.hermite_e.hermegauss(150)
    weights /= weights.sum()
    value = np.tanh(nodes * np.hypot(of_input, of_state))
    predicted = of_state**2 * (weights @ (1 - value**2) ** 2) / (weights @ value**2)
    assert found == pytest.approx(predicted, rel=0.06)


@pytest.mark.equation("eq-padding")
@pytest.mark.parametrize("padded", [3, 20])
def test_mean_and_variance_of_a_set_with_zeros(padded):
    values = np.random.default_rng(0).normal(2.0, 0.7, size=13)
    mean, variance = values.mean(), values.var()
    everything = np.concatenate([values, np.zeros(padded)])
    p = padded / len(everything)
    assert everything.mean() == pytest.approx((1 - p) * mean)
    assert everything.var() == pytest.approx((1 - p) * (variance + p * mean**2))
