"""Exercise: which batch norms of a network store a variance that dropout has made, and by how much it is too large."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Coincidence, Fault, FaultSet
from bncourse.exercises.probe import Probe

T = TypeVar("T")
LINEAR, RELU, DROPOUT, BATCH_NORM = "linear", "relu", "dropout", "batch_norm"
# Mistakes with which a variance can come out negative, and has no root.
NEGATIVE = ("negative moments", "negative weights")


def variance_shift(
    layers: tuple[str, ...],
    shares: np.ndarray,
    weights: np.ndarray,
    means: np.ndarray,
    variances: np.ndarray,
) -> np.ndarray:
    """By which factor dropout makes the variance of each batch norm larger.

    ratio = variance in training / variance in inference

    In training a dropout of share p returns d * h for each value h. With
    probability p, d is 0, otherwise 1 / (1 - p): drawn for every value by
    itself. In inference d is 1. The input of the network, and what a batch
    norm returns, count as the same in both modes, so that a ratio is due to
    the dropouts since the batch norm before, or since the input.

    Parameters
    ----------
    layers : tuple of "linear", "relu", "dropout" and "batch_norm", in the
        order in which values go through them; the last one is linear. From
        a dropout to the next batch norm, no ReLU follows a linear layer.
    shares : array, the p of each dropout, in this order.
    weights : array of shape (K, C, C). For the values h of an example,
        linear layer number k returns weights[k] @ h + bias.
    means, variances : arrays of shape (len(layers), C), of the values that
        each layer receives in inference, over the data.

    Returns
    -------
    ratios : array of shape (B, C), a row for each of the B batch norms.
    """
    mean_square = means**2 + variances
    share, weight = iter(shares), iter(weights)
    noise, ratios = np.zeros((means.shape[1], means.shape[1])), []
    for i, layer in enumerate(layers):
        if layer == "dropout":
            p = next(share)
            received = mean_square[i] + np.diag(noise)
            noise = noise + np.diag(received * p / (1 - p))
        elif layer == "linear":
            w = next(weight)
            noise = w @ noise @ w.T
        elif layer == "relu":
            noise = noise * mean_square[i + 1] / mean_square[i]
        else:
            ratios.append(1 + np.diag(noise) / variances[i])
            noise = np.zeros_like(noise)
    return np.array(ratios)


FAULTS = (
    Fault(
        "share_kept",
        "p is taken for the share that is kept. It is the share that is dropped, as in PyTorch.",
        ("factor",),
    ),
    Fault(
        "scale_forgotten",
        "p * (1 - p) is the variance of a d that is 0 or 1. What is kept is divided by 1 - p, and the variance by its "
        "square: p / (1 - p).",
        ("factor",),
    ),
    Fault(
        "share_itself",
        "What a dropout adds is p times the mean square here. The factor is the variance of d, p / (1 - p).",
        ("factor",),
    ),
    Fault(
        "second_moment_added",
        "1 / (1 - p) is the mean of d**2, by which the mean square is multiplied. What is *added* is the variance of "
        "d times the mean square, and that variance is p / (1 - p).",
        ("factor",),
    ),
    Fault(
        "mean_ignored",
        "The mean of the dropped values is left out. Dropping a value that is always 3 makes noise too: what is added "
        "is in proportion to the mean square, `mean**2 + var`.",
        ("moments",),
    ),
    Fault(
        "variance_ignored",
        "Only the squared mean of the dropped values enters: what is added is in proportion to the mean square, "
        "`mean**2 + var`.",
        ("moments",),
    ),
    Fault(
        "mean_not_squared",
        "The mean is added to the variance without its square: the mean square is `mean**2 + var`.",
        ("moments", NEGATIVE[0]),
    ),
    Fault(
        "one_layer_early",
        "Moments are taken one layer too early: row i holds those of what layer i *receives*.",
        ("moments", "denominator"),
    ),
    Fault(
        "formula_of_one_value",
        "The formula for a value that is dropped itself is used for every batch norm. Behind a linear layer, or a "
        "ReLU, other values were dropped: start from their mean squares, and follow what they add to the batch norm.",
        ("linear", "relu", "combination"),
    ),
    Fault(
        "weights_not_squared",
        "The added variances go through the weights as they are. The variance of w * h is w**2 times that of h.",
        ("linear", NEGATIVE[1]),
    ),
    Fault(
        "weights_absolute",
        "The added variances are multiplied by the absolute weights. The variance of w * h is w**2 times that of h.",
        ("linear",),
    ),
    Fault(
        "weights_transposed",
        "The weights are transposed: row i of a weight matrix makes unit i, so it is `weights[k] @ h`.",
        ("linear",),
    ),
    Fault(
        "squared_one_by_one",
        "Each linear layer's weights are squared by themselves. That is right behind a dropout, where the noise of the "
        "units is independent. Behind a linear layer it is not: the same masks are in all of them, and two layers "
        "without an activation between them are one, with the product of both matrices. Keep the covariances.",
        ("linear",),
    ),
    Fault(
        "inputs_averaged",
        "The contributions of the inputs of a linear layer are averaged: they add up.",
        ("linear",),
    ),
    Fault(
        "linear_ignored",
        "A linear layer leaves the added variances as they are: it mixes the units and scales them. Each unit adds up "
        "what its inputs contribute, with squared weights.",
        ("linear",),
    ),
    Fault(
        "linear_stops",
        "A dropout counts only right before the batch norm. Its noise goes on through a linear layer, up to the next "
        "batch norm.",
        ("linear", "relu", "combination", "scope"),
    ),
    Fault(
        "relu_ignored",
        "A ReLU leaves the added variances as they are. No d is negative, so `relu(d * h)` is `d * relu(h)`: it is as "
        "if dropout stood behind the ReLU, and the mean square there is another.",
        ("relu",),
    ),
    Fault(
        "relu_halves",
        "A ReLU halves the added variances, as if positive and negative values had the same mean square. `relu(d * h)` "
        "is `d * relu(h)`, and the mean square of relu(h) is given.",
        ("relu",),
    ),
    Fault(
        "relu_stops",
        "The noise of a dropout ends at a ReLU here. It does not: no d is negative, and `relu(d * h)` is "
        "`d * relu(h)`.",
        ("relu",),
    ),
    Fault(
        "contributions_added",
        "Where there are two dropouts, what they would add alone is added. The second one multiplies what the first "
        "has added, too: the mean square that it receives in training is larger than in inference, by the first one's "
        "noise.",
        ("combination",),
    ),
    Fault(
        "last_only",
        "Of two dropouts only the last one counts. The noise of the first goes through the second, and grows there.",
        ("combination",),
    ),
    Fault(
        "one_share",
        "The first dropout's share is used for all of them.",
        ("share",),
    ),
    Fault(
        "not_reset",
        "The noise goes on behind a batch norm. Here what a batch norm returns counts as the same in both modes: begin "
        "anew after each.",
        ("scope",),
    ),
    Fault(
        "multiplied_up",
        "Each ratio is multiplied by those of the batch norms before. In a network they do nearly multiply; here what "
        "a batch norm returns counts as the same in both modes, and each ratio stands for itself.",
        ("scope",),
    ),
    Fault(
        "counted_for_the_batch_norm_before",
        "A dropout is counted for the batch norm before it. That one has seen its values already, without this "
        "dropout's noise: it is the next one that stores it.",
        ("scope", "linear", "relu", "combination"),
    ),
    Fault(
        "second_moments_compared",
        "The added variance is divided by a mean square: a batch norm compares with the variance, about the mean.",
        ("denominator",),
    ),
    Fault(
        "inverted",
        "The ratio is upside down: variance in training, which is stored, over the variance in inference.",
        ("result",),
    ),
    Fault(
        "one_missing",
        "This is what dropout adds, relative to the variance in inference. The ratio has the values' own variance in "
        "it too: add 1.",
        ("result",),
    ),
    Fault(
        "standard_deviations",
        "This is the ratio of the standard deviations: leave out the root.",
        ("result", *NEGATIVE),
    ),
    Fault(
        "variance_returned",
        "This is the variance in training: divide it by that in inference.",
        ("result", "denominator"),
    ),
)
# The variance of d by the share: rightly, and by mistake.
FACTORS: dict[str, Callable[[float], float]] = {
    "": lambda p: p / (1 - p),
    "share_kept": lambda p: (1 - p) / p,
    "scale_forgotten": lambda p: p * (1 - p),
    "share_itself": lambda p: p,
    "second_moment_added": lambda p: 1 / (1 - p),
}
# What stands for the mean square, by mean and variance.
MEAN_SQUARES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "": lambda mean, var: mean**2 + var,
    "mean_ignored": lambda mean, var: var,
    "variance_ignored": lambda mean, var: mean**2,
    "mean_not_squared": lambda mean, var: mean + var,
}
# What becomes of the noise's covariances in a linear layer.
THROUGH_LINEAR: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "": lambda w, noise: w @ noise @ w.T,
    "weights_not_squared": lambda w, noise: np.diag(w @ np.diag(noise)),
    "weights_absolute": lambda w, noise: np.diag(abs(w) @ np.diag(noise)),
    "weights_transposed": lambda w, noise: w.T @ noise @ w,
    "squared_one_by_one": lambda w, noise: np.diag(w**2 @ np.diag(noise)),
    "inputs_averaged": lambda w, noise: w @ noise @ w.T / len(w),
    "linear_ignored": lambda w, noise: noise,
    "linear_stops": lambda w, noise: np.zeros_like(noise),
}
# By what a ReLU multiplies it.
RELU_FACTORS = {"relu_ignored": 1.0, "relu_halves": 0.5, "relu_stops": 0.0}
# What is returned, by what is added relative to the variance in inference, and this variance.
RESULTS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "": lambda added, var: 1 + added,
    "inverted": lambda added, var: 1 / (1 + added),
    "one_missing": lambda added, var: added,
    "standard_deviations": lambda added, var: np.sqrt(1 + added),
    "variance_returned": lambda added, var: (1 + added) * var,
}


def faulty_shift(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray]:
    """The prediction of someone who makes the mistakes in ``faults``; with none, it is right."""
    layers, shares, weights = arguments["layers"], arguments["shares"], iter(arguments["weights"])
    means, variances = arguments["means"], arguments["variances"]
    if "one_share" in faults:
        shares = shares[:1].repeat(len(shares))
    factors = iter([_chosen(FACTORS, faults)(p) for p in shares])
    true_square = means**2 + variances
    square = _chosen(MEAN_SQUARES, faults)(means, variances)
    compared = true_square if "second_moments_compared" in faults else variances
    if "one_layer_early" in faults:
        square, compared = np.roll(square, 1, axis=0), np.roll(compared, 1, axis=0)

    noise, combined = np.zeros((means.shape[1],) * 2), 1.0
    added: list[np.ndarray] = []
    for i, layer in enumerate(layers):
        if layer == DROPOUT:
            factor = next(factors)
            combined *= 1 + factor
            if "counted_for_the_batch_norm_before" in faults:
                if added:
                    added[-1] = added[-1] + factor * square[i] / compared[i]
                continue
            if "last_only" in faults:
                noise = np.zeros_like(noise)
            before = 0.0 if "contributions_added" in faults else np.diag(noise)
            noise = noise + np.diag(factor * (square[i] + before))
        elif layer == LINEAR:
            noise = _chosen(THROUGH_LINEAR, faults)(next(weights), noise)
        elif layer == RELU:
            kept = true_square[i + 1] / true_square[i]
            noise = noise * next((factor for fault, factor in RELU_FACTORS.items() if fault in faults), kept)
        else:
            own = (combined - 1) * square[i] if "formula_of_one_value" in faults else np.diag(noise)
            added.append(own / compared[i])
            if "not_reset" not in faults:
                noise, combined = np.zeros_like(noise), 1.0
    of_batch_norms = variances[[layer == BATCH_NORM for layer in layers]]
    relative = np.array(added)
    if "multiplied_up" in faults:
        relative = np.cumprod(1 + relative, axis=0) - 1
    return (_chosen(RESULTS, faults)(relative, of_batch_norms),)


def _chosen(choices: Mapping[str, T], faults: FaultSet) -> T:
    return choices[next((fault for fault in choices if fault in faults), "")]


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """Networks with dropout in every place that people put it, each with the moments of its own values."""
    return [
        _probe(rng, name, order.split(), width)
        for name, order, width in (
            ("before batch norm", "linear dropout batch_norm relu linear dropout batch_norm relu linear", 4),
            ("behind the ReLU", "linear batch_norm relu dropout linear batch_norm relu linear", 5),
            ("before the ReLU", "linear batch_norm dropout relu linear batch_norm linear", 4),
            ("behind the last batch norm", "linear batch_norm relu linear batch_norm relu dropout linear", 3),
            ("on both sides of a linear layer", "linear batch_norm relu dropout linear dropout batch_norm linear", 6),
            ("on both sides of a ReLU", "linear batch_norm dropout relu dropout linear batch_norm linear", 3),
            ("before two linear layers", "linear batch_norm relu dropout linear linear batch_norm linear", 4),
            ("no activation", "dropout linear batch_norm linear dropout batch_norm linear batch_norm linear", 5),
        )
    ]


def _probe(rng: np.random.Generator, name: str, layers: list[str], width: int) -> Probe:
    """A network of random weights, and the moments of what goes through it in inference."""
    # Not one half, where dropped and kept are as many; the dropouts of a network differ.
    shares = rng.permutation([rng.uniform(0.15, 0.42), rng.uniform(0.58, 0.7)])[: layers.count(DROPOUT)]
    weights = rng.standard_normal((layers.count(LINEAR), width, width)) / np.sqrt(width)
    h, matrices, received = _standardized(rng, rng.standard_normal((60, width))), iter(weights), []
    for layer in layers:
        received.append(h)
        if layer == LINEAR:
            z = h @ next(matrices).T
            # The bias is such that no mean is near zero, and a ReLU lets part of every unit through.
            h = z - z.mean(axis=0) + z.std(axis=0) * _off_zero(rng, width)
        elif layer == BATCH_NORM:
            h = _standardized(rng, h)
        elif layer == RELU:
            h = np.maximum(h, 0)
    moments = np.array([[values.mean(axis=0), values.var(axis=0)] for values in received])
    arguments = {
        "layers": tuple(layers),
        "shares": shares,
        "weights": weights,
        "means": moments[:, 0],
        "variances": moments[:, 1],
    }
    return Probe(name, arguments)


def _standardized(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """What a batch norm makes of values, with a gamma and a beta that have been learned."""
    width = values.shape[1]
    x_hat = (values - values.mean(axis=0)) / values.std(axis=0)
    learned: np.ndarray = rng.uniform(0.6, 1.6, width) * (x_hat + _off_zero(rng, width))
    return learned


def _off_zero(rng: np.random.Generator, width: int) -> np.ndarray:
    """Means, in units of the standard deviation."""
    means: np.ndarray = rng.uniform(0.3, 0.8, width) * rng.choice([-1.0, 1.0], width)
    return means


def _of_one_value(fault: str) -> Coincidence:
    return Coincidence(
        frozenset({fault, "mean_ignored"}),
        frozenset({fault, "second_moments_compared"}),
        "where the value itself is dropped, both give 1 / (1 - p)",
    )


EXERCISE = Exercise(
    id="dropout_order",
    title="The order that breaks",
    chapter="5.4",
    statement=(
        "A network is given by its layers, in their order, and by the moments of what goes through them in inference. "
        "Predict for each batch norm, unit by unit, by which factor the variance that it meets in training, and "
        "stores, exceeds the one that it meets in inference, because of the dropouts between it and the batch norm "
        "before. Where all factors are 1, the order is safe. Leave the inputs unchanged."
    ),
    solution_function=variance_shift,
    outputs=("ratios",),
    reference=faulty_shift,
    faults=FAULTS,
    coincidences=tuple(
        map(_of_one_value, ("formula_of_one_value", "linear_stops", "counted_for_the_batch_norm_before"))
    ),
    make_probes=make_probes,
    properties=(Property("ratios", "ratios", lambda ratios, arguments: ratios),),
    hints=(
        "Begin with two orders: dropout right before a batch norm, then one linear layer between them; chapter 5.4 has "
        "both. Go through the layers from first to last, and carry along the variance that dropout has added so far.",
        "What is added is a covariance matrix: a dropout makes it diagonal, a linear layer w makes w @ noise @ w.T of "
        "it. A second dropout sees values whose mean square has grown by the diagonal. And what is relu(d * h), when d "
        "is 0 or positive?",
        "At a dropout: noise + np.diag(p / (1 - p) * (mean_square[i] + np.diag(noise))). At a ReLU: the noise times "
        "mean_square[i + 1] / mean_square[i]. At a batch norm: 1 + np.diag(noise) / variances[i], and back to zero.",
    ),
    explanation="""
    Dropout keeps means, so the noise is what training adds to the values of inference, and its covariances say all
    that a variance needs. A dropout adds p / (1 - p) times the mean square of what it receives in training: that of
    inference, and the noise that is there already. Two dropouts on one value multiply its mean square by both
    1 / (1 - p).

    Each value has a mask of its own, so behind a dropout the added covariances are on the diagonal, and through one
    linear layer they add up with squared weights. Behind it they are no longer on the diagonal alone, since the
    same masks are in all units. A second linear layer needs these covariances. Squaring both weight matrices loses
    them.

    A ReLU is not linear, but d is 0 or positive, and so relu(d * h) = d * relu(h): dropout may as well stand
    behind it. The noise stays in proportion to the mean square, which is then that of relu(h). Dropout right before
    a ReLU and right behind it are the same network.

    Which orders break? Those with a dropout before a batch norm, wherever it is: right before, behind the ReLU, before
    the ReLU. What lies between changes by how much. Only behind the last batch norm a dropout does no harm to any of
    them.
    """,
    passed_message=(
        "Your function agrees with the reference on eight fresh networks: with dropout before batch norm, before the "
        "ReLU and behind it, behind the last batch norm, on both sides of a linear layer and of a ReLU, before two "
        "linear layers, and on the input. Your inputs came back unchanged."
    ),
)
