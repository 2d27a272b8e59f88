"""The equations of chapter 4.3, both sides evaluated on random input."""

from itertools import pairwise

import numpy as np
import pytest

from bncourse.reference import batch_norm, batch_norm_backward
from bncourse.reference.network import SGD, BatchNorm, Linear, Network, ReLU, multilayer_perceptron

SIZES = (7, 9, 8, 6, 5)
HIDDEN = len(SIZES) - 2
GAINS = (0.05, 0.6, 3.0)


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture
def batch(rng):
    return rng.normal(1.5, 2, (24, SIZES[0])), rng.integers(0, SIZES[-1], 24)


def hidden_linears(network: Network) -> list[Linear]:
    return [layer for layer in network.layers[:-1] if isinstance(layer, Linear)]


def network_at(gain: float, *, normalized: bool, eps: float = 1e-5) -> Network:
    """The same draws for every gain."""
    network = multilayer_perceptron(SIZES, np.random.default_rng(12), normalized)
    for layer in hidden_linears(network):
        layer.parameters["weight"] *= gain
    for layer in network.layers:
        if isinstance(layer, BatchNorm):
            layer.eps = eps
    return network


def gradients_at(gain: float, batch, *, eps: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of a network with batch norm: the hidden weights, and the gradients of the loss by them."""
    network = network_at(gain, normalized=True, eps=eps)
    network.loss_and_gradients(*batch)
    linears = hidden_linears(network)
    return [layer.parameters["weight"] for layer in linears], [layer.gradients["weight"] for layer in linears]


@pytest.mark.equation("eq-gain-logits")
@pytest.mark.parametrize("gain", GAINS)
def test_without_batch_norm_each_layer_multiplies_the_signal_by_the_gain(batch, gain):
    """Catches one layer too many or too few in the exponent. The output layer has no gain, and no bias yet."""
    left = network_at(gain, normalized=False).forward(batch[0])
    right = gain**HIDDEN * network_at(1.0, normalized=False).forward(batch[0])
    np.testing.assert_allclose(left, right, rtol=1e-10)
    assert np.abs(right).max() > 0


@pytest.mark.equation("eq-gain-jacobian")
@pytest.mark.parametrize("gain", GAINS)
def test_the_derivative_of_the_logits_has_one_power_less(batch, rng, gain):
    """By finite differences along a random direction in one layer's weights, no backward pass involved."""
    direction = [rng.normal(size=(outputs, inputs)) for inputs, outputs in pairwise(SIZES[:-1])]

    def derivative(at: float, place: int) -> np.ndarray:
        ends = []
        for sign in (1, -1):
            network = network_at(at, normalized=False)
            hidden_linears(network)[place].parameters["weight"] += sign * 1e-6 * at * direction[place]
            ends.append(network.forward(batch[0]))
        return (ends[0] - ends[1]) / (2e-6 * at)

    for place in range(HIDDEN):
        expected = gain ** (HIDDEN - 1) * derivative(1.0, place)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(derivative(gain, place), expected, rtol=1e-5, atol=1e-6 * scale)


@pytest.mark.equation("eq-gain-step")
@pytest.mark.parametrize("gain", GAINS)
def test_with_batch_norm_the_relative_step_goes_with_the_inverse_square(batch, gain):
    """With an eps that is no more than a guard; catches 1/g, and a power of the depth."""
    rate = 0.3
    for weight, gradient, usual, usual_gradient in zip(
        *gradients_at(gain, batch, eps=1e-14), *gradients_at(1.0, batch, eps=1e-14), strict=True
    ):
        left = rate * np.linalg.norm(gradient) / np.linalg.norm(weight)
        right = rate * np.linalg.norm(usual_gradient) / np.linalg.norm(usual) / gain**2
        assert left == pytest.approx(right, rel=1e-6)


def trained(gain: float, rate: float, hidden_rate: float, eps: float, steps: int = 7):
    """The network after some steps, its losses, and the velocities of its hidden weights."""
    network, rng = network_at(gain, normalized=True, eps=eps), np.random.default_rng(13)
    optimizer = SGD(network, rate, momentum=0.8)
    velocities = [np.zeros_like(layer.parameters["weight"]) for layer in hidden_linears(network)]
    losses = []
    for _ in range(steps):
        x, labels = rng.normal(1.5, 2, (24, SIZES[0])), rng.integers(0, SIZES[-1], 24)
        losses.append(network.loss_and_gradients(x, labels))
        for layer, velocity in zip(hidden_linears(network), velocities, strict=True):
            # Their own rate, and their own velocity, written out.
            velocity *= 0.8
            velocity += layer.gradients.pop("weight")
            layer.parameters["weight"] = layer.parameters["weight"] - hidden_rate * velocity
        optimizer.step()
    return network, np.array(losses), velocities


@pytest.mark.equation("eq-gain-run")
@pytest.mark.parametrize("gain", GAINS)
def test_with_rate_and_eps_rescaled_the_weights_stay_at_the_gain_times_the_usual(gain):
    """With a large eps, so that leaving it as it is would show."""
    usual, losses, velocities = trained(1.0, 0.1, 0.1, eps=0.3)
    other, its_losses, its_velocities = trained(gain, 0.1, 0.1 * gain**2, eps=0.3 * gain**2)
    np.testing.assert_allclose(its_losses, losses, rtol=1e-9)
    for place, (layer, same) in enumerate(zip(other.layers, usual.layers, strict=True)):
        hidden = isinstance(layer, Linear) and layer is not other.layers[-1]
        for name, value in layer.parameters.items():
            np.testing.assert_allclose(value, (gain if hidden else 1) * same.parameters[name], rtol=1e-7, atol=1e-9)
            assert not np.allclose(value, network_at(gain, normalized=True).layers[place].parameters[name], rtol=1e-3)
    for velocity, its_velocity in zip(velocities, its_velocities, strict=True):
        np.testing.assert_allclose(its_velocity, velocity / gain, rtol=1e-7, atol=1e-9)
    for changed in (
        trained(gain, 0.1, 0.1 * gain, eps=0.3 * gain**2),
        trained(gain, 0.1, 0.1 * gain**2, eps=0.3),
    ):
        assert np.abs(changed[1] - losses).max() > 1e-3


@pytest.mark.equation("eq-gain-effective")
@pytest.mark.parametrize("gain", GAINS)
def test_a_gain_is_another_rate_of_the_hidden_weights(gain):
    left = trained(gain, 0.1, 0.1, eps=1e-3)[1]
    right = trained(1.0, 0.1, 0.1 / gain**2, eps=1e-3 / gain**2)[1]
    np.testing.assert_allclose(left, right, rtol=1e-6)


@pytest.mark.equation("eq-gain-eps")
def test_epsilon_bounds_what_the_gradient_is_multiplied_by(rng):
    """The factor is read from a backward pass: of a gradient along which nothing is projected away."""
    h, eps = rng.normal(2, 1.7, 40), 1e-3
    dy = rng.normal(size=40)
    centred = np.stack([np.ones(40), h - h.mean()], axis=1)
    dy -= centred @ np.linalg.lstsq(centred, dy, rcond=None)[0]
    for gain in (1e-4, 1e-2, 0.3, 2.0):
        _, cache = batch_norm(gain * h[:, None], np.ones(1), np.zeros(1), eps)
        dx, _, _ = batch_norm_backward(dy[:, None], cache)
        factor = float(dx[:, 0] @ dy / (dy @ dy))
        assert factor == pytest.approx(1 / np.sqrt(gain**2 * h.var() + eps), rel=1e-6)
        bound = min(1 / (gain * h.std()), 1 / np.sqrt(eps))
        assert bound / np.sqrt(2) <= factor < bound


@pytest.mark.equation("eq-gain-floor")
@pytest.mark.parametrize("gain", [0.02, 0.1, 0.4, 2.0])
def test_one_step_lengthens_small_weights_to_a_floor(batch, gain):
    """The length after a step of gradient descent, in units of the usual; catches kappa without its square."""
    rate = 0.2

    def length(arrays) -> float:
        return float(np.sqrt(sum(np.square(array).sum() for array in arrays)))

    usual, usual_gradients = gradients_at(1.0, batch, eps=1e-14)
    kappa = rate * length(usual_gradients) / length(usual)
    weights, gradients = gradients_at(gain, batch, eps=1e-14)
    after = length([weight - rate * gradient for weight, gradient in zip(weights, gradients, strict=True)])
    after /= length(usual)
    assert after**2 == pytest.approx(gain**2 + kappa**2 / gain**2, rel=1e-6)
    assert after**2 >= 2 * kappa * (1 - 1e-6)


def test_the_network_of_these_tests_has_the_layers_that_the_equations_are_about():
    kinds = [type(layer) for layer in network_at(1.0, normalized=True).layers]
    assert kinds == [Linear, BatchNorm, ReLU] * HIDDEN + [Linear]
