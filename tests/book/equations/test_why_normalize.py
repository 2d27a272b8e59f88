"""The equations of chapter 1.1, both sides evaluated on random input."""

import math

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss


@pytest.fixture
def rng():
    return np.random.default_rng(17)


@pytest.fixture
def inputs(rng):
    """Nine examples of four inputs, of unequal scales, correlated, and with means far from zero."""
    mixing = rng.normal(size=(4, 4)) + 2 * np.eye(4)
    return rng.normal(size=(9, 4)) @ mixing * [1, 3, 0.5, 2] + [4, -1, 2, 0.5]


@pytest.fixture
def design(inputs):
    return np.column_stack([inputs, np.ones(9)])


def relu(z):
    return np.maximum(z, 0)


def networks(a, widths, gain, count, rng):
    """Mean squares of the last layers of many random ReLU networks, all with the one input ``a`` of shape (n,)."""
    a = np.broadcast_to(a, (count, len(a)))
    for width in widths:
        weights = rng.normal(0, gain * np.sqrt(2 / a.shape[1]), (count, width, a.shape[1]))
        a = relu(np.einsum("swn,sn->sw", weights, a))
    return np.mean(a**2, axis=1)


def agrees(sample, expected):
    """Whether the sample's mean is within five of its standard errors, and these are small enough to tell."""
    error = sample.std() / math.sqrt(len(sample))
    return error < expected / 50 and abs(sample.mean() - expected) < 5 * error


@pytest.mark.equation("eq-gain-layer")
@pytest.mark.parametrize("gain", [0.7, 1.3])
def test_a_relu_layer_multiplies_the_mean_square_by_the_gain_squared(gain, rng):
    """Catches a variance of 1/n, which halves, and the inputs' variance in place of their mean square."""
    a = np.abs(rng.normal(1, 2, 7))
    assert agrees(networks(a, [3], gain, 40_000, rng), gain**2 * np.mean(a**2))


@pytest.mark.equation("eq-gain-power")
def test_the_gains_of_the_layers_multiply_whatever_the_widths(rng):
    """Catches g ** L in place of g ** (2 L), and a factor that depends on the width."""
    a = rng.normal(1, 2, 5)
    assert agrees(networks(a, [9, 6, 11], 1.2, 60_000, rng), 1.2**6 * np.mean(a**2))


@pytest.mark.equation("eq-relu-common-share")
def test_a_relu_of_a_normal_number_has_one_part_in_pi_of_its_mean_square_in_its_mean():
    """Left by quadrature on the half line where the ReLU is not zero."""
    z = (np.arange(100_000) + 0.5) * 1e-4
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    first, second = (1e-4 * np.sum(z**power * density) for power in (1, 2))
    assert first**2 == pytest.approx(1 / (2 * math.pi), rel=1e-6)
    assert second == pytest.approx(1 / 2, rel=1e-6)
    assert first**2 / second == pytest.approx(1 / math.pi, rel=1e-6)


def test_a_tanh_layer_gains_less_than_its_gain(rng):
    """The inequality of the text: the mean square after tanh stays below g^2 q, and close to it for small inputs."""
    nodes, weights = hermegauss(80)
    weights = weights / weights.sum()
    for q, close in ((1e-4, True), (0.5, False)):
        after = weights @ np.tanh(1.1 * math.sqrt(q) * nodes) ** 2
        assert after < 1.1**2 * q
        assert (after > 0.999 * 1.1**2 * q) == close


def loss(design, weights, y):
    return np.mean((design @ weights - y) ** 2) / 2


@pytest.mark.equation("eq-mse-hessian")
def test_the_loss_is_its_minimum_plus_a_quadratic_form(design, rng):
    """Catches a missing half and a Hessian without 1/m."""
    y, weights = rng.normal(2, 3, 9), rng.normal(size=5)
    best = np.linalg.pinv(design) @ y
    hessian = sum(np.outer(row, row) for row in design) / 9
    off = weights - best
    assert loss(design, weights, y) == pytest.approx(loss(design, best, y) + off @ hessian @ off / 2)


@pytest.mark.equation("eq-excess-loss")
@pytest.mark.parametrize("steps", [0, 1, 7, 40])
def test_the_excess_loss_follows_from_the_spectrum(design, steps, rng):
    """The left side makes the steps, with the gradient of the loss; the right side never leaves the eigenvectors."""
    y, start = rng.normal(2, 3, 9), rng.normal(size=5)
    best = np.linalg.pinv(design) @ y
    eigenvalues, vectors = np.linalg.eigh(design.T @ design / 9)
    eta = 1.7 / eigenvalues[-1]
    weights = start.copy()
    for _ in range(steps):
        weights -= eta * design.T @ (design @ weights - y) / 9
    along = vectors.T @ (start - best)
    predicted = sum(
        value * c**2 * (1 - eta * value) ** (2 * steps) for value, c in zip(eigenvalues, along, strict=True)
    )
    assert loss(design, weights, y) - loss(design, best, y) == pytest.approx(predicted / 2, rel=1e-6)


@pytest.mark.equation("eq-best-rate")
def test_no_rate_contracts_faster_than_the_best(rng):
    eigenvalues = rng.uniform(0.3, 6, 8)
    low, high = eigenvalues.min(), eigenvalues.max()
    rates = np.linspace(0, 2 / high, 200_001)
    factors = np.maximum(np.abs(1 - rates * low), np.abs(1 - rates * high))
    kappa = high / low
    assert rates[factors.argmin()] == pytest.approx(2 / (high + low), rel=1e-4)
    assert factors.min() == pytest.approx((kappa - 1) / (kappa + 1), rel=1e-4)
    assert np.abs(1 - 2 / (high + low) * eigenvalues).max() == pytest.approx((kappa - 1) / (kappa + 1))


@pytest.mark.equation("eq-steps-bound")
def test_the_bound_on_the_steps_holds_and_is_reached(rng):
    """An error in the directions of the two ends needs just these steps, one in between needs fewer."""
    eigenvalues = np.array([0.5, 3.0, 11.0, 90.0])
    kappa, eta, goal = 180.0, 2 / 90.5, 0.003
    bound = math.log(1 / goal) / (2 * math.log((kappa + 1) / (kappa - 1)))
    assert bound == pytest.approx(kappa / 4 * math.log(1 / goal), rel=1e-4)

    def steps(share):
        """Number of steps until the excess is at the goal, from shares of the excess in each direction."""
        count, excess = 0, np.array(share, dtype=float)
        while excess.sum() > goal:
            count, excess = count + 1, excess * (1 - eta * eigenvalues) ** 2
        return count

    assert steps([0.4, 0, 0, 0.6]) == math.ceil(bound)
    assert steps([0, 0.5, 0.5, 0]) < bound / 3
    for _ in range(5):
        assert steps(rng.dirichlet(np.ones(4))) <= math.ceil(bound)


@pytest.mark.equation("eq-second-moment")
def test_the_hessian_is_the_covariance_and_an_outer_product_of_the_means(inputs, design):
    """Catches the unbiased covariance and a bias that is left out of the outer product."""
    hessian = sum(np.outer(row, row) for row in design) / 9
    mean_and_one = np.append(inputs.mean(axis=0), 1)
    covariance = np.zeros((5, 5))
    covariance[:4, :4] = np.cov(inputs.T, bias=True)
    np.testing.assert_allclose(hessian, covariance + np.outer(mean_and_one, mean_and_one), rtol=1e-12, atol=1e-12)


@pytest.mark.equation("eq-mean-eigenvalue")
def test_the_means_bound_the_largest_eigenvalue_from_below(inputs, rng):
    """Holds for any inputs, and is reached where they do not vary: a larger bound would fail there."""
    for _ in range(20):
        values = rng.normal(size=(9, 4)) * rng.uniform(0, 3, 4) + rng.normal(0, 3, 4)
        hessian = np.column_stack([values, np.ones(9)]).T @ np.column_stack([values, np.ones(9)]) / 9
        assert np.linalg.eigvalsh(hessian)[-1] >= 1 + np.sum(values.mean(axis=0) ** 2)
    constant = np.column_stack([np.tile(inputs.mean(axis=0), (9, 1)), np.ones(9)])
    largest = np.linalg.eigvalsh(constant.T @ constant / 9)[-1]
    assert largest == pytest.approx(1 + np.sum(inputs.mean(axis=0) ** 2))


@pytest.mark.equation("eq-unit-hessian")
def test_a_units_hessian_is_the_curvature_of_the_rest_times_two_inputs(inputs, rng):
    """Left, second differences of the loss in one unit's weights; right, the curvature of softmax in its value.

    Catches a curvature that is averaged apart from the inputs, and covariances in place of mean products.
    """
    others, last = rng.normal(0, 0.3, (2, 4)), rng.normal(size=(5, 3))
    w = rng.normal(0, 0.3, 4)
    labels = rng.integers(0, 5, 9)

    def losses(z):
        """Of each example, when the unit has the values z and the others theirs."""
        logits = np.column_stack([z, relu(inputs @ others.T)]) @ last.T
        return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(9), labels]

    h = 1e-4
    left = np.array(
        [
            [
                sum(a * b * np.mean(losses(inputs @ (w + a * one + b * other))) for a in (1, -1) for b in (1, -1))
                / (4 * h**2)
                for other in h * np.eye(4)
            ]
            for one in h * np.eye(4)
        ]
    )
    logits = np.column_stack([inputs @ w, relu(inputs @ others.T)]) @ last.T
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    curvature = p @ last[:, 0] ** 2 - (p @ last[:, 0]) ** 2
    assert curvature.max() > 2 * curvature.min()
    right = sum(c * np.outer(a, a) for c, a in zip(curvature, inputs, strict=True)) / 9
    np.testing.assert_allclose(left, right, atol=1e-5 * np.abs(right).max())
