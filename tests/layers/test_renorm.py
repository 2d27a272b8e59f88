"""BatchRenorm against NumPy, inside and outside its bounds; its gradients, its state, its errors."""

import copy
import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bncourse.layers import BatchRenorm
from tests.layers.test_batchnorm import assert_same

SHAPES = [(7, 4), (5, 4, 3), (3, 4, 2, 3), (2, 4, 2, 1, 3)]
EPS = 1e-2
"""Large enough to be seen where it is missing."""

BOUNDS = [(1.0, 0.0), (1.5, 0.4), (3.0, 5.0), (1e6, 1e6)]
"""Batch norm; bounds that some channels meet, above and below; the defaults; none."""


def make(dtype: torch.dtype = torch.float64, **options: Any) -> BatchRenorm:
    """A layer of four channels: the first lies near what the batches are like, the others off in all directions."""
    layer = BatchRenorm(4, **{"eps": EPS, "momentum": 0.3, **options}, dtype=dtype)
    with torch.no_grad():
        layer.running_mean.copy_(torch.tensor([7.2, 6.0, 9.0, 1.0]))
        layer.running_var.copy_(torch.tensor([10.0, 0.4, 40.0, 90.0]))
        if layer.affine:
            layer.weight.copy_(torch.tensor([0.6, 1.3, -0.8, 2.0]))
            layer.bias.copy_(torch.tensor([0.1, -0.7, 0.4, 0.9]))
    return layer


def batch(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * 3 + 7).to(dtype)


def columns(x: torch.Tensor) -> np.ndarray:
    """Values by channel."""
    return np.moveaxis(x.detach().double().numpy(), 1, 0).reshape(x.shape[1], -1)


def shaped(values: np.ndarray, like: torch.Tensor) -> np.ndarray:
    return values.reshape(1, -1, *[1] * (like.ndim - 2))


def corrections(layer: BatchRenorm, x: torch.Tensor) -> tuple[np.ndarray, ...]:
    """Mean and standard deviation of the batch, r and d, by channel."""
    mean, std = columns(x).mean(1), np.sqrt(columns(x).var(1) + layer.eps)
    running_mean, running_var = (value.double().numpy() for value in (layer.running_mean, layer.running_var))
    running_std = np.sqrt(running_var + layer.eps)
    r = np.clip(std / running_std, 1 / layer.r_max, layer.r_max)
    d = np.clip((mean - running_mean) / running_std, -layer.d_max, layer.d_max)
    return mean, std, r, d


def in_numpy(layer: BatchRenorm, x: torch.Tensor) -> np.ndarray:
    mean, std, r, d = (shaped(value, x) for value in corrections(layer, x))
    if not layer.affine:
        return (x.double().numpy() - mean) / std * r + d
    weight, bias = (shaped(value.detach().double().numpy(), x) for value in (layer.weight, layer.bias))
    return weight * ((x.double().numpy() - mean) / std * r + d) + bias


def test_the_bounds_bind_on_both_sides_in_these_tests() -> None:
    """What the tests below rely on."""
    x = batch((7, 4))
    _, _, r, d = corrections(make(r_max=1.5, d_max=0.4), x)
    assert {1 / 1.5, 1.5} < set(r)
    assert {-0.4, 0.4} < set(d)
    _, _, r, d = corrections(make(r_max=1e6, d_max=1e6), x)
    assert (r.min() < 0.5) & (r.max() > 3)


@pytest.mark.parametrize(("r_max", "d_max"), BOUNDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_training(shape: tuple[int, ...], r_max: float, d_max: float) -> None:
    """Catches r upside down, a d in units of the batch's deviation, bounds of one side, and an update before its use.

    And running statistics of the variance in place of the standard deviation, of the unbiased one, or without eps.
    """
    layer, x = make(r_max=r_max, d_max=d_max), batch(shape)
    expected = in_numpy(layer, x)
    mean, std, *_ = corrections(layer, x)
    running_mean = 0.7 * layer.running_mean.numpy() + 0.3 * mean
    running_std = 0.7 * np.sqrt(layer.running_var.numpy() + EPS) + 0.3 * std
    np.testing.assert_allclose(layer(x).detach(), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(layer.running_mean, running_mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var + EPS, running_std**2, rtol=1e-12)
    assert layer.num_batches_tracked == 1


def test_without_gamma_and_beta_r_and_d_remain() -> None:
    layer, x = make(affine=False), batch((7, 4))
    expected = in_numpy(layer, x)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_within_its_bounds_training_computes_what_evaluation_does(shape: tuple[int, ...]) -> None:
    layer, x = make(r_max=1e6, d_max=1e6), batch(shape)
    expected = copy.deepcopy(layer).eval()(x)
    torch.testing.assert_close(layer(x), expected)
    assert (layer(x) - expected).abs().max() > 0.01, "the second batch has other running statistics"


@pytest.mark.parametrize("affine", [True, False])
def test_at_bounds_of_one_and_zero_it_is_batch_norm(affine: bool) -> None:
    layer = make(affine=affine, r_max=1, d_max=0)
    theirs = nn.BatchNorm2d(4, EPS, affine=affine, dtype=torch.float64)
    theirs.load_state_dict(layer.state_dict(), strict=True)
    x = batch((3, 4, 2, 3)).requires_grad_()
    y, expected = layer(x), theirs(x)
    torch.testing.assert_close(y, expected)
    upstream = torch.rand_like(y)
    torch.testing.assert_close(
        torch.autograd.grad(y, [x, *layer.parameters()], upstream),
        torch.autograd.grad(expected, [x, *theirs.parameters()], upstream),
    )


def test_bounds_may_be_raised_between_steps() -> None:
    layer, x = make(r_max=1, d_max=0), batch((7, 4))
    layer(x)
    layer.r_max, layer.d_max = 2.0, 0.5
    expected = in_numpy(layer, x)
    np.testing.assert_allclose(layer(x).detach(), expected, rtol=1e-10)
    layer.r_max = 0.5
    with pytest.raises(ValueError, match=r"expected r_max to be 1 at least, got 0\.5"):
        layer(x)


@pytest.mark.parametrize(("r_max", "d_max"), BOUNDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_take_r_and_d_for_constants(shape: tuple[int, ...], r_max: float, d_max: float) -> None:
    """Derived by hand: batch norm's with r gamma for gamma, and with x_hat r + d for x_hat in that of gamma.

    Catches gradients through r and d, and none through the batch's statistics: within the bounds the former would be
    those of evaluation.
    """
    layer, x = make(r_max=r_max, d_max=d_max), batch(shape).requires_grad_()
    mean, std, r, d = (shaped(value, x) for value in corrections(layer, x))
    x_hat = (x.detach().numpy() - mean) / std
    y = layer(x)
    dy = torch.rand(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64) - 0.3
    y.backward(dy)
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    dy_, gamma = dy.numpy(), shaped(layer.weight.detach().numpy(), x)
    along = x_hat * (dy_ * x_hat).mean(axes, keepdims=True)
    dx = gamma * r / std * (dy_ - dy_.mean(axes, keepdims=True) - along)
    np.testing.assert_allclose(x.grad, dx, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(layer.weight.grad, (dy_ * (x_hat * r + d)).sum(axes), rtol=1e-9)
    np.testing.assert_allclose(layer.bias.grad, dy_.sum(axes), rtol=1e-12)


def test_second_derivatives_take_them_for_constants_too() -> None:
    """Along parameters, where nothing is frozen, numbers and derivatives agree."""
    layer, x = make(), batch((7, 4)).requires_grad_()
    layer.track_running_stats = False  # the same r and d in every call

    def gradient_norm(weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        y = torch.func.functional_call(layer, {"weight": weight, "bias": bias}, x)
        return torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)[0].square().sum()

    assert torch.autograd.gradcheck(gradient_norm, (layer.weight, layer.bias))


def test_checkpoints_load_both_ways_and_evaluate_alike() -> None:
    ours, theirs = make(), nn.BatchNorm2d(4, EPS, dtype=torch.float64)
    x = batch((3, 4, 2, 3))
    ours(x), theirs(x)
    for source, target in ((ours, nn.BatchNorm2d(4, EPS)), (theirs, BatchRenorm(4, EPS))):
        file = io.BytesIO()
        torch.save(source.state_dict(), file)
        file.seek(0)
        target = target.double()
        target.load_state_dict(torch.load(file, weights_only=True), strict=True)
        assert_same(target, source, rtol=0, atol=0)
        torch.testing.assert_close(target.eval()(x), source.eval()(x))


def test_cumulative_statistics_are_averages_of_deviations() -> None:
    layer = make(momentum=None)
    batches = [batch((7, 4)) * scale for scale in (1.0, 2.0, -3.0)]
    for x in batches:
        layer(x)
    stds = torch.stack([(x.var(0, correction=0) + EPS).sqrt() for x in batches])
    torch.testing.assert_close(layer.running_mean, torch.stack([x.mean(0) for x in batches]).mean(0))
    torch.testing.assert_close(layer.running_var + EPS, stds.mean(0).square())


@pytest.mark.parametrize("eps", [1e-5, 3e-5, 5e-5])
def test_a_constant_channel_leaves_a_variance_of_zero(eps: float) -> None:
    """Catches the square of a root less eps, which rounding takes below zero for some eps."""
    layer = BatchRenorm(1, eps, momentum=1.0)
    layer(torch.full((6, 1), 3.0))
    assert 0 <= layer.running_var.item() < 1e-11


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("state", [torch.float32, None])
def test_half_precision(dtype: torch.dtype, state: torch.dtype | None) -> None:
    """Catches statistics, r or d in half precision: y is rounded once, to the input's precision."""
    layer = make(dtype=state or dtype)
    x = (batch((3, 4, 8, 8))).to(dtype)
    expected = in_numpy(layer, x)
    mean, std, *_ = corrections(layer, x)
    running_mean = 0.7 * layer.running_mean.double().numpy() + 0.3 * mean
    running_var = (0.7 * np.sqrt(layer.running_var.double().numpy() + EPS) + 0.3 * std) ** 2 - EPS
    y = layer(x)
    assert (y.dtype, layer.running_var.dtype) == (dtype, state or dtype)
    torch.testing.assert_close(y.double(), torch.from_numpy(expected), rtol=torch.finfo(dtype).eps, atol=1e-4)
    unit = 3 * torch.finfo(layer.running_var.dtype).eps
    np.testing.assert_allclose(layer.running_mean.double(), running_mean, rtol=unit)
    np.testing.assert_allclose(layer.running_var.double(), running_var, rtol=unit)
    y.sum().backward()
    assert layer.weight.grad.dtype == layer.weight.dtype


def test_right_where_the_mean_is_large() -> None:
    """Catches E[x²] - E[x]² in float32, whose variance is noise here."""
    x = (torch.randn(4096, 4, generator=torch.Generator().manual_seed(0)) + 1e4).float()
    layer = BatchRenorm(4, momentum=1.0)
    layer(x)
    torch.testing.assert_close(layer.running_var.double(), x.double().var(0, correction=0), rtol=1e-5, atol=0)


def test_channels_last_in_and_out() -> None:
    x = batch((3, 4, 2, 3)).contiguous(memory_format=torch.channels_last)
    layer = make()
    expected = in_numpy(layer, x)
    y = layer(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(y.detach(), expected)


@pytest.mark.parametrize("shape", [(0, 4), (0, 4, 2, 3)])
def test_an_empty_batch_changes_nothing(shape: tuple[int, ...]) -> None:
    layer = make()
    before = copy.deepcopy(layer.state_dict())
    assert layer(torch.zeros(shape, dtype=torch.float64)).shape == shape
    assert all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())


def test_a_batch_that_is_refused_changes_nothing() -> None:
    layer = make()
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        layer(batch((1, 4)))
    assert all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())


def test_without_tracking_the_statistics_rest_and_still_serve() -> None:
    layer, x = make(), batch((7, 4))
    layer.track_running_stats = False
    expected, before = in_numpy(layer, x), copy.deepcopy(layer.state_dict())
    np.testing.assert_allclose(layer(x).detach(), expected)
    assert all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"r_max": 0.9}, "expected r_max to be 1 at least, got 0.9"),
        ({"r_max": float("nan")}, "expected r_max to be 1 at least, got nan"),
        ({"d_max": -1.0}, "expected d_max to be 0 at least, got -1.0"),
    ],
)
def test_wrong_bounds_are_refused(bounds: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BatchRenorm(4, **bounds)


@pytest.mark.parametrize(
    ("shape", "error", "words"),
    [
        ((6,), ValueError, r"BatchRenorm: expected input of shape \(N, C, ...\), got \(6,\)"),
        ((6, 5, 2), RuntimeError, r"BatchRenorm: expected input with 4 channels .* got shape \(6, 5, 2\)"),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_a_wrong_shape_is_refused(shape: tuple[int, ...], error: Any, words: str, training: bool) -> None:
    with pytest.raises(error, match=words):
        make().train(training)(torch.zeros(shape))


def test_it_does_not_train_without_running_statistics() -> None:
    layer = make()
    layer.running_mean = layer.running_var = None
    with pytest.raises(RuntimeError, match="BatchRenorm: expected running_mean and running_var, got None"):
        layer(batch((7, 4)))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copy_has_a_state_of_its_own(copied: Any) -> None:
    layer, x = make(r_max=2.0, d_max=0.5), batch((7, 4))
    other = copied(layer)
    assert (other.r_max, other.d_max, other.momentum) == (2.0, 0.5, 0.3)
    other(x)
    assert layer.num_batches_tracked == 0
    layer(x)
    assert_same(other, layer, rtol=0, atol=0)


def test_repr() -> None:
    assert repr(BatchRenorm(4)) == (
        "BatchRenorm(4, eps=1e-05, momentum=0.01, affine=True, bias=True, track_running_stats=True, "
        "r_max=3.0, d_max=5.0)"
    )
