"""Exercise: by how much gradients grow from layer to layer."""

# mypy: disable-error-code="no-any-return"
# NumPy's stubs type the reductions of an array as Any, and the solution is shown to learners without casts.

from __future__ import annotations

import numpy as np

from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Fault, FaultSet
from bncourse.exercises.probe import Probe


def measure_growth(gradients: np.ndarray) -> tuple[np.ndarray, float]:
    """Squared norms of the layers' gradients, and how fast they grow.

    For one network, with the squared norm q[l] of the gradient at layer l,

        q[0] = growth**(L - 1) * q[L - 1]

    Parameters
    ----------
    gradients : array of shape (S, L, N, C): for each of S networks and each
        of its L hidden layers, L > 1, the gradient of the loss with respect
        to the layer's outputs, of N examples and C units. Layer 0 is next
        to the input.

    Returns
    -------
    squared_norms : array of shape (S, L). A squared norm is the sum of the
        squares of all N * C values.
    growth : float, the geometric mean over the S networks.
    """
    squared_norms = (gradients**2).sum(axis=(2, 3))
    steps = gradients.shape[1] - 1
    logarithms = np.log(squared_norms[:, 0] / squared_norms[:, -1]) / steps
    return squared_norms, np.exp(logarithms.mean())


FAULTS = (
    Fault(
        "norm_not_squared",
        "These are norms, and what is asked for are their squares: growth comes out as its square root too. Leave out "
        "the square root.",
        ("returned", "measured", "power"),
    ),
    Fault(
        "norm_returned",
        "The norms are returned, and their squares are asked for. The growth is right: it is taken from the squares.",
        ("returned", "power"),
    ),
    Fault(
        "growth_of_norm",
        "The growth is that of the norm, which is the square root of what is asked for: the growth of the squared "
        "norm.",
        ("measured", "power"),
    ),
    Fault(
        "absolute_values",
        "The absolute values are added up: square every value first.",
        ("returned", "measured", "power", "norm"),
    ),
    Fault(
        "spectral_norm",
        "This is the spectral norm, the largest singular value: for a matrix, `np.linalg.norm(..., 2)` is that, and "
        "what is asked for is the sum of all squares.",
        ("sum", "norm"),
    ),
    Fault(
        "averaged",
        "The squares are averaged: a squared norm is their sum, over examples and units.",
        ("sum",),
    ),
    Fault(
        "averaged_over_batch",
        "The squares are averaged over the examples: a squared norm is their sum. Where the loss is a mean over the "
        "batch, its 1/N is in the gradients already.",
        ("sum",),
    ),
    Fault(
        "averaged_over_units",
        "The squares are averaged over the units: a squared norm is their sum.",
        ("sum",),
    ),
    Fault(
        "summed_before_squaring",
        "The gradients of the examples are added before they are squared, and those of opposite sign cancel: square "
        "first.",
        ("sum",),
    ),
    Fault(
        "averaged_before_squaring",
        "The gradients of the examples are averaged before they are squared, and those of opposite sign cancel: square "
        "every value, then add.",
        ("sum",),
    ),
    Fault(
        "direction_flipped",
        "The growth is taken from the input to the output. Gradients come from the other end: divide the squared norm "
        "at layer 0 by the one at the last layer.",
        ("direction",),
    ),
    Fault(
        "exponent_of_layers",
        "The root is of degree L: between L layers there are L - 1 steps.",
        ("rate",),
    ),
    Fault(
        "not_per_layer",
        "This is the growth from the last layer to the first, over all steps: per layer, take the root of degree "
        "L - 1.",
        ("rate", "ratios"),
    ),
    Fault(
        "divided_by_steps",
        "The growth over all steps is divided by their number. Growth multiplies from layer to layer: take the root of "
        "degree L - 1.",
        ("rate", "ratios", "average of steps"),
    ),
    Fault(
        "arithmetic_mean",
        "The growths of the single steps are averaged arithmetically. They multiply, so their average is the geometric "
        "mean: the root of degree L - 1 of the whole growth. The arithmetic mean is above it, and says that gradients "
        "grow where they go up and down and stay.",
        ("rate", "ratios", "average of steps"),
    ),
    Fault(
        "line_fitted",
        "The growth is the slope of a line that is fitted to the logarithms. That is another good measure, which "
        "weighs the layers differently: asked for is the growth from the last layer to the first, per step.",
        ("rate", "ratios"),
    ),
    Fault(
        "networks_averaged",
        "The growths of the networks are averaged arithmetically: take the geometric mean, which averages the "
        "logarithms.",
        ("networks", "average of networks"),
    ),
    Fault(
        "ratios_averaged",
        "The growths over all steps are averaged before the root is taken: the network in which the gradient grows "
        "most decides alone. Take the geometric mean over networks.",
        ("networks", "ratios", "average of networks"),
    ),
    Fault(
        "norms_averaged",
        "The squared norms are averaged over the networks before they are compared: the network with the largest "
        "gradients decides alone. Find the growth of each network, then their geometric mean.",
        ("networks",),
    ),
    Fault(
        "first_network_only",
        "The growth is that of the first network: take the geometric mean over all of them.",
        ("networks",),
    ),
    Fault(
        "logarithm_returned",
        "This is the logarithm of the growth: end with `np.exp`.",
        ("average of steps", "average of networks"),
    ),
)


def faulty_growth(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray, np.ndarray]:
    """The measurement of someone who makes the mistakes in ``faults``; with none, it is right."""
    gradients = arguments["gradients"]
    squared = _squared_norms(faults, gradients)
    root = np.sqrt(squared)
    returned = root if faults & {"norm_not_squared", "norm_returned"} else squared
    measured = root if faults & {"norm_not_squared", "growth_of_norm"} else squared

    if "norms_averaged" in faults:
        measured = measured.mean(axis=0, keepdims=True)
    if "first_network_only" in faults:
        measured = measured[:1]
    if "direction_flipped" in faults:
        measured = measured[:, ::-1]
    growths = _growths(faults, measured)
    if "networks_averaged" in faults:
        growth = growths.mean()
    elif "ratios_averaged" in faults:
        steps = gradients.shape[1] - ("exponent_of_layers" not in faults)
        growth = (measured[:, 0] / measured[:, -1]).mean() ** (1 / steps)
    else:
        growth = np.exp(np.log(growths).mean())
    if "logarithm_returned" in faults:
        growth = np.log(growth)
    return returned, np.array(growth)


def _squared_norms(faults: FaultSet, gradients: np.ndarray) -> np.ndarray:
    """What stands for the squared norm of each layer of each network."""
    if "spectral_norm" in faults:
        return np.linalg.norm(gradients, ord=2, axis=(2, 3)) ** 2
    values = gradients
    if "summed_before_squaring" in faults:
        values = values.sum(axis=2, keepdims=True)
    if "averaged_before_squaring" in faults:
        values = values.mean(axis=2, keepdims=True)
    powers = abs(values) if "absolute_values" in faults else values**2
    if "averaged" in faults:
        return powers.mean(axis=(2, 3))
    if "averaged_over_batch" in faults:
        return powers.sum(axis=3).mean(axis=2)
    if "averaged_over_units" in faults:
        return powers.mean(axis=3).sum(axis=2)
    return powers.sum(axis=(2, 3))


def _growths(faults: FaultSet, measured: np.ndarray) -> np.ndarray:
    """The growth per layer of each network."""
    layers = measured.shape[1]
    whole = measured[:, 0] / measured[:, -1]
    if "exponent_of_layers" in faults:
        return whole ** (1 / layers)
    if "not_per_layer" in faults:
        return whole
    if "divided_by_steps" in faults:
        return whole / (layers - 1)
    if "arithmetic_mean" in faults:
        return (measured[:, :-1] / measured[:, 1:]).mean(axis=1)
    if "line_fitted" in faults:
        from_the_end = np.arange(layers)[::-1] - (layers - 1) / 2
        return np.exp(np.log(measured) @ from_the_end / (from_the_end**2).sum())
    return whole ** (1 / (layers - 1))


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """Networks whose gradients grow, vanish, and differ: in size, in how fast they grow, and from step to step."""

    def probe(name: str, shape: tuple[int, int, int, int], low: float, high: float) -> Probe:
        networks, layers, examples, units = shape
        # Evenly spread over the range, so that no two networks are alike, and in any order.
        centres = low + (high - low) * (np.arange(networks) + rng.uniform(0.3, 0.7, networks)) / networks
        steps = rng.permutation(centres)[:, None] + rng.uniform(-0.8, 0.8, (networks, layers - 1))
        sizes = rng.permutation(np.linspace(-2.0, 2.0, networks + 1)[1:]) + rng.uniform(-0.3, 0.3, networks)
        # The logarithm of the squared norm at layer l is that of the last layer and all steps from there to l.
        grown = np.cumsum(np.concatenate([np.zeros((networks, 1)), steps[:, ::-1]], axis=1), axis=1)[:, ::-1]
        logarithms = sizes[:, None] + grown
        # Some examples outweigh others, and their mean is not zero.
        values = rng.standard_normal(shape) * np.linspace(0.5, 1.5, examples)[:, None]
        values += rng.uniform(0.2, 0.6, (networks, layers, 1, units)) * rng.choice([-1.0, 1.0], units)
        squared = (values**2).sum(axis=(2, 3), keepdims=True)
        return Probe(name, {"gradients": values * np.sqrt(np.exp(logarithms)[..., None, None] / squared)})

    return [
        probe("growing", (3, 5, 4, 6), 0.4, 1.4),
        probe("vanishing", (4, 6, 5, 3), -1.8, -0.5),
        probe("growing in some, vanishing in others", (6, 4, 3, 5), -1.5, 1.9),
        probe("two layers", (3, 2, 6, 4), 0.5, 1.6),
        probe("one network", (1, 7, 5, 5), 0.7, 1.1),
        probe("twenty layers", (2, 20, 3, 4), 0.3, 0.7),
    ]


EXERCISE = Exercise(
    id="gradient_growth",
    title="Growth per layer",
    chapter="4.1",
    statement=(
        "You have the gradients of several networks, layer by layer. Measure what chapter 4.1 measures: the squared "
        "norm of the gradient at every layer, and the factor by which it grows per layer, from the last layer back to "
        "the first. Above 1 gradients explode, below 1 they vanish. Leave the input unchanged."
    ),
    solution_function=measure_growth,
    outputs=("squared_norms", "growth"),
    reference=faulty_growth,
    faults=FAULTS,
    coincidences=(),
    make_probes=make_probes,
    properties=(
        Property("squared_norms", "squared_norms", lambda squared_norms, arguments: squared_norms),
        Property("growth", "growth", lambda growth, arguments: growth),
    ),
    hints=(
        "The last two axes, examples and units, both go into a squared norm. For the growth, write down q for a "
        "network of three layers in which it doubles from layer to layer, on the way back.",
        "In that network q[0] / q[2] is 4, and the growth is 2: how many steps are there between L layers? Growth "
        "multiplies, and so an average of growths is one of logarithms.",
        "The logarithm of a network's growth is log(q[0] / q[-1]) / (L - 1). Average it over the networks, then take "
        "np.exp.",
    ),
    explanation="""
    A squared norm adds up over examples and units, each by its own square. Whoever adds the examples first finds no
    gradient where those of two examples are opposite, and the layers before pass on both.

    What multiplies from layer to layer is averaged by its logarithm. From end to end, the steps between cancel: their
    geometric mean is the root of degree L - 1 of the whole growth. An arithmetic mean of the steps is larger. It takes
    a gradient that doubles and halves in turn for one that grows by a quarter per layer.

    The same holds for networks. If the gradient grows fourfold per layer in one and shrinks to a quarter in another,
    the two are equally far from 1, and the geometric mean is 1. Averaging the squared norms first would show whichever
    network has the larger gradients.
    """,
    passed_message=(
        "Your function agrees with the reference on six fresh sets of gradients: growing, vanishing, growing in some "
        "networks and vanishing in others, with two layers and with twenty, and with a single network. Your input came "
        "back unchanged."
    ),
)
