"""The equations of chapter 5.1. Expectations over batches are exact sums over all batches of a three-valued population.

What holds to order 1/B is checked by taking the batch size times the difference to its limit.
"""

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import chi2

VALUES = np.array([-1.3, 0.4, 3.1])
SHARES = np.array([0.5, 0.3, 0.2])
LABELS = np.array([1.0, 0.0, 1.0])
MEAN = SHARES @ VALUES
STD = math.sqrt(SHARES @ (VALUES - MEAN) ** 2)
Z = (VALUES - MEAN) / STD
TAU, KAPPA = SHARES @ Z**3, SHARES @ Z**4


class Batches:
    """All batches of B independent values with a variance: how often each value occurs, and how probable that is."""

    def __init__(self, size):
        counts = np.array([(i, j, size - i - j) for i in range(size + 1) for j in range(size + 1 - i)])
        counts = counts[counts.max(axis=1) < size]
        factorial = np.array([math.lgamma(k + 1) for k in range(size + 1)])
        logs = factorial[size] - factorial[counts].sum(axis=1) + counts @ np.log(SHARES)
        self.probability = np.exp(logs) / np.exp(logs).sum()
        self.shares = counts / size
        self.mean = self.shares @ VALUES
        self.std = np.sqrt(self.shares @ VALUES**2 - self.mean**2)
        self.x_hat = (VALUES - self.mean[:, None]) / self.std[:, None]

    def expectation(self, value):
        return self.probability @ value

    def of_one_with(self, k, function):
        """Expectation of a function of the normalized value of one image that has the k-th value."""
        weight = self.probability * self.shares[:, k]
        return weight @ function(self.x_hat[:, k]) / weight.sum()


@pytest.fixture(scope="module")
def batches():
    return {size: Batches(size) for size in (100, 200)}


def limit(batches, difference):
    """Of B times a difference, as B grows: what is of order 1/B in it is taken out by extrapolation."""
    small, large = (size * difference(batches[size]) for size in (100, 200))
    return 2 * large - small


@pytest.mark.equation("eq-batch-mean-finite")
def test_variance_of_the_mean_of_batches_drawn_without_replacement():
    values = np.random.default_rng(1).gamma(2, 3, 9)
    for size in (2, 4, 9):
        means = [np.mean(batch) for batch in itertools.combinations(values, size)]
        assert np.var(means) == pytest.approx(values.var() / size * (9 - size) / 8, abs=1e-12)


@pytest.mark.equation("eq-batch-correlation")
def test_mean_and_variance_of_a_batch_are_related_by_the_skewness():
    """Catches the factor 1/B, which belongs to the unbiased variance."""
    drawn = np.array(list(itertools.product(range(3), repeat=5)))
    probability = SHARES[drawn].prod(axis=1)
    mean, var = VALUES[drawn].mean(axis=1), VALUES[drawn].var(axis=1)
    covariance = probability @ (mean * var) - (probability @ mean) * (probability @ var)
    assert covariance == pytest.approx(4 / 25 * TAU * STD**3)


@pytest.mark.equation("eq-gain-offset")
def test_a_normalized_value_is_the_population_s_with_a_gain_and_an_offset():
    x = np.random.default_rng(2).gamma(2, 3, 7)
    a, b = STD / x.std(), (MEAN - x.mean()) / x.std()
    np.testing.assert_allclose((x - x.mean()) / x.std(), a * (x - MEAN) / STD + b, rtol=1e-12)


@pytest.mark.equation("eq-gain-moments")
def test_moments_of_gain_and_offset(batches):
    def gain(of):
        return STD / of.std

    def offset(of):
        return (MEAN - of.mean) / of.std

    def covariance(first, second):
        return lambda of: (
            of.expectation(first(of) * second(of)) - of.expectation(first(of)) * of.expectation(second(of))
        )

    assert limit(batches, lambda of: of.expectation(gain(of)) - 1) == pytest.approx((3 * KAPPA + 1) / 8, rel=0.015)
    assert limit(batches, lambda of: of.expectation(offset(of))) == pytest.approx(TAU / 2, rel=0.015)
    assert limit(batches, covariance(gain, gain)) == pytest.approx((KAPPA - 1) / 4, rel=0.015)
    assert limit(batches, covariance(offset, offset)) == pytest.approx(1, rel=0.015)
    assert limit(batches, covariance(gain, offset)) == pytest.approx(TAU / 2, rel=0.015)


@pytest.mark.equation("eq-gain-exact")
@pytest.mark.parametrize("size", [5, 12])
def test_moments_of_gain_and_offset_of_normal_values(size):
    """Against the density of the variance; the mean is independent of it and has the variance 1/B."""

    def moment(power):
        return quad(lambda c: (size / c) ** (power / 2) * chi2.pdf(c, size - 1), 0, np.inf)[0]

    exact = math.sqrt(size / 2) * math.gamma((size - 2) / 2) / math.gamma((size - 1) / 2)
    assert moment(1) == pytest.approx(exact, rel=1e-6)
    assert moment(2) == pytest.approx(size / (size - 3), rel=1e-6)
    assert moment(2) / size == pytest.approx(1 / (size - 3), rel=1e-6)


def pull(z):
    return 3 / 8 * (KAPPA - 1) * z - z**3 / 2 + TAU / 2


def spread(z):
    return 1 + TAU * z + (KAPPA - 1) / 4 * z**2


@pytest.mark.equation("eq-own-mean")
@pytest.mark.parametrize("k", range(3))
def test_an_image_s_mean_value_is_shifted_by_its_part_in_the_statistics(batches, k):
    """Catches the shift of a value that meets statistics of other images alone."""
    shift = limit(batches, lambda of: of.of_one_with(k, lambda x_hat: x_hat) - Z[k])
    assert shift == pytest.approx(pull(Z[k]), rel=0.01, abs=0.01)


@pytest.mark.equation("eq-own-variance")
@pytest.mark.parametrize("k", range(3))
def test_variance_of_an_image_s_value(batches, k):
    def variance(of):
        return of.of_one_with(k, np.square) - of.of_one_with(k, lambda x_hat: x_hat) ** 2

    assert limit(batches, variance) == pytest.approx(spread(Z[k]), rel=0.01, abs=0.01)


def test_shift_and_variance_leave_mean_and_mean_square():
    """The check that the text asks for."""
    assert SHARES @ pull(Z) == pytest.approx(0, abs=1e-12)
    assert 2 * SHARES @ (Z * pull(Z)) + SHARES @ spread(Z) == pytest.approx(0, abs=1e-12)


def hermite_squares(function, degree):
    """Squares of the Hermite coefficients from 1 up to a degree, and their sum over all degrees."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(180)
    weights = weights / weights.sum()
    phi = function(nodes)
    basis = [np.polynomial.hermite_e.hermeval(nodes, np.eye(k + 1)[k]) for k in range(1, degree + 1)]
    squares = [(weights @ (phi * he)) ** 2 / math.factorial(k) for k, he in enumerate(basis, start=1)]
    return np.array(squares), weights @ phi**2 - (weights @ phi) ** 2


@pytest.mark.equation("eq-quiet-mean")
@pytest.mark.parametrize("function", [np.tanh, lambda z: z**3 + 2 * z**2 - z, lambda z: np.maximum(z, 0)])
def test_the_noise_of_the_batch_mean_lacks_the_degrees_one_and_two(function):
    """Catches one degree too many or too few: 24 000 batches of 100."""
    z = np.random.default_rng(5).normal(size=(24_000, 100))
    x_hat = (z - z.mean(axis=1, keepdims=True)) / z.std(axis=1, keepdims=True)
    squares, variance = hermite_squares(function, 2)
    assert 100 * function(z).mean(axis=1).var() == pytest.approx(variance, rel=0.05)
    assert 100 * function(x_hat).mean(axis=1).var() == pytest.approx(variance - squares.sum(), rel=0.08)


@pytest.mark.equation("eq-quiet-relu")
def test_the_relu_s_share_of_high_degrees():
    relu = quad(lambda z: z**2 * math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi), 0, np.inf)[0]
    mean, first, cube = (
        quad(lambda z, k=k: z**k * math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi), 0, np.inf)[0] for k in (1, 2, 3)
    )
    variance = relu - mean**2
    rest = variance - first**2 - (cube - mean) ** 2 / 2
    assert math.sqrt(rest / variance) == pytest.approx(math.sqrt((math.pi - 3) / (2 * (math.pi - 1))), rel=1e-9)


GAMMA, BETA = 1.4, -0.3


def logistic(y):
    """Loss of each of the three values, and its first and second derivative."""
    p = 1 / (1 + np.exp(-y))
    return np.logaddexp(0, y) - LABELS * y, p - LABELS, p * (1 - p)


@pytest.mark.equation("eq-expected-loss")
def test_the_expected_loss_over_batches(batches):
    def difference(of):
        loss, _, _ = logistic(GAMMA * of.x_hat + BETA)
        plain, _, _ = logistic(GAMMA * Z + BETA)
        return of.expectation((of.shares * loss).sum(axis=1)) - SHARES @ plain

    _, slope, curvature = logistic(GAMMA * Z + BETA)
    expected = GAMMA * SHARES @ (slope * pull(Z)) + GAMMA**2 / 2 * SHARES @ (curvature * spread(Z))
    assert limit(batches, difference) == pytest.approx(expected, rel=0.01)


@pytest.mark.equation("eq-decay-form")
def test_noise_from_outside_with_the_means_one_and_nought_costs_a_decay():
    """Gain and offset on three points each that have the moments of a batch of B, its means taken off."""
    size = 1e5
    covariance = np.array([[(KAPPA - 1) / 4, TAU / 2], [TAU / 2, 1]]) / size
    factor = np.linalg.cholesky(covariance)
    points, weights = np.array([-math.sqrt(3), 0, math.sqrt(3)]), np.array([1, 4, 1]) / 6
    plain, _, curvature = logistic(GAMMA * Z + BETA)
    total = 0.0
    for (i, j), weight in zip(itertools.product(range(3), repeat=2), np.outer(weights, weights).ravel(), strict=True):
        gain, offset = factor @ [points[i], points[j]]
        loss, _, _ = logistic(GAMMA * ((1 + gain) * Z + offset) + BETA)
        total += weight * SHARES @ (loss - plain)
    moments = [SHARES @ (curvature * Z**k) for k in range(3)]
    expected = GAMMA**2 / (2 * size) * (moments[0] + TAU * moments[1] + (KAPPA - 1) / 4 * moments[2])
    assert total == pytest.approx(expected, rel=1e-3)


@pytest.mark.equation("eq-shrunk-fit")
def test_the_best_gamma_of_a_linear_unit_is_shrunk(batches):
    """The fit itself, by least squares over all images of all batches; then its size to order 1/B."""
    omega, noise = 1.7, 0.4
    of = batches[100]
    weight = of.probability[:, None] * of.shares
    design = np.stack([of.x_hat.ravel(), np.ones(of.x_hat.size)], axis=1)
    target = np.broadcast_to(omega * Z + noise, of.x_hat.shape).ravel()
    root = np.sqrt(weight.ravel())
    (gamma, _), *_ = np.linalg.lstsq(design * root[:, None], target * root, rcond=None)
    assert gamma == pytest.approx(omega * of.expectation(of.std) / STD)
    shrinkage = limit(batches, lambda each: 1 - each.expectation(each.std) / STD)
    assert shrinkage == pytest.approx((KAPPA + 3) / 8, rel=0.015)
