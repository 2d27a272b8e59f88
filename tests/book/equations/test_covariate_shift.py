"""The equations of chapter 4.4, both sides evaluated on random input."""

import numpy as np
import pytest
import torch

from bncourse.experiments.covariate_shift.noise import SwingingNoise
from bncourse.experiments.covariate_shift.shift import drift
from bncourse.lab import CovariateShift, MLPEnsemble, Perturbation, measure


@pytest.mark.equation("eq-layer-drift")
def test_drift_compares_how_far_means_move_with_the_spread_around_them():
    """Catches the spread after the move, the mean over units of their ratios, and a wrong lag. One unit is silent."""
    generator = np.random.default_rng(1)
    outputs = generator.normal(generator.normal(size=(7, 1, 5)), [1, 2, 3, 0.1, 0], (7, 40, 5))
    mean, std = outputs.mean(axis=1), outputs.std(axis=1)
    found = drift(mean[None], std[None], 3, layers=1)[0, :, 0]
    for t in range(4):
        centre, moved = outputs[t].mean(axis=0), outputs[t + 3].mean(axis=0)
        spread = np.sqrt(np.mean(np.sum((outputs[t] - centre) ** 2, axis=1)))
        assert found[t] == pytest.approx(np.sqrt(np.sum((moved - centre) ** 2)) / spread)


@pytest.mark.equation("eq-drift-after-norm")
def test_behind_batch_norm_drift_is_that_of_beta_whatever_comes_in():
    generator = torch.Generator().manual_seed(2)
    gamma, beta = torch.randn(2, 6, generator=generator).double(), torch.randn(2, 6, generator=generator).double()
    means, stds = [], []
    for step, offset in enumerate((3.0, -40.0)):
        x = offset + 5 * (1 + step) * torch.randn(50, 6, generator=generator).double()
        y = torch.nn.functional.batch_norm(x, None, None, gamma[step], beta[step], training=True)
        means.append(y.mean(dim=0).numpy())
        stds.append(y.std(dim=0, correction=0).numpy())
    found = drift(np.array([means]), np.array([stds]), 1, layers=1).item()
    assert found == pytest.approx(float((beta[1] - beta[0]).norm() / gamma[0].norm()), rel=1e-5)


def losses_of(weights: list[torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    h = x
    for weight in weights[:-1]:
        h = torch.tanh(h @ weight.T)
    return torch.nn.functional.cross_entropy(h @ weights[-1].T, y)


def network_and_batch() -> tuple[MLPEnsemble, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    network = MLPEnsemble((7, 6, 5, 4, 3), (11,), False, activation="tanh", bias=False)
    return network, 2 * torch.randn(1, 9, 7, generator=generator), torch.randint(3, (1, 9), generator=generator)


@pytest.mark.equation("eq-gradient-shift")
def test_the_gradient_change_is_between_gradients_before_and_after_the_layers_below_move():
    """Catches an update of the layer itself or of those above, and a change by the size of the later gradient."""
    network, x, y = network_and_batch()
    rate, layer = 0.7, 2
    found = measure(CovariateShift(), network, x, y, rate=rate)["relative_gradient_change"][0, layer]
    weights = [weight[0].detach().double().requires_grad_() for weight in network.weights]
    before = torch.autograd.grad(losses_of(weights, x[0].double(), y[0]), weights)
    moved = [
        weight - rate * gradient if k < layer else weight
        for k, (weight, gradient) in enumerate(zip(weights, before, strict=True))
    ]
    moved = [weight.detach().requires_grad_() for weight in moved]
    # The output layer of the ensemble has a bias, which is zero and not below any of these.
    after = torch.autograd.grad(losses_of(moved, x[0].double(), y[0]), moved)
    assert found == pytest.approx(float((after[layer] - before[layer]).norm() / before[layer].norm()), rel=1e-4)


@pytest.mark.equation("eq-shift-first-order")
def test_to_first_order_gradients_change_by_the_mixed_blocks_of_the_hessian():
    """Catches a missing minus, the layer's own block, and blocks of the layers above."""
    network, x, y = network_and_batch()
    x, y = x[0].double(), y[0]
    layer, rate = 2, 1e-6
    weights = [weight[0].detach().double().requires_grad_() for weight in network.weights]
    gradients = torch.autograd.grad(losses_of(weights, x, y), weights, create_graph=True)
    moved = [
        (weight - rate * gradient if k < layer else weight).detach().requires_grad_()
        for k, (weight, gradient) in enumerate(zip(weights, gradients, strict=True))
    ]
    change = torch.autograd.grad(losses_of(moved, x, y), moved)[layer] - gradients[layer]
    predicted = torch.zeros_like(change)
    for place in np.ndindex(*change.shape):
        rows = torch.autograd.grad(gradients[layer][place], weights[:layer], retain_graph=True)
        predicted[place] = -rate * sum((row * gradient).sum() for row, gradient in zip(rows, gradients, strict=False))
    assert predicted.abs().max() > 1e-9
    torch.testing.assert_close(change.detach(), predicted.detach(), rtol=1e-4, atol=1e-13)


@pytest.mark.equation("eq-swinging-noise")
def test_swinging_noise_runs_to_and_fro():
    """Catches a sine, a sawtooth, half the amplitude, and a time that starts before the first step."""
    period, size = 12, 1.7
    noise = SwingingNoise(Perturbation(size), (3,), 2, 5, period).train()
    phase = noise.get_buffer("phase")[0, 0, :, 0].double().numpy()
    for step in range(1, 30):
        found = noise(torch.zeros(1, 5, 2))[0, :, 0].numpy()
        expected = size * (2 * np.abs(2 * ((step / period + phase) % 1) - 1) - 1)
        np.testing.assert_allclose(found, expected, atol=1e-5)
