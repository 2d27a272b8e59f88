"""Exercise: batch norm whose statistics come from ghost batches."""

# mypy: disable-error-code="no-any-return"
# NumPy's stubs type the reductions of an array as Any, and the solution is shown to learners without casts.

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bncourse.exercises.batches import FAR_FROM_ZERO, affine_parameter
from bncourse.exercises.common_faults import DIVISOR
from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Coincidence, Fault, FaultSet
from bncourse.exercises.probe import Probe


def ghost_forward(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    running_mean: np.ndarray,
    running_var: np.ndarray,
    group_size: int,
    momentum: float,
    eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Batch norm in training, with the statistics of ghost batches.

    y = gamma * x_hat + beta,    x_hat = (x - mean) / sqrt(var + eps)
    new = (1 - momentum) * old + momentum * statistic of the step

    A ghost batch is a group of group_size consecutive examples. mean and
    var are the mean and the biased variance of each feature over the
    example's own group. The statistics of the step are the averages over
    the groups, of their means and of their unbiased variances.

    Parameters
    ----------
    x : array of shape (N, C), N examples of C features.
    gamma, beta : arrays of shape (C,), the same for all groups.
    running_mean, running_var : arrays of shape (C,), what was kept so far.
    group_size : whole number, 2 at least. N is a multiple of it, so that no
        group is smaller than the others.
    momentum : float between 0 and 1, the weight of the new statistic.
    eps : positive float.

    Returns
    -------
    y : array of shape (N, C), the examples in the order of x.
    mean, var : arrays of shape (C,), what is to be kept from now on.
    """
    groups = x.reshape(-1, group_size, x.shape[1])
    means = groups.mean(axis=1, keepdims=True)
    variances = ((groups - means) ** 2).mean(axis=1, keepdims=True)
    x_hat = (groups - means) / np.sqrt(variances + eps)
    y = gamma * x_hat.reshape(x.shape) + beta

    unbiased = variances * group_size / (group_size - 1)
    keep = 1 - momentum
    mean = keep * running_mean + momentum * means.mean(axis=(0, 1))
    var = keep * running_var + momentum * unbiased.mean(axis=(0, 1))
    return y, mean, var


FAULTS = (
    Fault(
        "whole_batch",
        "The statistics are those of the whole batch, and group_size is not used: that is ordinary batch norm. Give "
        "each group of group_size examples its own.",
        ("groups", "kept"),
    ),
    Fault(
        "groups_strided",
        "A group is made of every so many-th example. Groups are consecutive: in NumPy, split axis 0 into "
        "`(N // group_size, group_size)`, in this order.",
        ("groups",),
    ),
    Fault(
        "number_not_size",
        "group_size is taken for the number of groups: there are `N // group_size` groups, of group_size examples "
        "each.",
        ("groups",),
    ),
    Fault(
        "across_groups",
        "The statistics run across the groups, over the first examples of all of them, then over the second, and so "
        "on. Once axis 0 is split into `(N // group_size, group_size)`, take them over the second of the two, "
        "`axis=1`.",
        ("groups",),
    ),
    Fault(
        "statistics_over_features",
        "Mean and variance of a group run over its features too: take them over its examples alone, one of each for "
        "every feature.",
        ("axis",),
    ),
    Fault(
        "running_normalizes",
        "x is normalized with the running statistics: they are for inference. In training, each group is normalized "
        "with its own.",
        ("groups", "variance"),
    ),
    Fault(
        "unbiased_normalizes",
        "The unbiased variance normalizes: divide by the number of examples of a group there (in NumPy, `ddof=0`), and "
        "keep the unbiased one for the running variance.",
        ("variance",),
    ),
    Fault("eps_missing", "eps is missing: divide by `sqrt(var + eps)`.", ("eps",)),
    Fault(
        "eps_fixed",
        "The argument eps is not used; 1e-5 stands in its place. Divide by `sqrt(var + eps)` with the eps that the "
        "caller gives.",
        ("eps",),
    ),
    Fault(
        "eps_outside",
        "eps is added outside the square root: write `sqrt(var + eps)`, not `sqrt(var) + eps`.",
        ("eps", "root"),
    ),
    Fault(
        "eps_kept",
        "eps gets into the running variance: add it where you take the root, and nowhere else.",
        ("eps", "kept eps"),
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
        "parameters_per_group",
        "Each group gets a gamma and a beta of its own, `gamma[k]` for group k. They belong to the features, and all "
        "groups share them.",
        ("parameters",),
    ),
    Fault(
        "kept_in_turn",
        "The running statistics are updated once for each group. That makes several steps of one, in which the old "
        "value is weighed by `(1 - momentum)` each time and the last group counts most. Average over the groups, then "
        "update once.",
        ("kept",),
    ),
    Fault(
        "kept_last",
        "The running statistics get those of the last group alone: average over all groups.",
        ("kept",),
    ),
    Fault(
        "kept_summed",
        "The statistics of the groups are added: divide by the number of groups.",
        ("kept",),
    ),
    Fault(
        "kept_whole_batch",
        "The running variance gets that of the whole batch. It is a good estimate too, but of another thing: it "
        "contains how the means of the groups differ. Average the groups' own variances.",
        ("kept",),
    ),
    Fault(
        "biased_kept",
        "The running variance gets the biased variances of the groups. These are too small, and the more so the "
        "smaller a group is: keep the unbiased ones, which divide by group_size - 1 (in NumPy, `ddof=1`).",
        ("divisor",),
    ),
    Fault(
        "corrected_by_batch",
        "The variances that are kept are corrected by N / (N - 1). What they lack depends on the group that they come "
        "from: the factor is group_size / (group_size - 1).",
        ("divisor",),
    ),
    Fault(
        "momentum_flipped",
        "momentum has the wrong end of the average: it is the weight of the new statistic, as in PyTorch, and "
        "`1 - momentum` that of the old one.",
        ("weights",),
    ),
    Fault(
        "initial_value_ignored",
        "The statistics of this step are returned and the running ones are not used: average the two, with weights "
        "`1 - momentum` and `momentum`.",
        ("weights", "momentum"),
    ),
    Fault(
        "old_not_weighted",
        "The old value keeps its full weight, so that the average grows without bound: multiply it by `1 - momentum`.",
        ("weights",),
    ),
    Fault("new_not_weighted", "The new statistic has weight 1: multiply it by `momentum`.", ("weights",)),
    Fault(
        "momentum_fixed",
        "The argument momentum is not used; 0.1 stands in its place. Use the momentum that the caller gives.",
        ("momentum",),
    ),
    Fault(
        "mean_var_swapped",
        "The running statistics have changed places: return `y, mean, var`, in this order.",
        ("order",),
    ),
)
WEIGHTS: dict[
    str, Callable[[float], tuple[float, float]]
] = {  # of the old statistic and of the new one, by the momentum
    "momentum_flipped": lambda momentum: (momentum, 1 - momentum),
    "initial_value_ignored": lambda momentum: (0.0, 1.0),
    "old_not_weighted": lambda momentum: (1.0, momentum),
    "new_not_weighted": lambda momentum: (1 - momentum, 1.0),
}


def faulty_ghost_forward(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The transform as someone writes it who makes the mistakes in ``faults``; with none, it is right."""
    x, eps = arguments["x"], arguments["eps"]
    rows = _rows(faults, len(x), arguments["group_size"])
    groups = x[rows]
    axis = (1, 2) if "statistics_over_features" in faults else 1
    means = groups.mean(axis=axis, keepdims=True)
    deviations = groups if "variance_about_zero" in faults else groups - means
    variances = (deviations**2).mean(axis=axis, keepdims=True)
    count = groups[0].size / means[0].size

    centre, var = means, variances
    if "unbiased_normalizes" in faults:
        var = variances * count / (count - 1)
    if "running_normalizes" in faults:
        centre, var = arguments["running_mean"], arguments["running_var"]
    inside = {"eps_missing": 0.0, "eps_outside": 0.0, "eps_fixed": 1e-5}
    var = var + next((value for fault, value in inside.items() if fault in faults), eps)
    divisor = var if "divided_by_variance" in faults else np.sqrt(var)
    numerator = groups if "no_centring" in faults else centre - groups if "sign_flipped" in faults else groups - centre
    x_hat = numerator / (divisor + eps if "eps_outside" in faults else divisor)

    names = ("beta", "gamma") if "gamma_beta_swapped" in faults else ("gamma", "beta")
    scale, shift = (
        np.full_like(arguments[name], neutral) if f"{name}_missing" in faults else arguments[name]
        for name, neutral in zip(names, (1.0, 0.0), strict=True)
    )
    if "parameters_per_group" in faults:
        own = np.arange(len(rows)) % len(scale)
        scale, shift = scale[own, np.newaxis, np.newaxis], shift[own, np.newaxis, np.newaxis]
    y = np.empty_like(x)
    y[rows] = scale * x_hat + shift

    if "kept_whole_batch" in faults:
        axis = (0, 1) if "statistics_over_features" in faults else 0
        means = x.mean(axis=axis, keepdims=True)[np.newaxis]
        deviations = x if "variance_about_zero" in faults else x - means[0]
        variances = (deviations**2).mean(axis=axis, keepdims=True)[np.newaxis]
        count = x.size / means.size
    if "biased_kept" in faults:
        factor = 1.0
    elif "corrected_by_batch" in faults:
        factor = len(x) / (len(x) - 1)
    else:
        factor = count / (count - 1)
    kept = variances * factor + (eps if "eps_kept" in faults else 0.0)
    mean = _kept(faults, arguments, arguments["running_mean"], means[:, 0])
    var = _kept(faults, arguments, arguments["running_var"], kept[:, 0])
    return (y, var, mean) if "mean_var_swapped" in faults else (y, mean, var)


def _rows(faults: FaultSet, examples: int, size: int) -> np.ndarray:
    """The examples of each group."""
    index = np.arange(examples)
    if "whole_batch" in faults:
        return index[np.newaxis]
    if "number_not_size" in faults:
        return index.reshape(size, -1)
    if "across_groups" in faults:
        return index.reshape(-1, size).T
    if "groups_strided" in faults:
        return index.reshape(size, -1).T
    return index.reshape(-1, size)


def _kept(faults: FaultSet, arguments: Arguments, old: np.ndarray, of_groups: np.ndarray) -> np.ndarray:
    """The running statistic after the step, from those of the groups."""
    momentum = 0.1 if "momentum_fixed" in faults else arguments["momentum"]
    old_weight, new_weight = 1 - momentum, momentum
    for fault in faults & WEIGHTS.keys():
        old_weight, new_weight = WEIGHTS[fault](momentum)
    steps = [of_groups.mean(axis=0)]
    if "kept_in_turn" in faults:
        steps = list(of_groups)
    if "kept_last" in faults:
        steps = [of_groups[-1]]
    if "kept_summed" in faults:
        steps = [of_groups.sum(axis=0)]
    for statistic in steps:
        old = old_weight * old + new_weight * statistic
    return old


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """Groups that differ in mean and spread, few and many, small and large; far from zero, small, with a large eps."""
    probes: list[Probe] = []

    def probe(
        name: str,
        groups: int,
        size: int,
        features: int,
        offset: float = 0.0,
        scale: float = 1.0,
        eps: float = 1e-5,
        condition: float = 8.0,
        alone: str = "",
    ) -> None:
        shape = (groups, size, features)
        values = rng.standard_normal(shape)
        values = (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, keepdims=True)
        # The levels of a feature are spread evenly, so that no two groups have one; the features are far from zero.
        levels = rng.permuted(np.linspace(-1.2, 1.2, groups)[:, None] + np.zeros((1, features)), axis=0)
        levels += rng.uniform(-0.1, 0.1, levels.shape) + rng.uniform(2.0, 3.0, features) * rng.choice([-1, 1], features)
        spreads = np.linspace(0.6, 1.8, groups)[:, None] * rng.uniform(0.9, 1.1, (groups, features))
        values = values * rng.permuted(spreads, axis=0)[:, None] + levels[:, None]
        x = offset + scale * values.reshape(-1, features)
        centre, spread = x.mean(axis=0), x.std(axis=0)
        arguments = {
            "x": x,
            "gamma": affine_parameter(rng, features),
            "beta": affine_parameter(rng, features),
            # Unlike the batch's own, and on its scale, so that a wrong weight shows.
            "running_mean": centre + spread * rng.uniform(1.5, 3.0, features) * rng.choice([-1, 1], features),
            "running_var": spread**2 * rng.uniform(2.0, 4.0, features),
            "group_size": size,
            "momentum": float(rng.uniform(0.2, 0.4) if len(probes) % 2 else rng.uniform(0.6, 0.8)),
            "eps": eps,
        }
        probes.append(Probe(name, arguments, condition, alone))

    probe("three groups of four", 3, 4, 5)
    probe("more features than examples", 2, 3, 8)
    probe("as many examples as features", 4, 3, 12)
    probe("groups of two", 5, 2, 6)
    probe("far from zero", 2, 5, 3, offset=1000.0, condition=2500.0, alone=FAR_FROM_ZERO)
    probe("small scale", 3, 6, 4, scale=1e-3)
    probe("large eps", 2, 4, 3, eps=float(rng.uniform(0.3, 0.9)))
    return probes


def _by_group(y: np.ndarray, arguments: Arguments) -> np.ndarray:
    return y.reshape(-1, arguments["group_size"], y.shape[1])


def _same_for_one_group(fault: str) -> Coincidence:
    return Coincidence(
        frozenset({fault}),
        frozenset({fault, "corrected_by_batch"}),
        "N / (N - 1) is the right factor for the variance of N examples",
    )


EXERCISE = Exercise(
    id="ghost_batch_norm",
    title="Ghost batches",
    chapter="5.2",
    statement=(
        "Write batch norm for training with ghost batches: the batch stays whole, and each group of `group_size` "
        "consecutive examples is normalized with its own mean and variance. Running statistics are kept as well, with "
        "one update in the step, whatever the number of groups. Leave the inputs unchanged."
    ),
    solution_function=ghost_forward,
    outputs=("y", "mean", "var"),
    reference=faulty_ghost_forward,
    faults=FAULTS,
    coincidences=(
        _same_for_one_group("whole_batch"),
        _same_for_one_group("kept_whole_batch"),
        Coincidence(
            frozenset({"initial_value_ignored", "kept_last"}),
            frozenset({"initial_value_ignored", "kept_in_turn"}),
            "whoever forgets the old value at each group is left with the last one",
        ),
        Coincidence(
            frozenset({"old_not_weighted", "kept_in_turn"}),
            frozenset({"old_not_weighted", "kept_summed"}),
            "where the old value keeps its weight, adding group by group adds their sum",
        ),
        Coincidence(
            frozenset({"variance_about_zero", "kept_whole_batch"}),
            frozenset({"variance_about_zero", "corrected_by_batch"}),
            "about zero, the mean square of the whole batch is the average of the groups' mean squares",
        ),
    ),
    make_probes=make_probes,
    properties=(
        Property("the mean of y over group and feature ", "y", lambda y, given: _by_group(y, given).mean(axis=1)),
        Property(
            "the standard deviation of y over group and feature ", "y", lambda y, given: _by_group(y, given).std(axis=1)
        ),
        Property("y", "y", lambda y, arguments: y),
        Property("mean", "mean", lambda mean, arguments: mean),
        Property("var", "var", lambda var, arguments: var),
    ),
    hints=(
        "Write it for one group first: that is batch norm. Then give the array a third axis, `(groups, group_size, "
        "C)`, and the same lines do it for all groups. Which axis do mean and variance run over, and which one of the "
        "three do gamma and beta belong to?",
        "Try `np.arange(12).reshape(3, 4)` and `np.arange(12).reshape(4, 3).T`: both have three rows of four, and only "
        "one has consecutive numbers in its rows. For the running statistics, average over the groups before you touch "
        "the old value.",
        "With `groups = x.reshape(-1, group_size, C)`, statistics are over axis 1. The step's variance is the average "
        "over the groups of `groups.var(axis=1, ddof=1)`, while `ddof=0` normalizes; y goes back to the shape of x.",
    ),
    explanation="""
    Each group is a batch of its own for the transform, so its outputs have the mean beta and nearly the spread gamma,
    group by group. All else stays as in batch norm: gamma and beta belong to the features, and one step is one step.

    That is why the running statistics move once. Were they updated for each group in turn, the old value would keep
    (1 - momentum)**K of its weight after K groups: the memory would be K times as short, and its length would depend
    on the group size. With the average, groups of any size estimate the same thing.

    This holds only for unbiased variances. A group of g examples has a biased variance that is too small by the factor
    (g - 1) / g on average: half of it is missing in groups of two. Inference would divide by too little, by another
    factor for every group size. In training the biased one normalizes all the same, as in ordinary batch norm.
    """,
    passed_message=(
        "Your function agrees with the reference on seven fresh batches: few groups and many, groups of two, more "
        "features than examples, values far from zero, small values, and a large eps. Your inputs came back unchanged."
    ),
)
