"""Moments against exact arithmetic, and running statistics against PyTorch's layer."""

from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from bncourse.reference import RunningStatistics, moments, reduction_axes
from tests.reference.strategies import cases


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40))
def test_moments_agree_with_exact_arithmetic(values):
    exact = [Fraction(v) for v in values]
    mean = sum(exact) / len(exact)
    m2 = sum((v - mean) ** 2 for v in exact)
    result = moments(np.array(values, np.float32), axis=0)
    assert result.count == len(values)
    scale = max(map(abs, values))
    assert abs(result.mean - float(mean)) <= 1e-14 * scale
    assert abs(result.m2 - float(m2)) <= 1e-13 * float(m2) + 1e-28 * scale**2 * len(values)


@settings(max_examples=50)
@given(cases())
def test_biased_and_unbiased_variance_are_numpy_s(case):
    axes = reduction_axes(case.x.ndim)
    result = moments(case.x, axes)
    assert result.mean.shape == (case.x.shape[1],)
    np.testing.assert_allclose(result.var, case.x.var(axis=axes), rtol=1e-9)
    np.testing.assert_allclose(result.unbiased_var, case.x.var(axis=axes, ddof=1), rtol=1e-9)


def test_moments_take_one_axis_or_several_and_keep_the_rest():
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    assert moments(x, 1).mean.shape == (2, 4)
    assert moments(x, -1).count == 4
    assert moments(x, (0, 1, 2)).mean.shape == ()
    np.testing.assert_allclose(moments(x, (0, 2)).m2, x.var(axis=(0, 2)) * 8)


@pytest.mark.parametrize("momentum", [0.1, 0.7, 1.0, None])
@pytest.mark.parametrize(("layer", "shape"), [(torch.nn.BatchNorm1d, (5, 3)), (torch.nn.BatchNorm2d, (2, 3, 4, 5))])
def test_running_statistics_agree_with_torch_over_several_batches(momentum, layer, shape):
    """Catches a flipped momentum, the biased variance, and a cumulative average with a wrong count."""
    rng = np.random.default_rng(7)
    theirs = layer(3, momentum=momentum).double()
    ours = RunningStatistics(3, momentum)
    for _ in range(4):
        x = rng.normal(5, 3, shape)
        theirs(torch.tensor(x))
        ours.update(x)
        np.testing.assert_allclose(ours.mean, theirs.running_mean.numpy(), rtol=1e-12)
        np.testing.assert_allclose(ours.var, theirs.running_var.numpy(), rtol=1e-12)
    assert ours.num_batches == int(theirs.num_batches_tracked) == 4


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: RunningStatistics(0), ValueError, "num_features >= 1, got 0"),
        (lambda: RunningStatistics(3, momentum=1.5), ValueError, r"momentum in \[0, 1\] or None, got 1.5"),
        (
            lambda: RunningStatistics(3).update(np.ones((2, 4))),
            ValueError,
            r"x of shape \(N, 3, \.\.\.\), got \(2, 4\)",
        ),
        (lambda: RunningStatistics(3).update(np.ones((1, 3))), ValueError, "more than one value per feature"),
        (lambda: RunningStatistics(3).update(np.ones((2, 3), int)), TypeError, "x of a floating dtype"),
    ],
)
def test_errors_name_the_argument_and_what_it_got(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_refused_batch_leaves_the_averages_alone():
    ours = RunningStatistics(2)
    with pytest.raises(ValueError, match="one value"):
        ours.update(np.ones((1, 2)))
    assert ours.num_batches == 0
    np.testing.assert_array_equal(ours.var, np.ones(2))
