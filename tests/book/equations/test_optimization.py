"""The equations of part 4, both sides evaluated on random input."""

import math

import numpy as np
import pytest
import torch

from bncourse.lab import (
    MLPEnsemble,
    Split,
    largest_rate,
    ratio_of_geometric_means,
    ratio_of_means,
    restricted_mean,
    train,
)
from bncourse.lab.training import batch_indices


@pytest.fixture
def steps():
    """Steps to a target of seven seeds in two arms; some never arrive."""
    generator = np.random.default_rng(5)
    none, batch_norm = generator.integers(20, 200, (2, 7)).astype(float)
    none[[1, 4]] = np.inf
    return none, batch_norm


@pytest.mark.equation("eq-momentum-sgd")
def test_training_moves_along_a_velocity_that_collects_gradients():
    """Catches a dampened velocity, Nesterov's variant, and a rate inside the velocity. Softmax regression, by hand."""
    generator = np.random.default_rng(3)
    x, y = generator.normal(1, 2, (30, 5)).astype(np.float32), generator.integers(0, 4, 30)
    data = Split(*[torch.from_numpy(part) for part in (x, y, x, y, x, y)])
    network = MLPEnsemble((5, 4), [8], batch_norm=False)
    weights, bias = network.weights[0][0].detach().numpy().astype(float), np.zeros(4)
    eta, mu = 0.1, 0.7
    velocity_w, velocity_b = np.zeros((4, 5)), np.zeros(4)
    batches = batch_indices(30, 10, [8])
    for _ in range(6):
        rows = next(batches)[0].numpy()
        logits = x[rows] @ weights.T + bias
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        error = (shares - np.eye(4)[y[rows]]) / 10
        velocity_w = mu * velocity_w + error.T @ x[rows]
        velocity_b = mu * velocity_b + error.sum(axis=0)
        weights, bias = weights - eta * velocity_w, bias - eta * velocity_b

    train(network, data, [eta], steps=6, batch_size=10, momentum=mu)
    np.testing.assert_allclose(network.weights[0][0].detach().numpy(), weights, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(network.biases[0][0, :, 0].detach().numpy(), bias, rtol=1e-4, atol=1e-6)


@pytest.mark.equation("eq-restricted-mean")
@pytest.mark.parametrize("horizon", [60, 200, 1000])
def test_the_restricted_mean_averages_the_smaller_of_steps_and_horizon(steps, horizon):
    none, batch_norm = steps
    expected = sum(min(value, horizon) for value in none) / 7
    assert restricted_mean(none, horizon) == pytest.approx(expected)
    assert restricted_mean(batch_norm, horizon) <= batch_norm.mean() + 1e-9


@pytest.mark.equation("eq-steps-ratio")
def test_the_ratio_of_steps_is_one_of_restricted_means_and_not_a_mean_of_ratios(steps):
    none, batch_norm = steps
    ratio = ratio_of_means(np.minimum(none, 150), np.minimum(batch_norm, 150))
    assert ratio == pytest.approx(restricted_mean(none, 150) / restricted_mean(batch_norm, 150))
    assert ratio == pytest.approx(sum(min(t, 150) for t in none) / sum(min(t, 150) for t in batch_norm))
    assert ratio != pytest.approx(np.mean(np.minimum(none, 150) / np.minimum(batch_norm, 150)), rel=0.01)


@pytest.mark.equation("eq-rate-ratio")
def test_rates_are_compared_by_a_geometric_mean_of_the_pairs():
    generator = np.random.default_rng(6)
    rates = [0.01, 0.03, 0.09, 0.27]
    none, batch_norm = (largest_rate(rates, generator.random((4, 9)) < share) for share in (0.3, 0.7))
    expected = math.exp(sum(math.log(one / zero) for zero, one in zip(none, batch_norm, strict=True)) / 9)
    assert ratio_of_geometric_means(batch_norm, none) == pytest.approx(expected)


@pytest.mark.equation("eq-speedup-split")
def test_the_ratio_at_tuned_rates_is_faster_times_bolder():
    """Catches a split that goes over the other arm's rate on one side only."""
    none, switched, tuned = np.random.default_rng(7).integers(20, 90, (3, 11)).astype(float)
    faster, bolder = ratio_of_means(none, switched), ratio_of_means(switched, tuned)
    assert restricted_mean(none, 80) / restricted_mean(tuned, 80) == pytest.approx(
        ratio_of_means(np.minimum(none, 80), np.minimum(switched, 80))
        * ratio_of_means(np.minimum(switched, 80), np.minimum(tuned, 80))
    )
    assert ratio_of_means(none, tuned) == pytest.approx(faster * bolder)
