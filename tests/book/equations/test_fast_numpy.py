"""The equations of chapter 2.6."""

import numpy as np
import pytest

from bncourse import results
from bncourse.reference import batch_norm, batch_norm_backward, numeric_gradient


@pytest.fixture
def feature():
    """One feature far from 0 and 1: values, an upstream gradient with a part along everything, scale and shift."""
    rng = np.random.default_rng(0)
    x = 3 + 2 * rng.normal(size=37)
    dy = 0.7 + 0.4 * x + rng.normal(size=37)
    return x, dy, 1.7, -0.6, 0.3


@pytest.mark.equation("eq-lean-forward")
def test_the_transform_is_one_multiplication_and_one_addition(feature):
    x, _, gamma, beta, eps = feature
    a = gamma / np.sqrt(x.var() + eps)
    y, _ = batch_norm(x[:, None], np.array([gamma]), np.array([beta]), eps)
    np.testing.assert_allclose(a * x + (beta - a * x.mean()), y[:, 0], rtol=1e-12)


@pytest.mark.equation("eq-lean-backward")
@pytest.mark.equation("eq-lean-dgamma")
def test_the_gradient_is_linear_in_dy_and_x(feature):
    """The right sides take dgamma and dbeta from sums over x; the left sides are numerical gradients."""
    x, dy, gamma, beta, eps = feature
    count, s = len(x), 1 / np.sqrt(x.var() + eps)
    dbeta, dgamma = dy.sum(), s * ((dy * x).sum() - x.mean() * dy.sum())
    slope = -s / count * dgamma
    dx = gamma * s * (dy + slope * x - dbeta / count - slope * x.mean())

    def transform(x, gamma):
        return batch_norm(x[:, None], gamma, np.array([beta]), eps)[0][:, 0]

    np.testing.assert_allclose(dx, numeric_gradient(lambda x: transform(x, np.array([gamma])), x, dy), atol=1e-8)
    np.testing.assert_allclose(dgamma, numeric_gradient(lambda g: transform(x, g), np.array([gamma]), dy), rtol=1e-8)
    _, cache = batch_norm(x[:, None], np.array([gamma]), np.array([beta]), eps)
    np.testing.assert_allclose(dx, batch_norm_backward(dy[:, None], cache)[0][:, 0], rtol=1e-10)


@pytest.mark.equation("eq-shifted-variance")
@pytest.mark.parametrize("c", [-4.0, 0.0, 2.9, 11.0])
def test_the_variance_may_be_taken_about_any_number(feature, c):
    x, *_ = feature
    variance = sum((value - sum(x) / len(x)) ** 2 for value in x) / len(x)
    np.testing.assert_allclose(((x - c) ** 2).mean() - (x - c).mean() ** 2, variance, rtol=1e-12)


@pytest.mark.equation("eq-array-time")
def test_the_recorded_times_follow_from_the_counts():
    """An approximation, with constants from one multiplication; calls are left out, for large arrays."""
    outcome = results.load("numpy_layer").outcome
    costs = list(outcome["operation"].values())
    in_cache, from_memory = min(costs), (costs[-1] - min(costs)) / 3
    for shape, size in (("(4096, 1024)", 2**22), ("(65536, 256)", 2**24)):
        predicted = {}
        for variant in ("staged", "closed", "lean"):
            counted = outcome["traffic"][shape][variant]
            operations = counted["operations"] * in_cache
            predicted[variant] = operations + (counted["read"] + counted["written"]) * from_memory
            assert 0.5 < outcome["times"][shape][variant] / size / predicted[variant] < 2
        assert predicted["staged"] > predicted["closed"] > predicted["lean"]
