"""The equations of chapter 5.4: a formula against masks that are drawn, or against a wide network."""

import math

import numpy as np
import pytest

P = 0.3


def off_centre(points=400, features=6):
    """Values whose means are far from zero, each feature's in its own way, and whose features are correlated."""
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((points, features)) @ rng.standard_normal((features, features))
    return mixed + np.arange(features) - 1.5


def dropped(h, p, draws, seed=1):
    """Many draws of dropout of the same values."""
    return h * (np.random.default_rng(seed).random((draws, *h.shape)) >= p) / (1 - p)


@pytest.mark.equation("eq-dropout-moments")
@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_the_factor_has_mean_one_and_this_variance(p):
    """Summed over its two values; catches p (1 - p), the variance of the mask before it is scaled."""
    values, chances = np.array([0, 1 / (1 - p)]), np.array([p, 1 - p])
    mean = chances @ values
    assert mean == pytest.approx(1)
    assert chances @ (values - mean) ** 2 == pytest.approx(p / (1 - p))


@pytest.mark.equation("eq-dropout-variance")
def test_the_variance_of_dropped_values():
    """Tolerance: the spread over 4000 draws. Without the mean it would miss by up to a factor."""
    h = off_centre()
    expected = h.var(axis=0) + P / (1 - P) * (h.var(axis=0) + h.mean(axis=0) ** 2)
    np.testing.assert_allclose(dropped(h, P, 4000).var(axis=(0, 1)), expected, rtol=0.01)


@pytest.mark.equation("eq-dropout-shift")
def test_the_ratio_of_the_variances():
    h = off_centre()
    expected = 1 / (1 - P) + P / (1 - P) * h.mean(axis=0) ** 2 / h.var(axis=0)
    np.testing.assert_allclose(dropped(h, P, 4000).var(axis=(0, 1)) / h.var(axis=0), expected, rtol=0.01)
    assert np.ptp(expected) > 0.5


@pytest.mark.equation("eq-dropout-linear")
def test_the_ratio_behind_a_linear_layer():
    """Catches weights that are not squared, and a denominator without the covariances of the inputs."""
    h = off_centre()
    w = np.random.default_rng(2).standard_normal((6, 4))
    added = P / (1 - P) * (h**2).mean(axis=0) @ w**2
    measured = (dropped(h, P, 4000) @ w).var(axis=(0, 1)) / (h @ w).var(axis=0)
    np.testing.assert_allclose(measured, 1 + added / (h @ w).var(axis=0), rtol=0.01)


def growing_shift(p, layers, width=1500, points=300, passes=6):
    """Stored over actual variance of each batch norm, and the spread of its output, in NumPy; dropout after ReLU."""
    rng = np.random.default_rng(3)
    training = np.tile(rng.standard_normal((points, width)), (passes, 1))
    inference, ratios, spreads = training[:points], [], []
    for _ in range(layers):
        w = rng.standard_normal((width, width)) / math.sqrt(width)
        training, inference = training @ w, inference @ w
        mean, var = training.mean(axis=0), training.var(axis=0)
        ratios.append(np.exp(np.log(var / inference.var(axis=0)).mean()))
        training, inference = (training - mean) / np.sqrt(var), (inference - mean) / np.sqrt(var)
        spreads.append(np.exp(np.log(inference.std(axis=0)).mean()))
        training, inference = np.maximum(training, 0), np.maximum(inference, 0)
        training *= (rng.random(training.shape) >= p) / (1 - p)
    return np.array(ratios), np.array(spreads)


@pytest.mark.equation("eq-dropout-relu")
@pytest.mark.parametrize("p", [0.2, 0.5])
def test_the_ratio_behind_relu_and_random_weights(p):
    """Catches 1/(1 - p), which lacks the mean of the ReLU. Tolerance: width and points of the simulation."""
    ratios, _ = growing_shift(p, layers=2)
    r = 1 + p / (1 - p) * math.pi / (math.pi - 1)
    assert ratios[1] == pytest.approx(r, rel=0.03)
    assert r == pytest.approx((1 + p / (math.pi - 1)) / (1 - p))


@pytest.mark.equation("eq-shift-product")
def test_the_shift_multiplies_from_layer_to_layer():
    """Catches shifts that add up, and an output that shrinks by the ratio instead of its root."""
    p = 0.3
    ratios, spreads = growing_shift(p, layers=4)
    r = 1 + p / (1 - p) * math.pi / (math.pi - 1)
    np.testing.assert_allclose(ratios, r ** np.arange(4), rtol=0.06)
    np.testing.assert_allclose(spreads, r ** (-np.arange(4) / 2), rtol=0.03)
