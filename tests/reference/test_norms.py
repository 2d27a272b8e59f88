"""The relatives of batch norm against PyTorch, finite differences, and each other."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import assume, given, settings

from bncourse.reference import (
    batch_norm,
    group_norm,
    group_norm_backward,
    instance_norm,
    instance_norm_backward,
    layer_norm,
    layer_norm_backward,
    numeric_gradient,
    relative_error,
    rms_norm,
    rms_norm_backward,
)
from tests.reference.strategies import cases


def divisors(number):
    return [group for group in range(1, number + 1) if number % group == 0]


def per_entry(case, rng_seed=0):
    """Scale and shift for each entry of an example."""
    rng = np.random.default_rng(rng_seed)
    shape = case.x.shape[1:]
    return rng.uniform(-2, 2, shape).astype(case.x.dtype), rng.uniform(-3, 3, shape).astype(case.x.dtype)


def both(ours, theirs, case, parameters):
    """Output and gradients of our function and of PyTorch's, each as a list."""
    forward, backward = ours
    y, cache = forward(case.x, *parameters)
    found = [y, *backward(case.dy, cache)]
    tensors = [torch.tensor(np.ascontiguousarray(array), requires_grad=True) for array in (case.x, *parameters)]
    out = theirs(*tensors)
    out.backward(torch.tensor(np.ascontiguousarray(case.dy)))
    return found, [out.detach().numpy(), *(tensor.grad.numpy() for tensor in tensors)]


def agree(found, wanted, case, inv_std):
    """PyTorch accumulates in another order: at mean/std = 100 that costs digits, of the terms that cancel in dx."""
    scale = float(inv_std.max() * 4 * np.abs(case.dy).max())
    assert [array.shape for array in found] == [array.shape for array in wanted]
    assert relative_error(found[0], wanted[0]) < 1e-10
    assert np.abs(found[1] - wanted[1]).max() < 1e-10 * scale
    for ours, theirs in zip(found[2:], wanted[2:], strict=True):
        assert np.abs(ours - theirs).max() < 1e-10 * max(np.abs(case.dy).sum(), 1)


@settings(max_examples=80)
@given(cases())
def test_layer_norm_agrees_with_torch(case):
    assume(np.prod(case.x.shape[1:]) >= 2)
    gamma, beta = per_entry(case)
    found, wanted = both(
        (lambda x, g, b: layer_norm(x, g, b, case.eps), layer_norm_backward),
        lambda x, g, b: F.layer_norm(x, x.shape[1:], g, b, case.eps),
        case,
        (gamma, beta),
    )
    agree(found, wanted, case, layer_norm(case.x, gamma, beta, case.eps)[1].inv_std)


@settings(max_examples=80)
@given(cases())
def test_group_norm_agrees_with_torch_for_every_number_of_groups(case):
    for groups in divisors(case.x.shape[1]):
        if case.x[0].size // groups < 2:
            continue
        found, wanted = both(
            (lambda x, g, b, n=groups: group_norm(x, g, b, n, case.eps), group_norm_backward),
            lambda x, g, b, n=groups: F.group_norm(x, n, g, b, case.eps),
            case,
            (case.gamma, case.beta),
        )
        agree(found, wanted, case, group_norm(case.x, case.gamma, case.beta, groups, case.eps)[1].inv_std)


@settings(max_examples=80)
@given(cases())
def test_instance_norm_agrees_with_torch(case):
    assume(case.x.ndim > 2 and np.prod(case.x.shape[2:]) >= 2)
    found, wanted = both(
        (lambda x, g, b: instance_norm(x, g, b, case.eps), instance_norm_backward),
        lambda x, g, b: F.instance_norm(x, weight=g, bias=b, eps=case.eps),
        case,
        (case.gamma, case.beta),
    )
    agree(found, wanted, case, instance_norm(case.x, case.gamma, case.beta, case.eps)[1].inv_std)


@settings(max_examples=80)
@given(cases())
def test_rms_norm_agrees_with_torch(case):
    gamma, _ = per_entry(case)
    found, wanted = both(
        (lambda x, g: rms_norm(x, g, case.eps), rms_norm_backward),
        lambda x, g: F.rms_norm(x, x.shape[1:], g, case.eps),
        case,
        (gamma,),
    )
    agree(found, wanted, case, rms_norm(case.x, gamma, case.eps)[1].inv_std)


@settings(max_examples=30)
@given(cases())
def test_the_norms_are_one_idea(case):
    """One group is layer norm's statistics, a group a channel is instance norm, one example batch norm of it."""
    x, ones, zeros = case.x, np.ones(case.x.shape[1]), np.zeros(case.x.shape[1])
    assume(x[0].size >= 2)
    whole, _ = group_norm(x, ones, zeros, 1, case.eps)
    layer, _ = layer_norm(x, np.ones(x.shape[1:]), np.zeros(x.shape[1:]), case.eps)
    np.testing.assert_allclose(whole, layer, rtol=1e-12, atol=1e-12)
    if x.ndim > 2 and x[0, 0].size >= 2:
        single, _ = instance_norm(x, ones, zeros, case.eps)
        for example in range(len(x)):
            alone, _ = batch_norm(x[example : example + 1], ones, zeros, case.eps)
            np.testing.assert_allclose(single[example : example + 1], alone, rtol=1e-12, atol=1e-12)
    centred = x - x.mean(axis=tuple(range(1, x.ndim)), keepdims=True)
    rms, _ = rms_norm(centred, np.ones(x.shape[1:]), case.eps)
    np.testing.assert_allclose(rms, layer, rtol=1e-9, atol=1e-9)


def test_no_example_sees_another():
    """Catches statistics over the batch axis: the first example comes out the same whatever stands beside it."""
    rng = np.random.default_rng(3)
    x, other = rng.normal(2, 3, (4, 6, 5)), rng.normal(-7, 1, (4, 6, 5))
    other[0] = x[0]
    gamma, beta = rng.normal(size=6), rng.normal(size=6)
    entry = rng.normal(size=(2, 6, 5))
    for norm in (
        lambda x: layer_norm(x, *entry)[0],
        lambda x: instance_norm(x, gamma, beta)[0],
        lambda x: group_norm(x, gamma, beta, 3)[0],
        lambda x: rms_norm(x, entry[0])[0],
    ):
        np.testing.assert_array_equal(norm(x)[0], norm(other)[0])


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_group_norms_gradient_is_that_of_finite_differences(groups):
    rng = np.random.default_rng(groups)
    x, dy = rng.normal(3, 2, (2, 6, 4)), rng.normal(1, 1, (2, 6, 4))
    gamma, beta = rng.uniform(0.5, 2, 6), rng.normal(size=6)
    dx, _, _ = group_norm_backward(dy, group_norm(x, gamma, beta, groups)[1])
    numeric = numeric_gradient(lambda x: group_norm(x, gamma, beta, groups)[0], x, dy)
    assert relative_error(dx, numeric) < 1e-8


def test_rms_norm_passes_back_a_common_offset_and_layer_norm_does_not():
    """Catches the mean's projection left in RMS norm's gradient."""
    rng = np.random.default_rng(5)
    x, dy, gamma = rng.normal(1, 2, (3, 8)), np.ones((3, 8)), np.ones(8)
    dx_layer, *_ = layer_norm_backward(dy, layer_norm(x, gamma, np.zeros(8))[1])
    dx_rms, _ = rms_norm_backward(dy, rms_norm(x, gamma)[1])
    assert np.abs(dx_layer).max() < 1e-14
    assert np.abs(dx_rms.sum(axis=1)).min() > 0.1


def test_each_norm_passes_back_nothing_along_its_output():
    """Every norm forgets a common scale of what it normalizes together, but for eps."""
    rng = np.random.default_rng(6)
    x, ones = rng.normal(1, 2, (3, 4, 6)), np.ones((4, 6))
    for y, dx in (
        (lambda c: (c.x_hat, layer_norm_backward(c.x_hat, c)[0]))(layer_norm(x, ones, 0 * ones, 1e-12)[1]),
        (lambda c: (c.x_hat, rms_norm_backward(c.x_hat, c)[0]))(rms_norm(x, ones, 1e-12)[1]),
    ):
        assert np.abs(dx).max() < 1e-10 * np.abs(y).max()


def test_bad_input_is_named():
    x = np.zeros((2, 6, 4))
    per_channel, per_entry = np.ones(6), np.ones((6, 4))
    for call, message in (
        (lambda: group_norm(x, per_channel, per_channel, 4), "num_groups to divide the 6 channels"),
        (lambda: group_norm(x[:, :, 0], per_channel, per_channel, 6), "2 values or more"),
        (lambda: instance_norm(x[:, :, 0], per_channel, per_channel), "spatial axis"),
        (lambda: layer_norm(x, per_channel, per_entry), r"gamma of shape \(6, 4\)"),
        (lambda: layer_norm(x, per_entry, per_channel), r"beta of shape \(6, 4\)"),
        (lambda: layer_norm(x[:, :1, :1], np.ones((1, 1)), np.ones((1, 1))), "2 values or more"),
        (lambda: rms_norm(x, per_channel), r"gamma of shape \(6, 4\)"),
        (lambda: rms_norm(x, per_entry, 0.0), "eps > 0"),
        (lambda: rms_norm(x[:0], per_entry), "empty"),
        (lambda: layer_norm_backward(x[:1], layer_norm(x, per_entry, per_entry)[1]), "dy of the shape of x"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="x of a floating dtype"):
        rms_norm(x.astype(int), per_entry)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_narrow_dtypes_come_back_as_they_went_in(dtype):
    rng = np.random.default_rng(8)
    x, dy = rng.normal(100, 1, (2, 4, 8)).astype(dtype), rng.normal(size=(2, 4, 8)).astype(dtype)
    gamma = rng.uniform(0.5, 2, 4).astype(dtype)
    y, cache = group_norm(x, gamma, gamma, 2)
    dx, dgamma, dbeta = group_norm_backward(dy, cache)
    assert {array.dtype for array in (y, dx, dgamma, dbeta)} == {np.dtype(dtype)}
    wide, _ = group_norm(x.astype(np.float64), gamma.astype(np.float64), gamma.astype(np.float64), 2)
    assert relative_error(y, wide) < 4 * np.finfo(dtype).eps
