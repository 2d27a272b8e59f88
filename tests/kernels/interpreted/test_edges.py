"""What the cases cannot show: signs that hang on a rounding, channels without variance, NaN, other strides."""

import pytest
import torch
from torch.nn.functional import batch_norm as torch_batch_norm

from bncourse.kernels import batch_norm, launch, view
from bncourse.kernels.compiler import compile_kernels

EPS = 1e-5


def forward(x, weight=None, bias=None, running=(None, None), training=True, relu=False):
    return launch.forward(x, weight, bias, *running, training, 0.1, EPS, None, relu, False)


def test_the_backward_pass_sees_the_sign_that_the_forward_pass_saw():
    """Catches a mask recomputed by another expression, which rounds to another sign where y is nearly zero."""
    torch.manual_seed(0)
    x = torch.randn(64, 512) + 3
    weight = torch.rand(512) + 0.5
    _, mean, inv_std, _ = forward(x, weight)
    # In the first row, what is added cancels but for a rounding.
    bias = -((x[0] - mean) * (weight * inv_std)) * (1 + 2.0**-24 * torch.randint(-2, 3, (512,)))
    y, mean, inv_std, flags = forward(x, weight, bias, relu=True)
    near = ((x[0] - mean).double() * (weight * inv_std).double() + bias.double()).abs() < 1e-6
    assert near.all()
    assert 100 < (y[0] > 0).sum() < 412
    dx, *_ = launch.backward(torch.ones_like(x), x, weight, bias, mean, inv_std, flags, False, True, False)
    assert torch.equal(dx != 0, y > 0)


@pytest.mark.parametrize("shape", [(5, 3, 7, 7), (37, 11), (2, 3, 31, 31), (300, 3)])
@pytest.mark.parametrize("value", [10000.1, -0.1, 1e-3, 3e30])
@pytest.mark.parametrize("tile", [64, 2048])
def test_a_constant_channel_has_no_variance(shape, value, tile, monkeypatch):
    """Catches a mean that is a rounding away from equal values: divided by sqrt(eps) that is 0.3 at 10000."""
    monkeypatch.setattr(view, "TILE", tile)
    x, bias = torch.full(shape, value), torch.randn(shape[1])
    y, mean, inv_std, _ = forward(x, None, bias)
    assert torch.equal(mean, torch.full((shape[1],), value))
    torch.testing.assert_close(inv_std, torch.full((shape[1],), EPS**-0.5), rtol=1.2e-7, atol=0)
    assert torch.equal(y.movedim(1, -1), bias.expand(y.movedim(1, -1).shape))


@pytest.mark.parametrize("ratio", [100.0, 1000.0, 10000.0])
def test_a_large_mean_costs_the_variance_no_more_than_a_rounding_of_each_deviation(ratio):
    """Catches E[x²] - E[x]², whose relative error is of the order of 1e-7 * ratio²."""
    torch.manual_seed(0)
    x = torch.randn(4096, 16) + ratio
    *_, mean, inv_std, _ = forward(x)
    var, exact_mean = torch.var_mean(x.double(), dim=0, correction=0)
    assert ((mean.double() - exact_mean).abs() < 2.0**-23 * ratio).all()
    # Merging tiles, Chan's formula subtracts their means, each of which is known to a rounding.
    assert (inv_std.double() * (var + EPS).sqrt() - 1).abs().max() < 2.0**-23 * (1 + ratio / 50)


def test_a_nan_stays_in_its_channel_and_is_not_hidden_by_the_relu():
    x = torch.randn(40, 5)
    x[7, 2] = torch.nan
    running = torch.zeros(5), torch.ones(5)
    y, mean, inv_std, _ = forward(x, running=running, relu=True)
    spoiled = torch.tensor([False, False, True, False, False])
    for values in (mean, inv_std, *running, y[0]):
        assert torch.equal(values.isnan(), spoiled)


@pytest.mark.parametrize("shape", [(6, 5), (3, 5, 4), (2, 5, 4, 3), (2, 5, 2, 3, 2)])
def test_strides_of_x_and_dy_do_not_matter(shape):
    """Catches data read in memory order: a transposed x, a gradient with stride 0, one in another format."""
    torch.manual_seed(0)
    x = torch.randn(*shape[::-1], dtype=torch.float64).permute(*range(len(shape))[::-1])
    dense = x.clone(memory_format=torch.contiguous_format)
    gradients = [torch.ones((), dtype=x.dtype).expand(shape), torch.randn_like(x)]
    for dy in gradients:
        results = []
        for values, function in ((x, batch_norm), (dense, torch_batch_norm)):
            leaf = values.detach().requires_grad_()
            order = (leaf, None, None) if function is batch_norm else (leaf, None, None, None, None)
            y = function(*order, training=True)
            (y * torch.arange(shape[-1])).backward(dy)
            results.append((y.detach(), leaf.grad))
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("training", [True, False])
def test_strides_of_parameters_and_running_statistics_do_not_matter(training):
    """Catches every other value taken for the next: a slice, and one value for all channels by a stride of 0.

    PyTorch's own batch norm gets copies without gaps: on a CPU its backward pass takes them for granted.
    """
    torch.manual_seed(0)
    x, dy = torch.randn(2, 5, 3, dtype=torch.float64)
    memory = torch.rand(3, 4, dtype=torch.float64) + 0.5
    given = [x, memory[0, 0].expand(3), memory[:, 1], memory[:, 2], memory[:, 3]]
    copies = [values.clone(memory_format=torch.contiguous_format) for values in given]
    results = []
    for function, values in ((batch_norm, given), (torch_batch_norm, copies)):
        leaves, running = [value.detach().requires_grad_() for value in values[:3]], values[3:]
        order = (*leaves, *running) if function is batch_norm else (leaves[0], *running, *leaves[1:])
        y = function(*order, training)
        results.append([y.detach(), *torch.autograd.grad(y.relu(), leaves, dy), *running])
    torch.testing.assert_close(*results)


def test_one_value_per_channel_raises_as_in_torch():
    x = torch.randn(1, 4, 1)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel") as theirs:
        torch_batch_norm(x, None, None, training=True)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel") as ours:
        batch_norm(x, training=True)
    assert str(ours.value) == str(theirs.value)


def test_an_interpreted_kernel_cannot_be_compiled():
    with pytest.raises(RuntimeError, match="unset TRITON_INTERPRET"):
        compile_kernels(view.View(8, 8, 1), torch.float32)
