"""The equations of chapter 7.3, both sides evaluated on random input."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from bncourse.layers.folding import factor_and_shift, fold_after, fold_before
from bncourse.reference import batch_norm_inference

EPS = 0.3  # large, so that a misplaced one shows


@pytest.fixture
def rng():
    return np.random.default_rng(73)


def norm_with(mean, var, gamma, beta):
    norm = nn.BatchNorm2d(len(mean), eps=EPS).double().eval()
    with torch.no_grad():
        for place, value in (
            (norm.running_mean, mean),
            (norm.running_var, var),
            (norm.weight, gamma),
            (norm.bias, beta),
        ):
            place.copy_(torch.from_numpy(value))
    return norm


def draw(rng, channels):
    return (
        rng.normal(2, 1, channels),
        rng.uniform(0.2, 3, channels),
        rng.normal(size=channels),
        rng.normal(size=channels),
    )


def convolved(x, weight, bias, padding=0):
    """A convolution of (C, H, W) in loops: each place of the kernel that meets an input adds to the output."""
    outputs, inputs, height, width = weight.shape
    shape = (outputs, x.shape[1] + 2 * padding - height + 1, x.shape[2] + 2 * padding - width + 1)
    y = np.zeros(shape)
    for o, p, q in itertools.product(*map(range, shape)):
        y[o, p, q] = bias[o]
        for i, s, t in itertools.product(range(inputs), range(height), range(width)):
            row, column = p + s - padding, q + t - padding
            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                y[o, p, q] += weight[o, i, s, t] * x[i, row, column]
    return y


@pytest.mark.equation("eq-fold-affine")
def test_batch_norm_in_evaluation_is_affine(rng):
    mean, var, gamma, beta = draw(rng, 4)
    x = rng.normal(3, 2, (7, 4))
    a = gamma / np.sqrt(var + EPS)
    c = beta - a * mean
    np.testing.assert_allclose(a * x + c, batch_norm_inference(x, mean, var, gamma, beta, EPS), rtol=1e-12)
    for found, expected in zip(factor_and_shift(norm_with(mean, var, gamma, beta)), (a, c), strict=True):
        np.testing.assert_allclose(found.detach(), expected, rtol=1e-12)


@pytest.mark.equation("eq-fold-after")
def test_into_the_layer_before_with_padding(rng):
    """With zeros at the border, and a bias: catches b' = b + c, and a shift that is added before the factor."""
    x, weight, bias = rng.normal(1, 1, (3, 5, 6)), rng.normal(size=(4, 3, 3, 2)), rng.normal(size=4)
    a, c = rng.normal(size=4), rng.normal(size=4)
    left = a[:, None, None] * convolved(x, weight, bias, padding=1) + c[:, None, None]
    right = convolved(x, a[:, None, None, None] * weight, a * bias + c, padding=1)
    np.testing.assert_allclose(left, right, rtol=1e-11, atol=1e-12)
    layer = nn.Conv2d(3, 4, (3, 2), padding=1).double()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
        found = fold_after(layer, torch.from_numpy(a), torch.from_numpy(c))
    np.testing.assert_allclose(functional.conv2d(torch.from_numpy(x), *found, padding=1), left, rtol=1e-11, atol=1e-12)


def shifted_in_front(rng):
    x, weight, bias = rng.normal(1, 1, (3, 5, 6)), rng.normal(size=(4, 3, 3, 2)), rng.normal(size=4)
    a, c = rng.normal(size=3), rng.normal(size=3)
    return x, weight, bias, a, c


@pytest.mark.equation("eq-fold-before")
def test_into_the_layer_after_without_padding(rng):
    x, weight, bias, a, c = shifted_in_front(rng)
    left = convolved(a[:, None, None] * x + c[:, None, None], weight, bias)
    folded = weight * a[None, :, None, None], bias + (weight * c[None, :, None, None]).sum((1, 2, 3))
    np.testing.assert_allclose(left, convolved(x, *folded), rtol=1e-11, atol=1e-12)


@pytest.mark.equation("eq-fold-border")
def test_what_the_shift_adds_at_each_position(rng):
    """The output less that of an unshifted input, against the sum over the places that meet an input."""
    x, weight, bias, a, c = shifted_in_front(rng)
    scaled = a[:, None, None] * x
    left = convolved(scaled + c[:, None, None], weight, bias, padding=1) - convolved(scaled, weight, bias, padding=1)
    right = np.zeros_like(left)
    for p, q in itertools.product(range(left.shape[1]), range(left.shape[2])):
        met = [(s, t) for s, t in itertools.product(range(3), range(2)) if 0 <= p + s - 1 < 5 and 0 <= q + t - 1 < 6]
        right[:, p, q] = sum(weight[:, :, s, t] @ c for s, t in met)
    np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-12)
    assert not np.allclose(right[:, 0, 0], right[:, 2, 2])


@pytest.mark.equation("eq-fold-padding")
def test_the_value_that_batch_norm_turns_into_zero(rng):
    mean, var, gamma, beta = draw(rng, 3)
    a = gamma / np.sqrt(var + EPS)
    c = beta - a * mean
    padding = mean - beta / gamma * np.sqrt(var + EPS)
    np.testing.assert_allclose(padding, -c / a, rtol=1e-11)
    x, weight, bias = rng.normal(size=(3, 4, 5)), rng.normal(size=(2, 3, 3, 3)), rng.normal(size=2)
    right = convolved(batch_norm_inference(x[None], mean, var, gamma, beta, EPS)[0], weight, bias, padding=1)
    padded = np.stack([np.pad(image, 1, constant_values=value) for image, value in zip(x, padding, strict=True)])
    layer = nn.Conv2d(3, 2, 3).double()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
        folded = fold_before(layer, torch.from_numpy(a), torch.from_numpy(c))
    np.testing.assert_allclose(convolved(padded, *(value.numpy() for value in folded)), right, rtol=1e-10, atol=1e-12)


@pytest.mark.equation("eq-fold-step")
@pytest.mark.parametrize("factor", [1.0, 0.3, 0.1])
def test_the_relative_error_of_rounding_grows_as_the_factor_shrinks(rng, factor):
    weight = rng.normal(size=(2, 20_000))
    weight[1] *= factor
    step = np.abs(weight).max() / 127
    error = np.round(weight / step) * step - weight
    found = np.sqrt((error[1] ** 2).mean() / (weight[1] ** 2).mean())
    assert found == pytest.approx(step / (np.sqrt(12) * np.sqrt((weight[1] ** 2).mean())), rel=0.03)
