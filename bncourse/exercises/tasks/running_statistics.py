"""Exercise: one update of the running statistics."""

# mypy: disable-error-code="no-any-return"
# NumPy's stubs type the reductions of an array as Any, and the solution is shown to learners without casts.

from __future__ import annotations

import numpy as np

from bncourse.exercises.batches import designed_batches
from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Fault, FaultSet
from bncourse.exercises.probe import Probe


def update_running_statistics(
    x: np.ndarray,
    running_mean: np.ndarray,
    running_var: np.ndarray,
    momentum: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Take one training batch into the running statistics.

    new = (1 - momentum) * old + momentum * statistic of the batch

    The statistics are the mean of each feature over the N samples, and its
    unbiased variance, which divides by N - 1.

    Parameters
    ----------
    x : array of shape (N, C), N samples of C features.
    running_mean, running_var : arrays of shape (C,), what was kept so far.
    momentum : float between 0 and 1, the weight of the new statistic.

    Returns
    -------
    mean, var : arrays of shape (C,), what is to be kept from now on.
    """
    batch_mean = x.mean(axis=0)
    batch_var = ((x - batch_mean) ** 2).sum(axis=0) / (len(x) - 1)
    mean = (1 - momentum) * running_mean + momentum * batch_mean
    var = (1 - momentum) * running_var + momentum * batch_var
    return mean, var


FAULTS = (
    Fault(
        "momentum_flipped",
        "momentum has the wrong end of the average: it is the weight of the new statistic, as in PyTorch, and "
        "`1 - momentum` that of the old one.",
        ("weights",),
    ),
    Fault(
        "initial_value_ignored",
        "The statistics of this batch are returned and the running ones are not used: average the two, with weights "
        "`1 - momentum` and `momentum`.",
        ("weights", "momentum"),
    ),
    Fault(
        "old_not_weighted",
        "The old value keeps its full weight, so that the average grows without bound: multiply it by `1 - momentum`.",
        ("weights",),
    ),
    Fault(
        "new_not_weighted",
        "The new statistic has weight 1: multiply it by `momentum`.",
        ("weights",),
    ),
    Fault(
        "momentum_fixed",
        "The argument momentum is not used; 0.1 stands in its place. Use the momentum that the caller gives.",
        ("momentum",),
    ),
    Fault(
        "biased_variance",
        "This keeps the biased variance. Running statistics keep the unbiased one: divide by N - 1 (in NumPy, "
        "`ddof=1`).",
        ("divisor",),
    ),
    Fault(
        "standard_deviation",
        "The standard deviation is averaged in place of the variance: leave out the square root.",
        ("root",),
    ),
    Fault(
        "variance_about_running_mean",
        "The deviations are taken from the running mean: take them from the mean of this batch.",
        ("centre",),
    ),
    Fault(
        "variance_about_zero",
        "The variance is taken about zero, from `x**2`: take the deviations from the mean of this batch.",
        ("centre",),
    ),
    Fault(
        "statistics_over_everything",
        "One mean and one variance are taken over the whole array. Take them over the batch alone, `axis=0`, one of "
        "each for every feature.",
        ("axis",),
    ),
    Fault(
        "mean_not_updated",
        "The running mean comes back as it was: take the mean of the batch into it.",
        ("mean",),
    ),
    Fault(
        "var_not_updated",
        "The running variance comes back as it was: take the variance of the batch into it.",
        ("divisor", "root", "centre"),
    ),
    Fault(
        "outputs_swapped", "The two results have changed places: return the mean first, then the variance.", ("order",)
    ),
)


def faulty_update(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray, np.ndarray]:
    """The update as someone writes it who makes the mistakes in ``faults``; with none, it is right."""
    x, old_mean, old_var, momentum = (arguments[name] for name in ("x", "running_mean", "running_var", "momentum"))
    axis = (0, 1) if "statistics_over_everything" in faults else 0
    mean = x.mean(axis=axis)
    centre = mean
    if "variance_about_running_mean" in faults:
        centre = old_mean
    if "variance_about_zero" in faults:
        centre = 0.0
    count = x.size / np.size(mean)
    var = ((x - centre) ** 2).sum(axis=axis) / (count - ("biased_variance" not in faults))
    if "standard_deviation" in faults:
        var = np.sqrt(var)

    new = 0.1 if "momentum_fixed" in faults else momentum
    old = 1 - new
    if "momentum_flipped" in faults:
        old, new = new, old
    if "old_not_weighted" in faults:
        old = 1.0
    if "new_not_weighted" in faults:
        new = 1.0
    if "initial_value_ignored" in faults:
        old, new = 0.0, 1.0

    kept_mean = old_mean if "mean_not_updated" in faults else old * old_mean + new * mean
    kept_var = old_var if "var_not_updated" in faults else old * old_var + new * var
    return (kept_var, kept_mean) if "outputs_swapped" in faults else (kept_mean, kept_var)


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """The designed batches and one of two samples, each with running statistics that are unlike the batch's."""
    batches = [(batch.name, batch.x, batch.condition, batch.alone) for batch in designed_batches(rng)[:5]]
    apart = np.array([[1.0], [-1.0]]) * rng.uniform(0.6, 1.8, 3)
    batches.append(("two samples", rng.uniform(1.0, 3.0, 3) + apart, 5.0, ""))
    probes: list[Probe] = []
    for name, x, condition, alone in batches:
        centre, spread = x.mean(axis=0), x.std(axis=0)
        # Far enough from the batch's own that a wrong weight shows, and on its scale, so that neither hides the other.
        running_mean = centre + spread * rng.uniform(1.5, 3.0, x.shape[1]) * rng.choice([-1.0, 1.0], x.shape[1])
        running_var = spread**2 * rng.uniform(2.0, 4.0, x.shape[1])
        # Away from 0.1, from 0.5, where the two weights are equal, and from 0 and 1, where one of them is not used.
        momentum = float(rng.uniform(0.2, 0.4) if len(probes) % 2 else rng.uniform(0.6, 0.8))
        arguments = {"x": x, "running_mean": running_mean, "running_var": running_var, "momentum": momentum}
        probes.append(Probe(name, arguments, condition, alone))
    return probes


EXERCISE = Exercise(
    id="running_statistics",
    title="One update of the running statistics",
    chapter="1.5",
    statement=(
        "In training, a batch norm layer keeps running averages of its batches' statistics, for use in inference. "
        "Write one update in PyTorch's convention: `momentum` is the weight of the new statistic, and the variance "
        "that is kept is the unbiased one. Return two new arrays; leave those that you are given unchanged."
    ),
    solution_function=update_running_statistics,
    outputs=("mean", "var"),
    reference=faulty_update,
    faults=FAULTS,
    coincidences=(),
    make_probes=make_probes,
    properties=(
        Property("mean", "mean", lambda mean, arguments: mean),
        Property("var", "var", lambda var, arguments: var),
    ),
    hints=(
        "Two statistics of the batch, two weighted averages. Which of the two weights belongs to the new statistic?",
        "With momentum 0 nothing may change, and with momentum 1 the running statistics become those of the batch. "
        "np.var divides by N; its argument ddof changes that.",
        "For both statistics: (1 - momentum) times the old value plus momentum times the batch's. The batch's variance "
        "is x.var(axis=0, ddof=1).",
    ),
    explanation="""
    An exponential average: a batch that lies t updates back has the weight momentum * (1 - momentum)**t.

    The batch is a sample of the data, and its mean square deviation from its own mean is too small by the factor
    (N - 1) / N on average. Dividing by N - 1 undoes that. In training the layer normalizes with the biased
    variance all the same: only what is kept for inference is corrected.

    Other libraries give momentum to the old value: their 0.9 is the 0.1 here.
    """,
    passed_message=(
        "Your function agrees with the reference on six fresh batches: more samples than features and the reverse, as "
        "many of both, values far from zero, small values, and a batch of two. momentum was small in some and "
        "large in others, and your inputs came back unchanged."
    ),
)
