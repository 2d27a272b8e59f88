"""The equations of chapter 7.1: an image's share in its batch, batch renormalization, filter response norm."""

import itertools

import numpy as np
import pytest
import torch

from bncourse.layers import BatchRenorm, FilterResponseNorm


@pytest.mark.equation("eq-own-share")
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_an_image_has_one_share_in_b_of_the_statistics_of_its_batch(batch):
    """All choices of mates from a few maps, with replacement: an average without sampling error."""
    rng = np.random.default_rng(0)
    maps = rng.exponential(2, (6, 5)) * rng.uniform(0.2, 2, (6, 1)) + rng.normal(3, 2, (6, 1))
    n = 4
    batches = [maps[[n, *mates]] for mates in itertools.product(range(6), repeat=batch - 1)]
    mean, var, between = maps.mean(), maps.var(), maps.mean(axis=1).var()
    own_mean, own_var = maps[n].mean(), maps[n].var()
    told_mean = own_mean / batch + (1 - 1 / batch) * mean
    mates = var + ((own_mean - mean) ** 2 - between) / batch
    told_var = own_var / batch + (1 - 1 / batch) * mates
    assert np.mean([each.mean() for each in batches]) == pytest.approx(told_mean, rel=1e-12)
    assert np.mean([each.var() for each in batches]) == pytest.approx(told_var, rel=1e-12)


def renorm_layer(x):
    """A layer whose running statistics are near those of the data, but not theirs; nothing is clipped."""
    layer = BatchRenorm(x.shape[1], eps=0.1).double()
    rng = np.random.default_rng(1)
    mean, var = x.mean(axis=(0, 2)), x.var(axis=(0, 2))
    layer.running_mean.copy_(torch.from_numpy(mean + rng.normal(0, 0.5, len(mean))))
    layer.running_var.copy_(torch.from_numpy(var * rng.uniform(0.5, 2, len(var))))
    layer.weight.data, layer.bias.data = (torch.from_numpy(rng.normal(1, 0.5, len(mean))) for _ in range(2))
    return layer


def renorm_data():
    rng = np.random.default_rng(2)
    return rng.normal(1, 2, (3, 4, 5)) * np.array([0.5, 1, 2, 3])[:, None] + np.arange(4)[:, None]


def per_channel(*values):
    return [np.asarray(value)[:, None] for value in values]


@pytest.mark.equation("eq-renorm")
def test_the_correction_makes_the_output_of_inference():
    """By hand and by the layer in training; catches r upside down, and d in units of the batch's deviation."""
    x = renorm_data()
    layer = renorm_layer(x)
    mean, var = per_channel(layer.running_mean.numpy().copy(), layer.running_var.numpy().copy())
    gamma, beta = per_channel(layer.weight.detach().numpy(), layer.bias.detach().numpy())
    sigma, batch_sigma = np.sqrt(var + 0.1), np.sqrt(x.var(axis=(0, 2), keepdims=True) + 0.1)[0]
    batch_mean = x.mean(axis=(0, 2), keepdims=True)[0]
    r, d = batch_sigma / sigma, (batch_mean - mean) / sigma
    corrected = (x - batch_mean) / batch_sigma * r + d
    np.testing.assert_allclose(corrected, (x - mean) / sigma, rtol=1e-12)
    output = layer(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(output, gamma * (x - mean) / sigma + beta, rtol=1e-10)


@pytest.mark.equation("eq-renorm-dx")
def test_the_gradient_is_batch_norms_times_r():
    """Against the layer's autograd; catches a gradient through r and d, which would have no projections."""
    x = renorm_data()
    layer = renorm_layer(x)
    sigma, gamma = per_channel(np.sqrt(layer.running_var.numpy() + 0.1), layer.weight.detach().numpy())
    dy = np.random.default_rng(3).normal(1, 1, x.shape)
    tensor = torch.from_numpy(x).requires_grad_()
    (dx,) = torch.autograd.grad(layer(tensor), tensor, torch.from_numpy(dy))

    def bar(values):
        return values.mean(axis=(0, 2), keepdims=True)

    batch_sigma = np.sqrt(x.var(axis=(0, 2), keepdims=True) + 0.1)
    x_hat, r = (x - bar(x)) / batch_sigma, batch_sigma / sigma
    np.testing.assert_allclose(dx, gamma * r / batch_sigma * (dy - bar(dy) - x_hat * bar(dy * x_hat)), atol=1e-10)


@pytest.mark.equation("eq-filter-response")
def test_filter_response_norm_is_the_packages_layer():
    rng = np.random.default_rng(4)
    x = rng.normal(1, 2, (3, 4, 5, 2))
    layer = FilterResponseNorm(4, eps=0.3).double()
    gamma, beta, tau = rng.normal(1, 1, 4), rng.normal(size=4), rng.normal(size=4)
    layer.weight.data, layer.bias.data, layer.threshold.data = (torch.from_numpy(each) for each in (gamma, beta, tau))
    nu_squared = (x**2).sum(axis=(2, 3), keepdims=True) / 10
    gamma, beta, tau = (each[:, None, None] for each in (gamma, beta, tau))
    expected = np.maximum(gamma * x / np.sqrt(nu_squared + 0.3) + beta, tau)
    np.testing.assert_allclose(layer(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-12)


@pytest.mark.equation("eq-filter-response-moments")
@pytest.mark.parametrize("rho", [-4.0, 0.0, 0.7, 3.0])
def test_a_map_far_from_zero_comes_out_in_a_narrow_band(rho):
    """Of the layer's output before its threshold, for a skewed map of any scale."""
    pattern = np.random.default_rng(5).exponential(1, (1, 1, 40))
    x = 7 * ((pattern - pattern.mean()) / pattern.std() + rho)
    layer = FilterResponseNorm(1, eps=1e-12).double()
    layer.threshold.data.fill_(-100)
    y = layer(torch.from_numpy(x)).detach().numpy()
    assert y.mean() == pytest.approx(rho / np.sqrt(1 + rho**2), abs=1e-10)
    assert y.var() == pytest.approx(1 / (1 + rho**2), abs=1e-10)
