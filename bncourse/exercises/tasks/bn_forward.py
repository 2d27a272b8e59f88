"""Exercise: the transform in training mode."""

# mypy: disable-error-code="no-any-return"
# NumPy's stubs type the reductions of an array as Any, and the solution is shown to learners without casts.

from __future__ import annotations

import numpy as np

from bncourse.exercises.batches import designed_batches
from bncourse.exercises.common_faults import DIVISOR
from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Fault, FaultSet
from bncourse.exercises.probe import Probe


def batch_norm_forward(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    eps: float,
) -> np.ndarray:
    """Normalize each feature over the batch, then scale and shift it.

    y = gamma * x_hat + beta,    x_hat = (x - mean) / sqrt(var + eps)

    mean and var are the mean and the biased variance of each feature over
    the N samples.

    Parameters
    ----------
    x : array of shape (N, C), N samples of C features.
    gamma, beta : arrays of shape (C,), scale and shift of each feature.
    eps : positive float.

    Returns
    -------
    y : array of shape (N, C).
    """
    mean = x.mean(axis=0)
    centred = x - mean
    var = (centred**2).mean(axis=0)
    x_hat = centred / np.sqrt(var + eps)
    return gamma * x_hat + beta


FAULTS = (
    Fault(
        "unbiased_variance",
        "This is the unbiased variance: divide the sum of squares by m, the number of samples, not by m - 1 "
        "(in NumPy, `ddof=0`).",
        ("variance",),
    ),
    Fault(
        "statistics_over_features",
        "Mean and variance run over the features of each sample: that is layer norm. Take them over the batch, "
        "`axis=0`, one of each for every feature.",
        ("axis",),
    ),
    Fault(
        "statistics_over_everything",
        "One mean and one variance are taken over the whole array. Take them over the batch alone, `axis=0`, one of "
        "each for every feature.",
        ("axis",),
    ),
    Fault(
        "eps_outside",
        "eps is added outside the square root: write `sqrt(var + eps)`, not `sqrt(var) + eps`.",
        ("eps", "root"),
    ),
    Fault("eps_missing", "eps is missing: divide by `sqrt(var + eps)`.", ("eps",)),
    Fault(
        "eps_fixed",
        "The argument eps is not used; 1e-5 stands in its place. Divide by `sqrt(var + eps)` with the eps that the "
        "caller gives.",
        ("eps",),
    ),
    Fault(
        "eps_after_division",
        "eps is added to the quotient: it belongs below the line, as in `(x - mean) / sqrt(var + eps)`. Look at the "
        "parentheses.",
        ("eps",),
    ),
    *DIVISOR,
    Fault("gamma_missing", "gamma is missing: y is `gamma * x_hat + beta`.", ("gamma",)),
    Fault("beta_missing", "beta is missing: y is `gamma * x_hat + beta`.", ("beta",)),
    Fault(
        "gamma_beta_swapped",
        "gamma and beta have changed places: gamma multiplies x_hat, and beta is added.",
        ("roles",),
    ),
    Fault(
        "beta_scaled",
        "The shift is scaled as well, `gamma * (x_hat + beta)`: add beta last, `gamma * x_hat + beta`.",
        ("gamma", "beta"),
    ),
)


def faulty_batch_norm(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray]:
    """The transform as someone writes it who makes the mistakes in ``faults``; with none, it is right."""
    x, gamma, beta, eps = (arguments[name] for name in ("x", "gamma", "beta", "eps"))
    axis: int | tuple[int, int] = 0
    if "statistics_over_features" in faults:
        axis = 1
    if "statistics_over_everything" in faults:
        axis = (0, 1)
    mean = x.mean(axis=axis, keepdims=True)
    deviations = x if "variance_about_zero" in faults else x - mean
    count = x.size / mean.size
    var = (deviations**2).sum(axis=axis, keepdims=True) / (count - ("unbiased_variance" in faults))

    inside = {"eps_missing": 0.0, "eps_outside": 0.0, "eps_after_division": 0.0, "eps_fixed": 1e-5}
    added = next((value for fault, value in inside.items() if fault in faults), eps)
    divisor = var + added if "divided_by_variance" in faults else np.sqrt(var + added)
    if "eps_outside" in faults:
        divisor = divisor + eps
    numerator = x - mean
    if "no_centring" in faults:
        numerator = x
    if "sign_flipped" in faults:
        numerator = mean - x
    x_hat = numerator / divisor
    if "eps_after_division" in faults:
        x_hat = x_hat + eps

    scale, shift = (beta, gamma) if "gamma_beta_swapped" in faults else (gamma, beta)
    if "beta_scaled" in faults:
        return (scale * (x_hat + shift),)
    if "gamma_missing" in faults:
        scale, shift = (scale, 0.0) if "gamma_beta_swapped" in faults else (1.0, shift)
    if "beta_missing" in faults:
        scale, shift = (1.0, shift) if "gamma_beta_swapped" in faults else (scale, 0.0)
    return (scale * x_hat + shift,)


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """One call for each designed batch."""
    return [
        Probe(
            batch.name,
            {"x": batch.x, "gamma": batch.gamma, "beta": batch.beta, "eps": batch.eps},
            batch.condition,
            batch.alone,
        )
        for batch in designed_batches(rng)
    ]


EXERCISE = Exercise(
    id="bn_forward",
    title="The transform in training mode",
    chapter="1.2",
    statement=(
        "Write the transform of chapter 1.2 in training mode: normalize each feature with the mean and the biased "
        "variance of the batch, then scale it by `gamma` and shift it by `beta`. `x` has the shape `(N, C)`; leave it "
        "unchanged, and return `y` of the same shape. No loop is needed."
    ),
    solution_function=batch_norm_forward,
    outputs=("y",),
    reference=faulty_batch_norm,
    faults=FAULTS,
    coincidences=(),
    make_probes=make_probes,
    properties=(
        Property("the mean of y over the batch", "y", lambda y, arguments: y.mean(axis=0)),
        Property("the standard deviation of y over the batch", "y", lambda y, arguments: y.std(axis=0)),
        Property("y", "y", lambda y, arguments: y),
    ),
    hints=(
        "Each feature has a mean and a variance of its own. Which axis of x do they run over, and what shape do "
        "they have?",
        "With axis=0 both have the shape (C,), and NumPy lines that shape up with the last axis of x, so that "
        "`x - mean` centres every column. np.var divides by m unless you ask otherwise.",
        "Three lines: the statistics over axis 0; x_hat, the centred x over the square root of (var + eps); then "
        "gamma times x_hat, plus beta. None of them may write into x.",
    ),
    explanation="""
    Statistics over axis 0 have one entry for each feature, and broadcasting applies them to every sample. The mean is
    subtracted before anything is squared, so a batch far from zero costs no digits.

    The variance is the biased one, the mean of the squares: with it, and without eps, each feature of x_hat has
    mean 0 and variance exactly 1. eps stands inside the square root; it keeps a constant feature from dividing by zero.

    No line writes into x: the backward pass and the caller still need it.
    """,
    passed_message=(
        "Your function agrees with the reference on six fresh batches: more samples than features and the reverse, "
        "as many of both, values far from zero, values so small that eps decides, and a large eps. gamma and beta "
        "were random in all of them, and your inputs came back unchanged."
    ),
)
