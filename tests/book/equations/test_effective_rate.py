"""The equations of chapter 4.6, both sides evaluated on random input."""

import math

import numpy as np
import pytest

from bncourse.experiments.weight_decay import Equilibrium
from bncourse.reference.network import BatchNorm, Linear, Network, ReLU, multilayer_perceptron

SIZES = (7, 9, 8, 5)


@pytest.fixture
def rng():
    return np.random.default_rng(21)


class Invariant:
    """The first weights of a small network with batch norm: their loss and gradient, with next to no epsilon."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.network = multilayer_perceptron(SIZES, rng)
        for layer in self.network.layers:
            if isinstance(layer, BatchNorm):
                layer.eps = 1e-14
        self.batch = rng.normal(1.5, 2, (24, SIZES[0])), rng.integers(0, SIZES[-1], 24)
        self.first = self.network.layers[0]
        self.start = 1.7 * self.first.parameters["weight"]

    def gradient(self, weights: np.ndarray) -> np.ndarray:
        self.first.parameters["weight"] = weights.copy()
        self.network.loss_and_gradients(*self.batch)
        return self.first.gradients["weight"].copy()


def length(w: np.ndarray) -> float:
    return float(np.linalg.norm(w))


def angle(a: np.ndarray, b: np.ndarray) -> float:
    return math.acos(np.sum(a * b) / length(a) / length(b))


@pytest.fixture
def layer(rng):
    return Invariant(rng)


def orthogonal(rng: np.random.Generator, w: np.ndarray, size: float = 1.0) -> np.ndarray:
    """The gradient at w of a scale-invariant loss whose gradient at unit length has this size."""
    noise = rng.normal(size=w.shape) + 0.5
    noise -= w * np.sum(noise * w) / np.sum(w * w)
    return size * noise / length(noise) / length(w)


def walk(rng, momentum, rate, decay, steps, w, size=1.0, common=0.0):
    """Weights and steps of momentum SGD on such gradients; a common part makes them correlated."""
    velocity, weights, moves = np.zeros_like(w), [w], []
    drift = rng.normal(size=w.shape)
    for _ in range(steps):
        g = rng.normal(size=w.shape) + common * drift
        g -= w * (g @ w) / (w @ w)
        g *= size / length(g) / length(w)
        velocity = momentum * velocity + g + decay * w
        moves.append(-rate * velocity)
        w = w + moves[-1]
        weights.append(w)
    return np.array(weights), np.array(moves)


@pytest.mark.equation("eq-decay-step")
def test_a_step_of_decay_is_one_of_the_penalized_loss(layer):
    """The gradient of L + decay/2 |W|^2, whose second part is taken by finite differences."""
    rate, decay, w, step = 0.3, 0.2, layer.start, 1e-6
    penalty = np.zeros_like(w)
    for place in np.ndindex(w.shape):
        moved = w.copy()
        moved[place] += step
        penalty[place] = decay / 2 * (np.sum(moved**2) - np.sum(w**2)) / step
    expected = w - rate * (layer.gradient(w) + penalty)
    assert (1 - rate * decay) * w - rate * layer.gradient(w) == pytest.approx(expected, abs=1e-6)


@pytest.mark.equation("eq-decay-schedule")
def test_decay_is_a_rate_that_grows(layer):
    rate, decay = 0.4, 0.3
    rho = 1 - rate * decay
    w = u = layer.start
    for t in range(6):
        w = rho * w - rate * layer.gradient(w)
        u = u - rate / rho ** (2 * t + 1) * layer.gradient(u)
        assert u == pytest.approx(w / rho ** (t + 1), rel=1e-8, abs=1e-8)


@pytest.mark.equation("eq-direction-step")
def test_directions_take_steps_of_the_effective_rate(layer):
    rate, w = 0.9, layer.start
    new = w - rate * layer.gradient(w)
    u = w / length(w)
    g = layer.gradient(u)
    kappa = rate / length(w) ** 2
    assert new / length(new) == pytest.approx((u - kappa * g) / np.sqrt(1 + kappa**2 * np.sum(g**2)), abs=1e-8)


@pytest.mark.equation("eq-direction-step")
def test_the_angle_of_a_step(layer):
    rate, w = 5.0, layer.start
    new = w - rate * layer.gradient(w)
    g = length(layer.gradient(w / length(w)))
    assert math.tan(angle(w, new)) == pytest.approx(rate * g / length(w) ** 2, rel=1e-6)


@pytest.mark.equation("eq-growth-rate")
def test_growth_of_the_fourth_power(layer):
    """What the chapter drops is the fourth power of the angle's tangent."""
    rate, w = 5.0, layer.start
    new = w - rate * layer.gradient(w)
    g = length(layer.gradient(w / length(w)))
    expected = length(w) ** 4 * (1 + math.tan(angle(w, new)) ** 4) + 2 * rate**2 * g**2
    assert length(new) ** 4 == pytest.approx(expected, rel=1e-9)
    assert length(new) ** 4 != pytest.approx(length(w) ** 4, rel=1e-3)


@pytest.mark.equation("eq-growth-rate")
@pytest.mark.parametrize(("start", "rate"), [(0.3, 0.05), (1.0, 0.05), (0.6, 0.4)])
def test_length_and_effective_rate_without_decay(rng, start, rate):
    size, steps = 0.7, 4000
    w = start * np.eye(1, 60)[0]
    weights, _ = walk(rng, 0.0, rate, 0.0, steps, w, size)
    assert length(weights[-1]) ** 4 == pytest.approx(start**4 + 2 * rate**2 * size**2 * steps, rel=0.02)
    if 2 * rate**2 * size**2 * steps > 20 * start**4:
        assert rate / length(weights[-1]) ** 2 == pytest.approx(1 / np.sqrt(2 * size**2 * steps), rel=0.03)


@pytest.mark.equation("eq-decay-norm")
def test_the_legs_of_a_step_with_decay(layer):
    rate, decay, w = 4.0, 0.05, layer.start
    new = (1 - rate * decay) * w - rate * layer.gradient(w)
    g = length(layer.gradient(w / length(w)))
    expected = (1 - rate * decay) ** 2 * length(w) ** 2 + rate**2 * g**2 / length(w) ** 2
    assert length(new) ** 2 == pytest.approx(expected, rel=1e-9)


def balanced(rng, rate, decay, size):
    """Weights of the length of the balance, and the step from there."""
    w = rng.normal(size=30)
    w *= (rate * size**2 / (decay * (2 - rate * decay))) ** 0.25 / length(w)
    return w, (1 - rate * decay) * w - rate * orthogonal(rng, w, size)


@pytest.mark.equation("eq-plain-angle")
@pytest.mark.parametrize("rate", [0.02, 0.5, 3.0])
def test_the_angle_in_balance_is_the_same_for_all_gradients(rng, rate):
    decay = 0.1
    for size in (0.01, 3.0):
        w, new = balanced(rng, rate, decay, size)
        assert length(new) == pytest.approx(length(w))
        assert np.cos(angle(w, new)) == pytest.approx(1 - rate * decay)
    if rate * decay < 0.01:
        assert angle(w, new) == pytest.approx(np.sqrt(2 * rate * decay), rel=1e-3)


@pytest.mark.equation("eq-decay-balance")
def test_the_length_in_balance_stays(rng):
    """Found by repeating the step, from either side."""
    rate, decay, size = 0.3, 0.05, 1.9
    for start in (0.2, 9.0):
        weights, _ = walk(rng, 0.0, rate, decay, 1500, start * np.eye(1, 20)[0], size)
        exact = rate * size**2 / (decay * (2 - rate * decay))
        assert length(weights[-1]) ** 4 == pytest.approx(exact, rel=1e-6)
        assert length(weights[-1]) ** 4 == pytest.approx(rate / (2 * decay) * size**2, rel=0.01)


@pytest.mark.equation("eq-decay-balance")
def test_the_effective_rate_in_balance_has_the_product_alone(rng):
    size = 1.3
    for rate, decay in ((0.2, 0.05), (2.0, 0.005)):
        w, _ = balanced(rng, rate, decay, size)
        kappa = rate / length(w) ** 2
        assert kappa == pytest.approx(np.sqrt(rate * decay * (2 - rate * decay)) / size)
        assert kappa == pytest.approx(np.sqrt(2 * 0.01) / size, rel=0.005)


@pytest.mark.equation("eq-decay-norm")
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_time_in_which_long_weights_lose_all_but_a_part(rng, momentum):
    rate, decay, size = 0.1 * (1 - momentum), 0.02, 1.1
    start = 40 * (rate / (1 - momentum) * size**2 / (2 * decay)) ** 0.25
    time = round((1 - momentum) / (2 * rate * decay))
    weights, _ = walk(rng, momentum, rate, decay, 2 * time, start * np.eye(1, 20)[0], size)
    assert length(weights[2 * time]) ** 2 / length(weights[time]) ** 2 == pytest.approx(1 / math.e, rel=0.02)


@pytest.mark.equation("eq-momentum-along")
def test_the_part_of_a_step_along_the_weights(rng):
    momentum, rate, decay = 0.8, 0.2, 0.3
    w, d = walk(rng, momentum, rate, decay, 12, rng.normal(size=9), size=2.0, common=0.7)
    for t in range(1, 12):
        before = w[t - 1] @ d[t - 1] + d[t - 1] @ d[t - 1]
        assert w[t] @ d[t] == pytest.approx(momentum * before - rate * decay * w[t] @ w[t])


@pytest.mark.equation("eq-momentum-growth")
@pytest.mark.parametrize("momentum", [0.0, 0.6, 0.9])
def test_pythagoras_with_momentum(rng, momentum):
    """Correlated gradients too: only the right angle counts."""
    w, d = walk(rng, momentum, 0.2, 0.0, 25, rng.normal(size=9), size=2.0, common=0.7)
    left = w[-1] @ w[-1] - w[0] @ w[0] + 2 * momentum / (1 - momentum) * (w[-1] @ d[-1])
    assert left == pytest.approx((1 + momentum) / (1 - momentum) * np.sum(d**2))


@pytest.mark.equation("eq-decay-angle")
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("common", [0.0, 2.0])
def test_the_angle_in_balance_with_momentum(rng, momentum, common):
    rate, decay = 0.1 * (1 - momentum), 0.02
    w, d = walk(rng, momentum, rate, decay, 12000, rng.normal(size=40), common=common)
    late = slice(6000, 12000)
    ratio = np.sum(d[late] ** 2) / np.sum(w[:-1][late] ** 2)
    assert ratio == pytest.approx(2 * rate * decay / (1 + momentum), rel=0.02)
    angles = [angle(w[t], w[t + 1]) for t in range(6000, 12000, 50)]
    assert np.sqrt(np.mean(np.square(angles))) == pytest.approx(Equilibrium(momentum, rate, decay).angle, rel=0.03)


@pytest.mark.equation("eq-momentum-balance")
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_the_length_in_balance_with_momentum(rng, momentum):
    rate, decay, size = 0.1 * (1 - momentum), 0.02, 1.4
    w, _ = walk(rng, momentum, rate, decay, 6000, rng.normal(size=200), size)
    fourth = np.mean(np.sum(w[3000:] ** 2, axis=1) ** 2)
    assert fourth == pytest.approx(rate / (1 - momentum) / (2 * decay) * size**2, rel=0.03)


@pytest.mark.equation("eq-affine-invariance")
def test_a_common_factor_of_gamma_and_beta_cancels_where_a_batch_norm_follows(rng):
    """And in no other place: not for gamma alone, and not in the last batch norm."""
    network = multilayer_perceptron(SIZES, rng)
    norms = [layer for layer in network.layers if isinstance(layer, BatchNorm)]
    assert [type(each) for each in network.layers[1:5]] == [BatchNorm, ReLU, Linear, BatchNorm]
    for norm in norms:
        norm.eps = 1e-14
        norm.parameters["gamma"] = rng.uniform(0.5, 2, norm.parameters["gamma"].shape)
        norm.parameters["beta"] = rng.normal(size=norm.parameters["beta"].shape)
    batch = rng.normal(1.5, 2, (24, SIZES[0])), rng.integers(0, SIZES[-1], 24)
    usual = network.loss_and_gradients(*batch)
    assert scaled(network, norms[0], batch, "gamma", "beta") == pytest.approx(usual, abs=1e-9)
    assert scaled(network, norms[0], batch, "gamma") != pytest.approx(usual, abs=1e-3)
    assert scaled(network, norms[1], batch, "gamma", "beta") != pytest.approx(usual, abs=1e-3)


def scaled(network: Network, norm: BatchNorm, batch: tuple, *names: str) -> float:
    """The loss with some of a batch norm's parameters times 3."""
    kept = {name: norm.parameters[name] for name in names}
    norm.parameters.update({name: 3 * value for name, value in kept.items()})
    loss = network.loss_and_gradients(*batch)
    norm.parameters.update(kept)
    return loss
