"""GhostBatchNorm against NumPy, group by group; its state, its errors, and what it leaves alone."""

import copy
import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bncourse.layers import GhostBatchNorm
from tests.layers.test_batchnorm import assert_same

pytestmark = pytest.mark.slow

SHAPES = [(12, 5), (6, 5, 4), (6, 5, 2, 3), (6, 5, 2, 1, 3)]
EPS = 1e-2
"""Large enough to be seen where it is missing."""


def make(ghost_size: int = 3, dtype: torch.dtype = torch.float64, **options: Any) -> GhostBatchNorm:
    """A layer of five channels whose parameters and buffers are all different."""
    layer = GhostBatchNorm(5, ghost_size, **{"eps": EPS, "momentum": 0.3, **options}, dtype=dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in [*layer.parameters(), layer.running_mean, layer.running_var]:
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return layer


def batch(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Examples whose mean and spread grow along the batch, so that any other grouping shows."""
    generator = torch.Generator().manual_seed(2)
    along = torch.arange(shape[0]).view(-1, *[1] * (len(shape) - 1))
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * (1 + along) + 5 * along - 8).to(dtype)


def in_numpy(layer: GhostBatchNorm, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y and the running statistics after the step, from one group after the other."""
    weight, bias, mean, var = (
        value.detach().double().numpy() for value in (layer.weight, layer.bias, layer.running_mean, layer.running_var)
    )
    per_channel = (1, -1, *[1] * (x.ndim - 2))
    outputs, means, variances = [], [], []
    for start in range(0, len(x), layer.ghost_size):
        group = x[start : start + layer.ghost_size].double().numpy()
        columns = np.moveaxis(group, 1, 0).reshape(group.shape[1], -1)
        x_hat = (group - columns.mean(1).reshape(per_channel)) / np.sqrt(columns.var(1) + layer.eps).reshape(
            per_channel
        )
        outputs.append(weight.reshape(per_channel) * x_hat + bias.reshape(per_channel))
        means.append(columns.mean(1))
        variances.append(columns.var(1, ddof=1))
    momentum = layer.momentum
    mean = (1 - momentum) * mean + momentum * np.mean(means, 0)
    var = (1 - momentum) * var + momentum * np.mean(variances, 0)
    return np.concatenate(outputs), mean, var


@pytest.mark.parametrize("ghost_size", [2, 3, 6])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_group_has_its_own_statistics(shape: tuple[int, ...], ghost_size: int) -> None:
    """Catches strided groups, a number of groups taken for their size, and statistics that are kept in turn."""
    layer, x = make(ghost_size), batch(shape)
    y, mean, var = in_numpy(layer, x)
    np.testing.assert_allclose(layer(x).detach(), y, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, var, rtol=1e-12)
    assert layer.num_batches_tracked == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients(shape: tuple[int, ...]) -> None:
    layer = make()
    inputs = (batch(shape).requires_grad_(), layer.weight, layer.bias)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), inputs)
    assert torch.autograd.gradgradcheck(lambda x, *_: layer(x), inputs, atol=1e-4)


def test_no_gradient_passes_between_ghost_batches() -> None:
    x = batch((6, 5, 2, 2)).requires_grad_()
    (gradient,) = torch.autograd.grad(make()(x)[:3].pow(3).sum(), x)
    assert gradient[:3].abs().max() > 1e-3
    assert torch.equal(gradient[3:], torch.zeros_like(gradient[3:]))


@pytest.mark.parametrize("affine", [True, False])
def test_one_ghost_batch_is_batch_norm(affine: bool) -> None:
    layer = make(6, affine=affine)
    theirs = nn.BatchNorm2d(5, EPS, 0.3, affine, dtype=torch.float64)
    theirs.load_state_dict(layer.state_dict(), strict=True)
    x = batch((6, 5, 2, 3))
    torch.testing.assert_close(layer(x), theirs(x))
    assert_same(layer, theirs)
    torch.testing.assert_close(layer.eval()(x), theirs.eval()(x))


def test_evaluation_is_batch_norms_on_any_number_of_examples() -> None:
    layer = make().eval()
    theirs = nn.BatchNorm1d(5, EPS, dtype=torch.float64).eval()
    theirs.load_state_dict(layer.state_dict(), strict=True)
    before = copy.deepcopy(layer.state_dict())
    for examples in (1, 4, 7):
        x = batch((examples, 5))
        torch.testing.assert_close(layer(x), theirs(x))
    assert all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())


@pytest.mark.parametrize(("layer", "shape"), [(nn.BatchNorm1d, (6, 5)), (nn.BatchNorm2d, (6, 5, 2, 3))])
def test_checkpoints_load_both_ways(layer: Any, shape: tuple[int, ...]) -> None:
    ours, theirs = make(), layer(5, dtype=torch.float64)
    ours(batch(shape))
    for source, target in ((ours, theirs), (theirs, make(2))):
        file = io.BytesIO()
        torch.save(source.state_dict(), file)
        file.seek(0)
        target.load_state_dict(torch.load(file, weights_only=True), strict=True)
        assert_same(target, source, rtol=0, atol=0)


def test_cumulative_statistics_are_averages_over_all_ghost_batches() -> None:
    layer = make(momentum=None)
    batches = [batch((6, 5)) + step for step in range(3)]
    for x in batches:
        layer(x)
    groups = torch.cat(batches).view(6, 3, 5)
    torch.testing.assert_close(layer.running_mean, groups.mean(1).mean(0))
    torch.testing.assert_close(layer.running_var, groups.var(1).mean(0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("state", [torch.float32, None])
def test_half_precision(dtype: torch.dtype, state: torch.dtype | None) -> None:
    """Catches sums in half precision, at a mean where they lose all digits of the variance."""
    layer = make(dtype=state or dtype)
    x = (batch((6, 5, 8, 8)) + 60).to(dtype)
    y, mean, var = in_numpy(layer, x)
    found = layer(x)
    unit = torch.finfo(dtype).eps
    assert (found.dtype, layer.running_var.dtype) == (dtype, state or dtype)
    torch.testing.assert_close(found.double(), torch.from_numpy(y), rtol=unit, atol=1e-4)
    unit = 3 * torch.finfo(layer.running_var.dtype).eps
    np.testing.assert_allclose(layer.running_mean.double(), mean, rtol=unit)
    np.testing.assert_allclose(layer.running_var.double(), var, rtol=unit)
    found.sum().backward()
    assert layer.weight.grad.dtype == layer.weight.dtype


def test_the_memory_format_is_kept_and_any_is_taken() -> None:
    layer, x = make(), batch((6, 5, 2, 3))
    expected = in_numpy(layer, x)[0]
    last = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    y = layer(last)
    assert y.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(y.detach(), expected)
    slanted = x.transpose(2, 3).contiguous().transpose(2, 3)
    np.testing.assert_allclose(make()(slanted).detach(), expected)
    upstream = torch.rand_like(y)
    (found,) = torch.autograd.grad(y, last, upstream)
    plain = x.clone().requires_grad_()
    torch.testing.assert_close(found, torch.autograd.grad(make()(plain), plain, upstream)[0])


@pytest.mark.parametrize("examples", [1, 2, 4, 7])
def test_a_batch_that_ghost_batches_do_not_fill_is_refused(examples: int) -> None:
    layer = make()
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(
        ValueError, match=f"GhostBatchNorm: expected a batch that ghost batches of 3 fill, got {examples} examples"
    ):
        layer(batch((examples, 5)))
    assert all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())


def test_an_empty_batch_changes_nothing() -> None:
    layer = make()
    before = copy.deepcopy(layer.state_dict())
    assert layer(torch.zeros(0, 5, 2, 3, dtype=torch.float64)).shape == (0, 5, 2, 3)
    assert all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())


def test_without_tracking_the_statistics_rest() -> None:
    layer = make()
    layer.track_running_stats = False
    before = copy.deepcopy(layer.state_dict())
    x = batch((6, 5))
    torch.testing.assert_close(layer(x), make()(x))
    assert all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())


@pytest.mark.parametrize("ghost_size", [1, 0, -2, 2.5, float("inf"), float("nan"), True])
def test_a_wrong_ghost_size_is_refused(ghost_size: Any) -> None:
    with pytest.raises(ValueError, match=f"expected ghost_size to be a whole number, 2 at least, got {ghost_size}"):
        GhostBatchNorm(5, ghost_size)


@pytest.mark.parametrize(
    ("shape", "error", "words"),
    [
        ((6,), ValueError, r"GhostBatchNorm: expected input of shape \(N, C, ...\), got \(6,\)"),
        ((6, 4, 2), RuntimeError, r"GhostBatchNorm: expected input with 5 channels .* got shape \(6, 4, 2\)"),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_a_wrong_shape_is_refused(shape: tuple[int, ...], error: Any, words: str, training: bool) -> None:
    with pytest.raises(error, match=words):
        make().train(training)(torch.zeros(shape))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copy_has_a_state_of_its_own(copied: Any) -> None:
    layer = make()
    other, x = copied(layer), batch((6, 5))
    assert (other.ghost_size, other.eps, other.momentum) == (3, EPS, 0.3)
    other(x)
    assert layer.num_batches_tracked == 0
    layer(x)
    assert_same(other, layer, rtol=0, atol=0)


def test_repr() -> None:
    assert repr(GhostBatchNorm(5, np.int64(4))) == (
        "GhostBatchNorm(5, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True, ghost_size=4)"
    )
