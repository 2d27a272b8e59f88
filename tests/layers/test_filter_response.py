"""FilterResponseNorm against NumPy and its gradients; what it depends on, its state, its errors."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bncourse.layers import FilterResponseNorm

SHAPES = [(3, 4, 5), (3, 4, 2, 5), (3, 4, 2, 1, 3)]


def make(eps: float = 1e-2, dtype: torch.dtype = torch.float64) -> FilterResponseNorm:
    """A layer of four channels, all different, with thresholds that cut off some values and let others through."""
    layer = FilterResponseNorm(4, eps, dtype=dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.6, 1.3, -0.8, 2.0]))
        layer.bias.copy_(torch.tensor([0.1, -0.7, 0.4, 0.9]))
        layer.threshold.copy_(torch.tensor([0.2, -0.6, 0.3, -0.1]))
    return layer


def batch(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Maps of another scale and mean for each example and channel."""
    generator = torch.Generator().manual_seed(7)
    level, scale = (torch.rand((*shape[:2], *[1] * (len(shape) - 2)), generator=generator) for _ in range(2))
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * (scale + 0.3) + level - 0.5).to(dtype)


def in_numpy(layer: FilterResponseNorm, x: torch.Tensor) -> np.ndarray:
    gamma, beta, tau = (
        value.detach().double().numpy().reshape(-1, *[1] * (x.ndim - 2))
        for value in (layer.weight, layer.bias, layer.threshold)
    )
    values = x.double().numpy()
    second_moment = (values**2).mean(axis=tuple(range(2, x.ndim)), keepdims=True)
    y = gamma * values / np.sqrt(second_moment + layer.eps) + beta
    return np.where(y > tau, y, tau)


@pytest.mark.parametrize("shape", SHAPES)
def test_forward(shape: tuple[int, ...]) -> None:
    """Catches a mean that is subtracted, moments over the batch or the channels, and a ReLU in place of a threshold."""
    layer, x = make(), batch(shape)
    expected = in_numpy(layer, x)
    at_threshold = np.isclose(expected, layer.threshold.detach().numpy().reshape(-1, *[1] * (x.ndim - 2))).mean()
    assert 0.2 < at_threshold < 0.8
    np.testing.assert_allclose(layer(x).detach(), expected, rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients(shape: tuple[int, ...]) -> None:
    layer = make()
    inputs = (batch(shape).requires_grad_(), layer.weight, layer.bias, layer.threshold)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), inputs)
    assert torch.autograd.gradgradcheck(lambda x, *_: layer(x), inputs)


def test_the_threshold_gets_the_gradient_of_what_it_stands_in_for() -> None:
    layer, x = make(), batch((3, 4, 2, 5))
    y = layer(x)
    cut = y == layer.threshold.view(-1, 1, 1)
    upstream = torch.rand_like(y)
    y.backward(upstream)
    torch.testing.assert_close(layer.threshold.grad, (upstream * cut).sum((0, 2, 3)))
    torch.testing.assert_close(layer.bias.grad, (upstream * ~cut).sum((0, 2, 3)))


def test_an_example_depends_on_no_other_in_training_either() -> None:
    layer, x = make(), batch((3, 4, 2, 5))
    alone = torch.cat([layer(example) for example in x.split(1)])
    torch.testing.assert_close(layer(x), alone)
    torch.testing.assert_close(layer.eval()(x), alone)
    assert not list(layer.buffers())


def test_the_scale_of_a_map_does_not_matter_and_its_mean_does() -> None:
    layer, x = make(eps=1e-12), batch((3, 4, 2, 5))
    scales = torch.rand(3, 4, 1, 1, dtype=torch.float64) + 0.5
    torch.testing.assert_close(layer(x * scales), layer(x))
    assert (layer(x + scales) - layer(x)).abs().max() > 0.1


def test_a_map_of_one_value_becomes_a_sign_unless_eps_is_large() -> None:
    """The warning of the documentation."""
    x = torch.tensor([-2.0, -0.5, 0.5, 2.0], dtype=torch.float64).view(4, 1, 1).requires_grad_()
    signs = FilterResponseNorm(1, dtype=torch.float64)
    soft = FilterResponseNorm(1, eps=1.0, dtype=torch.float64)
    with torch.no_grad():
        signs.threshold.fill_(-9), soft.threshold.fill_(-9)
    torch.testing.assert_close(signs(x), x.sign(), rtol=0, atol=1e-5)
    torch.testing.assert_close(soft(x), x / (x**2 + 1).sqrt())
    (gradient,) = torch.autograd.grad(signs(x).sum(), x)
    assert gradient.abs().max() < 1e-4
    (gradient,) = torch.autograd.grad(soft(x).sum(), x)
    assert gradient.abs().min() > 0.05


def test_a_map_of_zeros_has_finite_gradients() -> None:
    layer = make()
    x = torch.zeros(2, 4, 3, dtype=torch.float64, requires_grad=True)
    layer(x).sum().backward()
    assert all(value.grad.isfinite().all() for value in (x, *layer.parameters()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("state", [torch.float32, None])
def test_half_precision(dtype: torch.dtype, state: torch.dtype | None) -> None:
    """Catches squares in float16, of which those of values beyond 256 are infinite."""
    layer, x = make(dtype=state or dtype), (batch((3, 4, 8, 8)) * 1000).to(dtype)
    y = layer(x)
    assert y.dtype == dtype
    unit = torch.finfo(dtype).eps
    torch.testing.assert_close(y.double(), torch.from_numpy(in_numpy(layer, x)), rtol=unit, atol=1e-6)
    y.sum().backward()
    assert layer.threshold.grad.dtype == layer.threshold.dtype


def test_channels_last_in_and_out() -> None:
    x = batch((3, 4, 2, 5)).contiguous(memory_format=torch.channels_last)
    y = make()(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(y.detach(), in_numpy(make(), x))


def test_an_empty_batch() -> None:
    assert make()(torch.zeros(0, 4, 2, 3, dtype=torch.float64)).shape == (0, 4, 2, 3)


def test_its_state_goes_with_that_of_the_norms_that_keep_no_statistics() -> None:
    layer = make()
    assert list(layer.state_dict()) == ["weight", "bias", "threshold"]
    norm = nn.GroupNorm(2, 4, dtype=torch.float64)
    missing, unexpected = layer.load_state_dict(norm.state_dict(), strict=False)
    assert (missing, unexpected) == (["threshold"], [])
    torch.testing.assert_close(layer.weight, norm.weight)


def test_reset_parameters_makes_a_new_layer() -> None:
    layer = make()
    layer.reset_parameters()
    new = FilterResponseNorm(4, dtype=torch.float64)
    assert [value.tolist() for value in new.parameters()] == [[1.0] * 4, [0.0] * 4, [0.0] * 4]
    for value, other in zip(layer.parameters(), new.parameters(), strict=True):
        assert torch.equal(value, other)


@pytest.mark.parametrize(
    ("shape", "error", "words"),
    [
        ((6,), ValueError, r"FilterResponseNorm: expected input of shape \(N, C, ...\), got \(6,\)"),
        ((6, 4), ValueError, r"expected input of shape \(N, C, \*spatial\), .* got \(6, 4\)"),
        ((6, 5, 2), RuntimeError, r"FilterResponseNorm: expected input with 4 channels .* got shape \(6, 5, 2\)"),
    ],
)
def test_a_wrong_shape_is_refused(shape: tuple[int, ...], error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        make()(torch.zeros(shape))


@pytest.mark.parametrize("eps", [0.0, -1e-6, float("nan")])
def test_a_wrong_eps_is_refused(eps: float) -> None:
    with pytest.raises(ValueError, match=f"expected eps to be positive, got {eps}"):
        FilterResponseNorm(4, eps)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copy_has_parameters_of_its_own(copied: Any) -> None:
    layer, x = make(), batch((3, 4, 5))
    other = copied(layer)
    torch.testing.assert_close(other(x), layer(x))
    with torch.no_grad():
        other.threshold.add_(1)
    assert (other(x) - layer(x)).abs().max() > 0.1


def test_repr() -> None:
    assert repr(FilterResponseNorm(4)) == "FilterResponseNorm(4, eps=1e-06)"
