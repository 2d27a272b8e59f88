"""Exercise: find out by what convention a layer keeps its running statistics."""

# mypy: disable-error-code="no-any-return"
# NumPy's stubs type the reductions of an array as Any, and the solution is shown to learners without casts.

from __future__ import annotations

import numpy as np

from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Fault, FaultSet
from bncourse.exercises.probe import Probe

STILL_ALONE = (
    "So the formula is right. Here the old mean of feature 0 is the batch's own: it cannot move, and 0 over 0 says "
    "nothing about the weight. Weigh the features by how far they could move, or leave such a feature out."
)


def identify_convention(
    x: np.ndarray,
    old_mean: np.ndarray,
    old_var: np.ndarray,
    new_mean: np.ndarray,
    new_var: np.ndarray,
) -> tuple[float, int]:
    """Weight and variance with which a batch came into running statistics.

    new_mean = (1 - momentum) * old_mean + momentum * mean(x)
    new_var = (1 - momentum) * old_var + momentum * var(x, ddof)

    Parameters
    ----------
    x : array of shape (N, C), the batch, with N > 1.
    old_mean, old_var : arrays of shape (C,), what was kept before it.
    new_mean, new_var : arrays of shape (C,), what was kept after it.

    Returns
    -------
    momentum : float, the weight of the new statistic, one for all features.
    ddof : 0 if the variance that came in was biased, and 1 if unbiased.
    """
    moved = new_mean - old_mean
    could_move = x.mean(axis=0) - old_mean
    momentum = (moved * could_move).sum() / (could_move**2).sum()
    came_in = old_var + (new_var - old_var) / momentum
    from_biased = abs(came_in - x.var(axis=0)).sum()
    from_unbiased = abs(came_in - x.var(axis=0, ddof=1)).sum()
    return momentum, int(from_unbiased < from_biased)


IGNORED = (
    "The momentum is taken as if the old mean had been zero: it is `new_mean / mean(x)` only after the very first "
    "batch. Take the old mean off both."
)
INVERTED = (
    "The momentum is upside down: it is the way that the mean went, `new_mean - old_mean`, over the way that it could "
    "have gone, `mean(x) - old_mean`."
)
CHANGE = (
    "The way that the mean went is divided by the mean of the batch: divide it by the way that it could have gone, "
    "`mean(x) - old_mean`."
)
OF_OLD = "This is the weight of the old statistic, which others call momentum: return the weight of the new one."
NEARER = "compare what came in with both variances of the batch and take the nearer one. Rounding leaves neither equal."
FAULTS = (
    Fault("weight_of_old", OF_OLD, ("momentum",)),
    Fault("weight_of_old_and_used", OF_OLD, ("momentum", "ddof")),
    Fault("ratio_inverted", INVERTED, ("momentum",)),
    Fault("ratio_inverted_and_used", INVERTED, ("momentum", "ddof")),
    Fault("old_mean_ignored", IGNORED, ("momentum",)),
    Fault("old_mean_ignored_and_used", IGNORED, ("momentum", "ddof")),
    Fault("change_over_batch", CHANGE, ("momentum",)),
    Fault("change_over_batch_and_used", CHANGE, ("momentum", "ddof")),
    Fault(
        "old_and_new_exchanged",
        "The momentum comes out negative, because old and new have changed places: the old statistics are those from "
        "before the batch.",
        ("momentum",),
    ),
    Fault(
        "biased_assumed",
        "The momentum is taken from the variance, as if it were the biased one, and that is yet to be found out. "
        "Take it from the mean, about which there is no doubt.",
        ("momentum", "ddof"),
    ),
    Fault(
        "unbiased_assumed",
        "The momentum is taken from the variance, as if it were the unbiased one, and that is yet to be found out. "
        "Take it from the mean, about which there is no doubt.",
        ("momentum", "ddof"),
    ),
    Fault(
        "ddof_swapped",
        "The two variances have changed places: ddof is 0 for the biased one, which divides by N, and 1 for the "
        "unbiased one, which divides by N - 1.",
        ("ddof",),
    ),
    Fault(
        "always_biased",
        f"ddof is always 0: {NEARER}",
        ("ddof",),
    ),
    Fault(
        "always_unbiased",
        f"ddof is always 1: {NEARER}",
        ("ddof",),
    ),
    Fault(
        "old_var_ignored",
        "new_var itself is compared with the variances of the batch. It is an average of old and new: solve for what "
        "came in, `old_var + (new_var - old_var) / momentum`.",
        ("ddof",),
    ),
    Fault(
        "divisor_returned",
        "The second result is the divisor, N or N - 1: return what is taken off N, 0 or 1.",
        ("ddof",),
    ),
    Fault(
        "outputs_swapped",
        "The two results have changed places: return the momentum first, then ddof.",
        ("order",),
    ),
)


def faulty_identification(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray, np.ndarray]:
    """The answer of someone who makes the mistakes in ``faults``; with none, it is right.

    A wrong momentum leads to a wrong ddof as well where it is used to find it, and does not where ddof is found in
    another way; both are natural to write, so some of the mistakes come in two forms.
    """
    x, old_mean, old_var, new_mean, new_var = (
        arguments[name] for name in ("x", "old_mean", "old_var", "new_mean", "new_var")
    )
    variances = [x.var(axis=0, ddof=ddof) for ddof in (0, 1)]

    def ratio(change: np.ndarray, of: np.ndarray) -> float:
        return float((change * of).sum() / (of**2).sum())

    def nearer_to_unbiased(value: np.ndarray) -> float:
        biased, unbiased = (abs(value - variance).sum() for variance in variances)
        return float(unbiased < biased)

    def came_in(weight: float) -> np.ndarray:
        value: np.ndarray = old_var + (new_var - old_var) / weight
        return value

    mean = x.mean(axis=0)
    right = ratio(new_mean - old_mean, mean - old_mean)
    weights = {
        "weight_of_old": 1 - right,
        "ratio_inverted": 1 / right,
        "old_mean_ignored": ratio(new_mean, mean),
        "change_over_batch": ratio(new_mean - old_mean, mean),
        "old_and_new_exchanged": ratio(old_mean - new_mean, mean - new_mean),
        "biased_assumed": ratio(new_var - old_var, variances[0] - old_var),
        "unbiased_assumed": ratio(new_var - old_var, variances[1] - old_var),
    }
    names = {fault.removesuffix("_and_used") for fault in faults} & weights.keys()
    momentum = weights[names.pop()] if names else right
    used = any(fault.endswith("_and_used") for fault in faults)
    ddof = nearer_to_unbiased(came_in(momentum if used else right))
    found = {
        "ddof_swapped": 1 - ddof,
        "always_biased": 0.0,
        "biased_assumed": 0.0,
        "always_unbiased": 1.0,
        "unbiased_assumed": 1.0,
        "old_var_ignored": nearer_to_unbiased(new_var),
        "divisor_returned": len(x) - ddof,
    }
    ddof = next((value for fault, value in found.items() if fault in faults), ddof)
    outputs = np.array(momentum), np.array(ddof)
    return (outputs[1], outputs[0]) if "outputs_swapped" in faults else outputs


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """Updates by either variance.

    In the first eight, the old statistics of all features are the same multiple of the batch's. There a wrong formula
    gives every feature the same wrong weight, however its author makes one number of them, and the multiples are such
    that each mistake makes another pattern of wrong answers for ddof. Which of the six kinds comes first is drawn.
    """
    kinds = rng.permutation([(kind, high, int(right)) for kind, high, right in KINDS])
    probes = []
    for (name, shape), (kind, high, ddof) in zip(SIMILAR, kinds, strict=True):
        momentum = float(rng.uniform(0.15, 0.4))
        multiple = {
            BEYOND: rng.uniform(1.6, 2.5),
            NEAR: rng.uniform(0.3, 0.6),
            OPPOSITE: -rng.uniform(0.3, 0.6) * momentum / (1 - momentum),
        }[kind]
        of_var = rng.uniform(2.5, 4.0) if high else rng.uniform(0.2, 0.4)
        same = np.ones(shape[1])
        probes.append(_update(rng, name, shape, momentum, int(ddof), multiple * same, of_var * same))
    # Here the weight of the old statistic in the place of that of the new goes beyond what came in, and below zero.
    momentum = float(rng.uniform(0.6, 0.75))
    beyond, above = rng.uniform(1.6, 2.5) * np.ones(4), rng.uniform(3.0, 4.0) * np.ones(4)
    probes.append(_update(rng, "more weight on the new", (5, 4), momentum, 1, beyond, above))
    # What came in is 1 here, in units of the biased variance, and the unbiased one is 1.2. new_var is 1.06, which is
    # nearer to the right one; 1/momentum in the place of momentum makes 1.11 of it, which is not.
    momentum = float(rng.uniform(0.88, 0.92))
    beyond, above = rng.uniform(4.0, 5.0) * np.ones(5), (1 + 0.06 / (1 - momentum)) * np.ones(5)
    probes.append(_update(rng, "most weight on the new", (6, 5), momentum, 0, beyond, above))

    def apart(features: int) -> np.ndarray:
        values: np.ndarray = 1 + rng.uniform(0.5, 1.5, features) * rng.choice([-1.0, 1.0], features)
        return values

    for name, shape, low, top in (
        ("two samples", (2, 3), 0.5, 0.8),
        ("fifty samples, a slow mean", (50, 4), 0.005, 0.02),
    ):
        momentum, ddof = float(rng.uniform(low, top)), int(rng.integers(2))
        above = rng.uniform(2.0, 4.0, shape[1])
        probes.append(_update(rng, name, shape, momentum, ddof, apart(shape[1]), above, diagnosed=False))
    multiples = np.concatenate([[1.0], apart(3)])
    momentum, ddof = float(rng.uniform(0.15, 0.4)), int(rng.integers(2))
    above = rng.uniform(2.0, 4.0, 4)
    name = "a mean that stands still"
    probes.append(_update(rng, name, (7, 4), momentum, ddof, multiples, above, STILL_ALONE, diagnosed=False))
    return probes


# The old mean lies beyond the batch's, between it and zero, or across zero; the old variance is above the batch's or
# below; the variance that comes in is biased or not.
BEYOND, NEAR, OPPOSITE = range(3)
KINDS = (
    (BEYOND, True, 0),
    (BEYOND, False, 0),
    (OPPOSITE, True, 1),
    (OPPOSITE, False, 0),
    (NEAR, True, 1),
    (NEAR, False, 1),
)
SIMILAR = (
    ("more samples than features", (9, 4)),
    ("more features than samples", (6, 8)),
    ("as many of both", (6, 6)),
    ("ten samples", (10, 3)),
    ("two features", (7, 2)),
    ("eight samples", (8, 5)),
)


def _update(
    rng: np.random.Generator,
    name: str,
    shape: tuple[int, int],
    momentum: float,
    ddof: int,
    of_mean: np.ndarray,
    of_var: np.ndarray,
    alone: str = "",
    diagnosed: bool = True,
) -> Probe:
    """One update, from old statistics that are these multiples of the batch's mean and biased variance."""
    features = shape[1]
    x = rng.standard_normal(shape)
    x = rng.uniform(0.6, 1.8, features) * (x - x.mean(axis=0))
    x += rng.uniform(1.0, 3.0, features) * rng.choice([-1.0, 1.0], features)
    mean = x.mean(axis=0)
    old_mean, old_var = of_mean * mean, of_var * x.var(axis=0)
    # A layer rounds in an order of its own: nobody's formula gives its numbers to the last digit.
    rounding = 1 + 1e-15 * rng.choice([-1.0, 1.0], features)
    arguments = {
        "x": x,
        "old_mean": old_mean,
        "old_var": old_var,
        "new_mean": old_mean + momentum * (mean - old_mean),
        "new_var": rounding * ((1 - momentum) * old_var + momentum * x.var(axis=0, ddof=ddof)),
    }
    return Probe(name, arguments, alone=alone, diagnosed=diagnosed)


EXERCISE = Exercise(
    id="which_convention",
    title="Which convention is this?",
    chapter="1.5",
    statement=(
        "A layer of a library that you do not know took one batch into its running statistics. You have the batch, and "
        "what the layer kept before and after it. Find out its convention: the weight that it gives to the new "
        "statistic, and whether the variance that it keeps is the biased or the unbiased one. Documentation often says "
        "less than behaviour does. Leave the inputs unchanged."
    ),
    solution_function=identify_convention,
    outputs=("momentum", "ddof"),
    reference=faulty_identification,
    faults=FAULTS,
    coincidences=(),
    make_probes=make_probes,
    properties=(
        Property("momentum", "momentum", lambda momentum, arguments: momentum),
        Property("ddof", "ddof", lambda ddof, arguments: ddof),
    ),
    hints=(
        "Two things are unknown, and the mean depends on one of them only. Begin there.",
        "The mean could have gone from old_mean to the mean of the batch, and went as far as new_mean. A feature in "
        "which it could not go anywhere tells nothing: divide sums over the features, or leave such features out.",
        "With the momentum known, solve the second equation for the variance that came in: old_var + (new_var - "
        "old_var) / momentum. Is it nearer to x.var(axis=0) or to x.var(axis=0, ddof=1)?",
    ),
    explanation="""
    Whatever the library calls momentum, the weight of the new statistic is the way that the mean went over the way that
    it could have gone. Every feature has the same weight, so this is a line through the origin, fitted by least
    squares: features whose mean could go far count most, and one that could not move counts nothing.

    Only then is the variance of use. The two candidates differ by the factor N / (N - 1), so what came in is compared
    with both. A small batch tells them apart best.

    Behaviour is the last word. A page of documentation that writes "the variance of the batch" leaves the question
    open; one update answers it.
    """,
    passed_message=(
        "Your function recognizes the convention of eleven fresh updates: with the biased and the unbiased variance, "
        "little weight on the new statistic and much, two samples and fifty, and one in which a mean stands still. "
        "Your inputs came back unchanged."
    ),
)
