"""The equations of chapter 5.3, both sides evaluated on random input."""

import numpy as np
import pytest

from bncourse.experiments.fixed_gamma import Settings
from bncourse.experiments.fixed_gamma.measure import summarize
from bncourse.experiments.fixed_gamma.settings import COMPARED
from bncourse.reference.network import BatchNorm, Network, multilayer_perceptron

GAMMA = 2.5
SIZES = (7, 9, 8, 5)
GRID = np.linspace(-9, 9, 200_001)
NORMAL = np.exp(-(GRID**2) / 2) / np.exp(-(GRID**2) / 2).sum()


@pytest.fixture
def rng():
    return np.random.default_rng(53)


def logistic(z):
    return np.log1p(np.exp(-z))


@pytest.mark.equation("eq-gamma-penalty")
@pytest.mark.parametrize("gamma", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("x_hat", [-1.2, 0.4])
def test_noise_before_gamma_is_a_penalty_with_the_square_of_gamma(gamma, x_hat):
    """The mean over normal noise by quadrature, the curvature by differences; the fourth moment is left out."""
    noise, step = 0.03, 1e-3
    mean = NORMAL @ logistic(gamma * (x_hat + noise * GRID))
    curvature = (
        logistic(gamma * x_hat + step) - 2 * logistic(gamma * x_hat) + logistic(gamma * x_hat - step)
    ) / step**2
    assert mean - logistic(gamma * x_hat) == pytest.approx(gamma**2 / 2 * curvature * noise**2, rel=0.02)


def pair(rng: np.random.Generator, gamma: float) -> tuple[Network, Network]:
    """A network with fixed gamma, and the one without it that computes the same; all offsets differ from 0."""
    seed = int(rng.integers(10**6))
    fixed, plain = (multilayer_perceptron(SIZES, np.random.default_rng(seed)) for _ in range(2))
    for number, (norm, other) in enumerate(zip(norms(fixed), norms(plain), strict=True)):
        norm.eps = 0.01
        other.eps = norm.eps / gamma**2 if number else norm.eps
        norm.parameters["gamma"][:] = gamma
        norm.parameters["beta"][:] = rng.normal(size=norm.parameters["beta"].shape)
        other.parameters["beta"][:] = norm.parameters["beta"] / gamma
    fixed.layers[-1].parameters["bias"][:] = rng.normal(size=SIZES[-1])
    plain.layers[-1].parameters["bias"][:] = fixed.layers[-1].parameters["bias"]
    plain.layers[-1].parameters["weight"] *= gamma
    return fixed, plain


def norms(network: Network) -> list[BatchNorm]:
    return [layer for layer in network.layers if isinstance(layer, BatchNorm)]


@pytest.mark.equation("eq-gamma-factor")
def test_a_relu_lets_gamma_pass_with_the_offset_in_units_of_it(rng):
    x_hat, beta = rng.normal(size=(11, 4)), rng.normal(size=4)
    gamma = rng.uniform(0.2, 5, size=4)
    b = beta / gamma
    assert np.maximum(gamma * x_hat + beta, 0) == pytest.approx(gamma * np.maximum(x_hat + b, 0))


@pytest.mark.equation("eq-gamma-output")
def test_logits_are_those_of_a_network_without_gamma_and_with_larger_output_weights(rng):
    """Exactly, epsilon included, since it is divided by the square of gamma where gamma comes in."""
    fixed, plain = pair(rng, GAMMA)
    x = rng.normal(1.5, 2, (24, SIZES[0]))
    z = fixed.forward(x, training=True)
    a = Network(plain.layers[:-1]).forward(x, training=True)
    v, c = fixed.layers[-1].parameters["weight"], fixed.layers[-1].parameters["bias"]
    assert z == pytest.approx(GAMMA * a @ v.T + c)
    assert z == pytest.approx(plain.forward(x, training=True))
    assert z != pytest.approx(a @ v.T + c, rel=1e-2)


@pytest.mark.equation("eq-gamma-rates")
@pytest.mark.parametrize("gamma", [0.4, GAMMA])
def test_fixed_gamma_trains_as_other_rates_do(rng, gamma):
    """Momentum SGD on both, each with its own rates, written out; catches a power of gamma in any group."""
    rate, momentum = 0.05, 0.8
    fixed, plain = pair(rng, gamma)
    rates = {
        fixed: {"weight": rate, "beta": rate, "output": rate, "bias": rate},
        plain: {"weight": rate, "beta": rate / gamma**2, "output": gamma**2 * rate, "bias": rate},
    }
    velocities: dict = {}
    for _ in range(6):
        batch = rng.normal(1.5, 2, (24, SIZES[0])), rng.integers(0, SIZES[-1], 24)
        losses = []
        for network, its_rates in rates.items():
            losses.append(network.loss_and_gradients(*batch))
            for layer in network.layers:
                for name, gradient in layer.gradients.items():
                    if name != "gamma":
                        group = "output" if name == "weight" and layer is network.layers[-1] else name
                        velocity = momentum * velocities.get((id(layer), name), 0.0) + gradient
                        velocities[id(layer), name] = velocity
                        layer.parameters[name] -= its_rates[group] * velocity
        assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    for norm, other in zip(norms(fixed), norms(plain), strict=True):
        assert norm.parameters["beta"] / gamma == pytest.approx(other.parameters["beta"])
    output, other_output = (network.layers[-1].parameters for network in (fixed, plain))
    assert gamma * output["weight"] == pytest.approx(other_output["weight"])
    assert output["bias"] == pytest.approx(other_output["bias"])
    assert fixed.layers[3].parameters["weight"] == pytest.approx(plain.layers[3].parameters["weight"])


def line_share(gamma: float) -> float:
    unit = np.tanh(gamma * GRID)
    return float((NORMAL @ (GRID * unit)) ** 2 / (NORMAL @ unit**2))


@pytest.mark.equation("eq-tanh-line")
@pytest.mark.parametrize("gamma", [0.5, 1.3, 6.0])
def test_the_share_of_a_tanh_that_a_line_explains(rng, gamma):
    """What least squares explains on draws."""
    x_hat = rng.normal(size=400_000)
    unit = np.tanh(gamma * x_hat)
    slope, offset = np.polyfit(x_hat, unit, 1)
    explained = 1 - np.var(unit - slope * x_hat - offset) / np.var(unit)
    assert line_share(gamma) == pytest.approx(explained, abs=2e-3)
    assert line_share(1e4) == pytest.approx(2 / np.pi, abs=1e-3)


@pytest.mark.equation("eq-tanh-curvature")
def test_a_tanh_near_zero_is_a_line_but_for_the_fourth_power():
    for gamma in (0.02, 0.05):
        assert 1 - line_share(gamma) == pytest.approx(2 / 3 * gamma**4, rel=0.05)


@pytest.mark.equation("eq-accuracy-gap")
def test_the_gap_is_training_accuracy_less_test_accuracy(rng):
    settings = Settings(test_seeds=(1, 2, 3, 4))
    places = [(activation, gamma) for activation in COMPARED for gamma in settings.gammas]
    scores = {
        place: {
            **{f"{part} accuracy": rng.uniform(0.1, 1, 4) for part in ("train", "test")},
            **{f"{part} loss": rng.uniform(0.1, 1, 4) for part in ("train", "test")},
        }
        for place in places
    }
    found = summarize(settings, dict.fromkeys(places, np.zeros(9)), dict.fromkeys(places, 0.1), scores)
    for (activation, gamma), values in scores.items():
        expected = values["train accuracy"].mean() - values["test accuracy"].mean()
        assert found.gap[activation][f"{gamma:g}"].estimate == pytest.approx(expected)
