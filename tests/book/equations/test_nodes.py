"""The equations of chapter 2.1: each gradient against numerical differentiation of the rest of the graph."""

import numpy as np
import pytest

from bncourse.reference import batch_norm, batch_norm_backward, moments, numeric_gradient, relative_error

EPS = 0.3  # large, so that a misplaced or forgotten one shows
M = 7


def statistics(x):
    mean = sum(x) / len(x)
    var = sum((value - mean) ** 2 for value in x) / len(x)
    return mean, var, 1 / np.sqrt(var + EPS)


class Batch:
    """One feature whose dy has a mean and is correlated with x_hat, and the right sides of the equations."""

    def __init__(self):
        rng = np.random.default_rng(11)
        self.x, self.gamma, self.beta = rng.gamma(2, 3, M) + 5, -1.7, 0.4
        self.mean, self.var, self.inv_std = statistics(self.x)
        self.centred = self.x - self.mean
        self.x_hat = self.centred * self.inv_std
        self.dy = 1.5 + 0.8 * self.x_hat + rng.normal(size=M)

        self.dx_hat = self.gamma * self.dy
        self.dinv_std = np.sum(self.dx_hat * self.centred)
        self.dvar = -(self.inv_std**3) * self.dinv_std / 2
        self.dsquared = np.full(M, self.dvar / M)
        self.dcentred = self.inv_std * self.dx_hat + 2 * self.centred * self.dsquared
        self.dmean = -np.sum(self.dcentred)
        self.dx = self.dcentred + self.dmean / M

    def from_x_hat(self, x_hat):
        return self.gamma * x_hat + self.beta

    def from_squared(self, squared):
        return self.from_x_hat(self.centred * (squared.mean() + EPS) ** -0.5)

    def from_centred(self, centred):
        return self.from_x_hat(centred * (np.mean(centred**2) + EPS) ** -0.5)

    def from_mean(self, mean):
        return self.from_centred(self.x - mean)

    def numeric(self, function, at):
        return numeric_gradient(function, np.asarray(at, float), self.dy)


@pytest.fixture
def batch():
    return Batch()


@pytest.mark.equation("eq-graph-forward")
def test_the_seven_nodes_are_the_transform(batch):
    """Each node against the package, which is not made of these nodes; an eps outside the root is seen."""
    y, cache = batch_norm(batch.x[:, None], np.array([batch.gamma]), np.array([batch.beta]), EPS)
    of_the_package = moments(batch.x, axis=0)
    mean = np.sum(batch.x) / M
    centred = batch.x - mean
    var = np.sum(centred**2) / M
    inv_std = (var + EPS) ** -0.5
    x_hat = centred * inv_std
    assert mean == pytest.approx(of_the_package.mean, rel=1e-14)
    assert var == pytest.approx(of_the_package.var, rel=1e-14)
    assert inv_std == pytest.approx(cache.inv_std[0], rel=1e-14)
    assert relative_error(x_hat, cache.x_hat[:, 0]) < 1e-14
    assert relative_error(batch.gamma * x_hat + batch.beta, y[:, 0]) < 1e-14


@pytest.mark.equation("eq-graph-uses")
def test_a_value_used_twice_collects_two_gradients():
    """Catches one of the two lost, or a Jacobian that is not transposed: the two uses have different sizes."""
    rng = np.random.default_rng(2)
    v, to_u, to_w, du, dw = (rng.normal(size=shape) for shape in (3, (4, 3), (2, 3), 4, 2))

    def both(v):
        return np.concatenate([np.sin(to_u @ v), (to_w @ v) ** 3])

    numeric = numeric_gradient(both, v, np.concatenate([du, dw]))
    u_by_v = np.cos(to_u @ v)[:, None] * to_u
    w_by_v = 3 * (to_w @ v)[:, None] ** 2 * to_w
    assert relative_error(u_by_v.T @ du + w_by_v.T @ dw, numeric) < 1e-8


@pytest.mark.equation("eq-graph-broadcast")
def test_what_was_broadcast_is_summed(batch):
    numeric = batch.numeric(lambda v: np.ones(M) * v, 0.7)
    assert numeric == pytest.approx(batch.dy.sum(), rel=1e-8)


@pytest.mark.equation("eq-graph-mean")
def test_what_was_averaged_is_handed_back_in_equal_shares(batch):
    numeric = numeric_gradient(lambda u: np.mean(u, keepdims=True), batch.x, np.array([-2.3]))
    assert relative_error(np.full(M, -2.3 / M), numeric) < 1e-8


@pytest.mark.equation("eq-graph-backward")
def test_every_intermediate_gradient_is_that_of_the_rest_of_the_graph(batch):
    """Catches a wrong line whose mistake another line makes good again."""
    cut = {
        "dx_hat": batch.numeric(batch.from_x_hat, batch.x_hat),
        "dinv_std": batch.numeric(lambda inv_std: batch.from_x_hat(batch.centred * inv_std), batch.inv_std),
        "dvar": batch.numeric(lambda var: batch.from_x_hat(batch.centred / np.sqrt(var + EPS)), batch.var),
        "dsquared": batch.numeric(batch.from_squared, batch.centred**2),
        "dcentred": batch.numeric(batch.from_centred, batch.centred),
        "dmean": batch.numeric(batch.from_mean, batch.mean),
        "dx": batch.numeric(lambda x: batch.from_centred(x - np.mean(x)), batch.x),
    }
    for name, numeric in cut.items():
        assert relative_error(np.asarray(getattr(batch, name)), numeric) < 1e-8, name
    _, cache = batch_norm(batch.x[:, None], np.array([batch.gamma]), np.array([batch.beta]), EPS)
    assert relative_error(batch.dx, batch_norm_backward(batch.dy[:, None], cache)[0][:, 0]) < 1e-13


@pytest.mark.equation("eq-graph-squares")
def test_what_comes_through_the_squares_sums_to_zero(batch):
    """The left side is measured with only the squares depending on the centred values; its terms are far from zero."""
    through_squares = batch.numeric(lambda centred: batch.from_squared(centred**2), batch.centred)
    assert np.abs(through_squares).min() > 1e-3 * np.abs(through_squares).max() > 0
    assert abs(through_squares.sum()) < 1e-8 * np.abs(through_squares).max()


@pytest.mark.equation("eq-graph-squares")
def test_the_sum_through_the_squares_is_that_of_the_deviations(batch):
    """Deviations from another centre do not sum to zero: catches a wrong factor, which zero would hide."""
    off_centre = batch.centred + 0.7
    measured = batch.numeric(lambda centred: batch.from_squared(centred**2), off_centre).sum()
    dvar = -0.5 * (np.mean(off_centre**2) + EPS) ** -1.5 * batch.dinv_std
    assert abs(measured) > 1e-3
    assert 2 * dvar / M * np.sum(off_centre) == pytest.approx(measured, rel=1e-8)


@pytest.mark.equation("eq-graph-dmean")
def test_the_gradient_of_the_mean_needs_the_direct_part_alone(batch):
    numeric = batch.numeric(batch.from_mean, batch.mean)
    assert -batch.inv_std * np.sum(batch.gamma * batch.dy) == pytest.approx(float(numeric), rel=1e-8)


@pytest.mark.equation("eq-graph-through-squares")
def test_what_comes_through_the_squares_is_along_x_hat(batch):
    numeric = batch.numeric(lambda centred: batch.from_squared(centred**2), batch.centred)
    formula = -batch.inv_std / M * batch.x_hat * np.sum(batch.dx_hat * batch.x_hat)
    assert relative_error(formula, numeric) < 1e-8


@pytest.mark.equation("eq-graph-collapsed")
def test_all_lines_in_one(batch):
    """Catches a mean of dy where that of dx_hat belongs (gamma is not 1), and a sum for a mean."""
    numeric = batch.numeric(lambda x: batch.from_centred(x - np.mean(x)), batch.x)
    dx_hat = batch.gamma * batch.dy
    means = np.mean(dx_hat), np.mean(dx_hat * batch.x_hat)
    formula = batch.inv_std * (dx_hat - means[0] - batch.x_hat * means[1])
    assert relative_error(formula, numeric) < 1e-8
