"""The transform and its gradients against PyTorch, float64, finite differences and its own invariances."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.nn.functional import batch_norm as torch_batch_norm

from bncourse.reference import (
    batch_norm,
    batch_norm_backward,
    batch_norm_backward_staged,
    batch_norm_inference,
    batch_norm_inference_backward,
    moments,
    numeric_gradient,
    reduction_axes,
    relative_error,
)
from tests.reference.strategies import Case, cases


def torch_forward_backward(case: Case) -> list[np.ndarray]:
    x, gamma, beta = (torch.tensor(a, requires_grad=True) for a in (case.x.copy(), case.gamma, case.beta))
    y = torch_batch_norm(x, None, None, gamma, beta, training=True, eps=case.eps)
    y.backward(torch.tensor(case.dy.copy()))
    return [y.detach().numpy(), *(a.grad.numpy() for a in (x, gamma, beta))]


def ours_forward_backward(case: Case) -> list[np.ndarray]:
    y, cache = batch_norm(case.x, case.gamma, case.beta, case.eps)
    return [y, *batch_norm_backward(case.dy, cache)]


def gradient_scale(case: Case) -> float:
    """The size of dx's terms before they cancel: what its rounding error is relative to."""
    std = np.sqrt(moments(case.x.astype(np.float64), reduction_axes(case.x.ndim)).var + case.eps)
    return float(np.abs(case.gamma / std).max() * np.abs(case.dy).max())


@settings(max_examples=150)
@given(cases())
def test_forward_and_backward_agree_with_torch_in_float64(case):
    y, dx, dgamma, dbeta = ours_forward_backward(case)
    ref_y, ref_dx, ref_dgamma, ref_dbeta = torch_forward_backward(case)
    # torch accumulates in another order; at mean/std = 100 that costs two digits of the sixteen.
    assert relative_error(y, ref_y) < 1e-11
    assert np.abs(dx - ref_dx).max() < 1e-11 * gradient_scale(case)
    assert relative_error(dbeta, ref_dbeta) < 1e-11
    assert np.abs(dgamma - ref_dgamma).max() < 1e-11 * np.abs(case.dy).sum()


@settings(max_examples=100)
@given(cases(np.float32))
def test_float32_is_within_rounding_of_float64(case):
    """Catches a statistic accumulated in float32: at mean/std = 100 it would miss by more than 1e-5."""
    exact = ours_forward_backward(Case(*(np.asarray(a, np.float64) for a in case[:4]), case.eps))
    ours = ours_forward_backward(case)
    assert [a.dtype for a in ours] == [np.float32] * 4
    assert np.abs(ours[0] - exact[0]).max() < 1e-6 * (1 + np.abs(exact[0]).max())
    assert np.abs(ours[1] - exact[1]).max() < 2e-6 * gradient_scale(case)
    assert np.abs(ours[2] - exact[2]).max() < 1e-6 * np.abs(case.dy).sum()
    assert np.abs(ours[3] - exact[3]).max() < 1e-6 * np.abs(case.dy).sum()


@settings(max_examples=50)
@given(cases(np.float16))
def test_float16_computes_in_float32(case):
    """Catches arithmetic in half precision: only the result is rounded to it (half a unit in the last place)."""
    exact = ours_forward_backward(Case(*(np.asarray(a, np.float64) for a in case[:4]), case.eps))
    ours = ours_forward_backward(case)
    assert [a.dtype for a in ours] == [np.float16] * 4
    half_ulp = np.finfo(np.float16).eps / 2
    assert np.abs(ours[0] - exact[0]).max() <= 1.01 * half_ulp * np.abs(exact[0]).max() + 1e-6
    assert np.abs(ours[1] - exact[1]).max() <= 1.01 * half_ulp * np.abs(exact[1]).max() + 1e-5 * gradient_scale(case)


@settings(max_examples=25)
@given(cases())
def test_backward_agrees_with_finite_differences(case):
    small = Case(case.x[:3, :2], case.gamma[:2], case.beta[:2], case.dy[:3, :2], case.eps)
    if small.x.size // small.x.shape[1] < 2:
        return
    _, cache = batch_norm(small.x, small.gamma, small.beta, small.eps)
    analytic = batch_norm_backward(small.dy, cache)
    numeric = (
        numeric_gradient(lambda x: batch_norm(x, small.gamma, small.beta, small.eps)[0], small.x, small.dy),
        numeric_gradient(lambda gamma: batch_norm(small.x, gamma, small.beta, small.eps)[0], small.gamma, small.dy),
        numeric_gradient(lambda beta: batch_norm(small.x, small.gamma, beta, small.eps)[0], small.beta, small.dy),
    )
    # The step is relative to max(1, |x|), so the error is that of a spread of 0.01 around a mean of 1.
    assert np.abs(analytic[0] - numeric[0]).max() < 2e-5 * gradient_scale(small)
    assert np.abs(analytic[1] - numeric[1]).max() < 1e-6 * np.abs(small.dy).sum()
    assert np.abs(analytic[2] - numeric[2]).max() < 1e-6 * np.abs(small.dy).sum()


@settings(max_examples=50)
@given(cases())
def test_inference_agrees_with_torch_and_is_affine(case):
    mean, var = case.beta - 1, np.abs(case.gamma) + 0.1
    y = batch_norm_inference(case.x, mean, var, case.gamma, case.beta, case.eps)
    arguments = (torch.tensor(a.copy()) for a in (case.x, mean, var, case.gamma, case.beta))
    np.testing.assert_allclose(
        y, torch_batch_norm(*arguments, training=False, eps=case.eps).numpy(), rtol=1e-11, atol=1e-11
    )
    one_by_one = [batch_norm_inference(row[None], mean, var, case.gamma, case.beta, case.eps) for row in case.x]
    np.testing.assert_array_equal(np.concatenate(one_by_one), y)


def test_inference_takes_an_empty_batch():
    ones = np.ones(3)
    assert batch_norm_inference(np.empty((0, 3, 2)), ones, ones, ones, ones).shape == (0, 3, 2)


@settings(max_examples=50)
@given(cases())
def test_shifting_and_scaling_the_input_changes_nothing(case):
    """An invariance of the transform where eps scales along; catches statistics over a wrong axis."""
    y, _ = batch_norm(case.x, case.gamma, case.beta, case.eps)
    moved, _ = batch_norm(4 * case.x + 3, case.gamma, case.beta, 16 * case.eps)
    np.testing.assert_allclose(moved, y, rtol=1e-8, atol=1e-8)


@settings(max_examples=50)
@given(cases())
def test_features_do_not_see_each_other(case):
    """Catches any statistic that mixes features. (A copy may be summed in another order: not bit for bit.)"""
    y, _ = batch_norm(case.x, case.gamma, case.beta, case.eps)
    changed = case.x.copy()
    changed[:, 0] *= 7
    again, _ = batch_norm(changed, case.gamma, case.beta, case.eps)
    np.testing.assert_allclose(again[:, 1:], y[:, 1:], rtol=1e-10, atol=1e-10)


@settings(max_examples=50)
@given(cases())
def test_inputs_are_left_alone(case):
    before = Case(*(np.array(a) for a in case[:4]), case.eps)
    ours_forward_backward(case)
    for kept, now in zip(before[:4], case[:4], strict=True):
        np.testing.assert_array_equal(kept, now)


def test_a_large_mean_in_float32_costs_nothing():
    """torch's own float32 layer loses this one on a CPU; so does NumPy's mean over axis 0."""
    rng = np.random.default_rng(3)
    x = (1e4 + rng.standard_normal((65536, 3))).astype(np.float32)
    y, _ = batch_norm(x, np.ones(3), np.zeros(3))
    assert np.abs(y.mean(axis=0, dtype=np.float64)).max() < 1e-6
    np.testing.assert_allclose(y.std(axis=0, dtype=np.float64), 1, atol=1e-4)


def test_a_constant_feature_gives_beta_and_no_nan():
    x = np.full((6, 2), 3.5)
    beta = np.array([-1.0, 2.0])
    y, cache = batch_norm(x, np.array([5.0, -7.0]), beta)
    np.testing.assert_array_equal(y, np.tile(beta, (6, 1)))
    assert np.isfinite(batch_norm_backward(np.arange(12.0).reshape(6, 2), cache)[0]).all()


X = np.arange(12.0).reshape(4, 3)
ONES = np.ones(3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: batch_norm(np.arange(4.0), ONES, ONES),
            ValueError,
            r"expected x of shape \(N, C, \.\.\.\), got \(4,\)",
        ),
        (lambda: batch_norm(np.float64(3), ONES, ONES), ValueError, r"got \(\)"),
        (lambda: batch_norm(X.astype(int), ONES, ONES), TypeError, "expected x of a floating dtype, got int64"),
        (lambda: batch_norm(X > 3, ONES, ONES), TypeError, "got bool"),
        (lambda: batch_norm(X * 1j, ONES, ONES), TypeError, "got complex128"),
        (lambda: batch_norm(X, np.ones(4), ONES), ValueError, r"gamma of shape \(3,\).*\(4, 3\), got \(4,\)"),
        (lambda: batch_norm(X, ONES, np.ones((3, 1))), ValueError, r"beta of shape \(3,\).*got \(3, 1\)"),
        (lambda: batch_norm(X, np.array([1, 1, 1]), ONES), TypeError, "gamma of a floating dtype, got int64"),
        (lambda: batch_norm(X[:1], ONES, ONES), ValueError, r"more than one value per feature.*\(1, 3\)"),
        (lambda: batch_norm(X[:0], ONES, ONES), ValueError, r"empty x of shape \(0, 3\)"),
        (lambda: batch_norm(np.empty((4, 0)), np.ones(0), np.ones(0)), ValueError, r"empty x of shape \(4, 0\)"),
        (lambda: batch_norm(X, ONES, ONES, eps=0), ValueError, "expected eps > 0, got 0"),
        (lambda: batch_norm(X, ONES, ONES, eps=-1e-5), ValueError, "expected eps > 0, got -1e-05"),
        (lambda: batch_norm(X, ONES, ONES, eps=float("nan")), ValueError, "expected eps > 0, got nan"),
        (
            lambda: batch_norm_inference(X, ONES, -ONES, ONES, ONES),
            ValueError,
            "expected var >= 0, got -1.0 for feature 0",
        ),
        (lambda: batch_norm_inference(X, ONES[:2], ONES, ONES, ONES), ValueError, r"mean of shape \(3,\)"),
        (lambda: batch_norm_inference(X, ONES, ONES, ONES, ONES, eps=0), ValueError, "expected eps > 0"),
        (lambda: batch_norm_backward(X[:2], batch_norm(X, ONES, ONES)[1]), ValueError, r"\(4, 3\), got \(2, 3\)"),
        (lambda: batch_norm_backward(X.astype(int), batch_norm(X, ONES, ONES)[1]), TypeError, "dy of a floating"),
        (lambda: moments(np.empty((0, 3)), 0), ValueError, r"at least one value.*\(0, 3\)"),
        (lambda: moments(X[:1], 0).unbiased_var, ValueError, "count of at least 2.*got 1"),
    ],
)
def test_errors_name_the_argument_and_what_it_got(call, error, message):
    with pytest.raises(error, match=message):
        call()


@settings(max_examples=100)
@given(cases())
def test_the_staged_backward_pass_is_the_closed_form(case):
    """Two derivations of one gradient, in two orders of operations."""
    _, cache = batch_norm(case.x, case.gamma, case.beta, case.eps)
    closed, staged = batch_norm_backward(case.dy, cache), batch_norm_backward_staged(case.dy, cache)
    assert np.abs(closed[0] - staged[0]).max() < 1e-12 * gradient_scale(case)
    for one, other in zip(closed[1:], staged[1:], strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=100)
@given(cases())
def test_the_backward_pass_with_frozen_statistics_agrees_with_torch(case):
    rng = np.random.default_rng(case.x.shape[1])
    mean, var = rng.normal(size=case.x.shape[1]), rng.uniform(0, 4, case.x.shape[1])
    x, gamma, beta = (torch.tensor(np.ascontiguousarray(a), requires_grad=True) for a in case[:3])
    y = torch_batch_norm(x, torch.tensor(mean), torch.tensor(var), gamma, beta, training=False, eps=case.eps)
    y.backward(torch.tensor(np.ascontiguousarray(case.dy)))
    found = batch_norm_inference_backward(case.dy, case.x, mean, var, case.gamma, case.eps)
    for ours, theirs in zip(found, (x.grad, gamma.grad, beta.grad), strict=True):
        assert relative_error(ours, theirs.numpy()) < 1e-11


def test_frozen_statistics_take_nothing_off():
    """Catches the training-mode projections left in inference: a common offset of dy comes back, scaled."""
    rng = np.random.default_rng(0)
    x, mean, var, gamma = rng.normal(3, 2, (6, 2)), rng.normal(size=2), rng.uniform(1, 2, 2), np.array([2.0, -0.5])
    dx, _, _ = batch_norm_inference_backward(np.ones((6, 2)), x, mean, var, gamma, 0.1)
    np.testing.assert_allclose(dx, np.broadcast_to(gamma / np.sqrt(var + 0.1), (6, 2)), rtol=1e-14)
    with pytest.raises(ValueError, match="var >= 0"):
        batch_norm_inference_backward(np.ones((6, 2)), x, mean, -var, gamma)
    with pytest.raises(ValueError, match="dy of the shape of x"):
        batch_norm_inference_backward(np.ones((5, 2)), x, mean, var, gamma)
