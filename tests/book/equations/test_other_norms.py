"""The equations of chapter 2.5, evaluated set by set in plain loops, against the package and finite differences."""

import itertools
import math

import numpy as np
import pytest

from bncourse.reference import (
    batch_norm,
    batch_norm_backward,
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

EPS = 0.3  # large, so that a misplaced or forgotten one shows
N, C, L, G = 3, 4, 5, 2
RNG = np.random.default_rng(8)
X, DY = RNG.gamma(2, 3, (N, C, L)) + 5, RNG.normal(1.5, 1, (N, C, L))
GAMMA, BETA = RNG.uniform(-2, 2, C), RNG.normal(size=C)
SCALE, SHIFT = RNG.uniform(-2, 2, (C, L)), RNG.normal(size=(C, L))

# Which set the entry (n, c, position) belongs to, said without axes or reshaping.
SETS = {
    "batch": lambda n, c, position: c,
    "layer": lambda n, c, position: n,
    "instance": lambda n, c, position: (n, c),
    "group": lambda n, c, position: (n, c // (C // G)),
    "RMS": lambda n, c, position: n,
}
FORWARD = {
    "batch": lambda x, gamma=GAMMA, beta=BETA: batch_norm(x, gamma, beta, EPS),
    "layer": lambda x, gamma=SCALE, beta=SHIFT: layer_norm(x, gamma, beta, EPS),
    "instance": lambda x, gamma=GAMMA, beta=BETA: instance_norm(x, gamma, beta, EPS),
    "group": lambda x, gamma=GAMMA, beta=BETA: group_norm(x, gamma, beta, G, EPS),
    "RMS": lambda x, gamma=SCALE, beta=None: rms_norm(x, gamma, EPS),
}
BACKWARD = {
    "batch": batch_norm_backward,
    "layer": layer_norm_backward,
    "instance": instance_norm_backward,
    "group": group_norm_backward,
    "RMS": rms_norm_backward,
}
FOUR = ["batch", "layer", "instance", "group"]


def members(name):
    """The indices of each set."""
    sets = {}
    for index in itertools.product(range(N), range(C), range(L)):
        sets.setdefault(SETS[name](*index), []).append(index)
    return list(sets.values())


def gamma_at(name, index):
    return SCALE[index[1:]] if name in ("layer", "RMS") else GAMMA[index[1]]


@pytest.mark.equation("eq-norm-general")
@pytest.mark.parametrize("name", [*FOUR, "RMS"])
def test_each_set_has_its_own_mean_and_variance(name):
    """Catches a wrong axis, groups that are not of neighbouring channels, and a mean that RMS norm subtracts."""
    x_hat = FORWARD[name](X)[1].x_hat
    for indices in members(name):
        values = [X[index] for index in indices]
        mean = 0 if name == "RMS" else math.fsum(values) / len(values)
        s = 1 / math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values) + EPS)
        for index in indices:
            assert x_hat[index] == pytest.approx((X[index] - mean) * s, abs=1e-12)


def dx_by_sets(name, centred):
    """The right side of the gradient, with gamma under the bars."""
    x_hat, dx = FORWARD[name](X)[1].x_hat, np.empty_like(X)
    for indices in members(name):
        values = np.array([X[index] for index in indices])
        s = 1 / np.sqrt((values.var() if centred else np.mean(values**2)) + EPS)
        arriving = np.array([gamma_at(name, index) * DY[index] for index in indices])
        places = np.array([x_hat[index] for index in indices])
        result = s * (arriving - centred * arriving.mean() - places * np.mean(arriving * places))
        for index, value in zip(indices, result, strict=True):
            dx[index] = value
    return dx


@pytest.mark.equation("eq-norm-dx")
@pytest.mark.parametrize("name", FOUR)
def test_dx_has_gamma_under_the_bars(name):
    """Catches gamma pulled out of the means, which is right for batch and instance norm only."""
    formula = dx_by_sets(name, centred=True)
    assert relative_error(formula, numeric_gradient(lambda x: FORWARD[name](x)[0], X, DY)) < 1e-8
    assert relative_error(formula, BACKWARD[name](DY, FORWARD[name](X)[1])[0]) < 1e-12


@pytest.mark.equation("eq-rms-dx")
def test_rms_norm_has_one_projection():
    """Catches the mean's projection: DY has a mean."""
    formula = dx_by_sets("RMS", centred=False)
    assert relative_error(formula, numeric_gradient(lambda x: FORWARD["RMS"](x)[0], X, DY)) < 1e-8
    assert relative_error(formula, rms_norm_backward(DY, FORWARD["RMS"](X)[1])[0]) < 1e-12
    assert relative_error(formula, dx_by_sets("RMS", centred=True)) > 0.01


@pytest.mark.equation("eq-norm-dx-sum")
@pytest.mark.parametrize("name", FOUR)
def test_dx_sums_to_zero_over_a_set_and_over_no_half_of_one(name):
    dx = BACKWARD[name](DY, FORWARD[name](X)[1])[0]
    for indices in members(name):
        assert abs(math.fsum(dx[index] for index in indices)) < 1e-12
        assert abs(math.fsum(dx[index] for index in indices[: len(indices) // 2])) > 1e-4


@pytest.mark.equation("eq-norm-dparameters")
@pytest.mark.parametrize("name", [*FOUR, "RMS"])
def test_a_parameters_gradient_is_summed_over_its_uses(name):
    """Catches a sum over the set instead: the statistics and the parameters are two choices."""
    _, cache = FORWARD[name](X)
    _, dgamma, *dbeta = BACKWARD[name](DY, cache)
    gamma, beta = (SCALE, SHIFT) if name in ("layer", "RMS") else (GAMMA, BETA)
    sums = np.zeros((2, *gamma.shape))
    for index in itertools.product(range(N), range(C), range(L)):
        parameter = index[1:] if gamma.ndim == 2 else index[1]
        sums[0][parameter] += DY[index] * cache.x_hat[index]
        sums[1][parameter] += DY[index]
    numeric = numeric_gradient(lambda gamma: FORWARD[name](X, gamma=gamma)[0], gamma, DY)
    assert relative_error(sums[0], numeric) < 1e-8
    assert relative_error(sums[0], dgamma) < 1e-12
    if dbeta:
        assert relative_error(sums[1], numeric_gradient(lambda beta: FORWARD[name](X, beta=beta)[0], beta, DY)) < 1e-8
        assert relative_error(sums[1], dbeta[0]) < 1e-12
