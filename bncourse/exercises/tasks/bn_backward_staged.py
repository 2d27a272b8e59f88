"""Exercise: the gradients of the transform, node by node."""

# mypy: disable-error-code="no-any-return"
# NumPy's stubs type the reductions of an array as Any, and the solution is shown to learners without casts.

from __future__ import annotations

import numpy as np

from bncourse.exercises.common_faults import SWAPPED
from bncourse.exercises.exercise import Arguments, Exercise
from bncourse.exercises.faults import Coincidence, Fault, FaultSet
from bncourse.exercises.tasks.bn_backward import EXERCISE as CLOSED_FORM


def batch_norm_backward_staged(
    dy: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray,
    eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of a loss through batch norm, one node after the other.

    mean = x.mean(axis=0)            var = squared.mean(axis=0)
    centred = x - mean               inv_std = (var + eps)**-0.5
    squared = centred**2             x_hat = centred * inv_std
                                     y = gamma * x_hat + beta

    Run through these nodes from the last to the first, and pass the
    gradient of each on to every value that it was computed from.

    Parameters
    ----------
    dy : array of shape (N, C), gradient of the loss with respect to y.
    x : array of shape (N, C), the input of the transform.
    gamma : array of shape (C,).
    eps : positive float.

    Returns
    -------
    dx : array of shape (N, C).
    dgamma, dbeta : arrays of shape (C,).
    """
    m = len(x)
    centred = x - x.mean(axis=0)
    inv_std = ((centred**2).mean(axis=0) + eps) ** -0.5
    x_hat = centred * inv_std

    dbeta = dy.sum(axis=0)  # y = gamma * x_hat + beta
    dgamma = (dy * x_hat).sum(axis=0)
    dx_hat = dy * gamma
    dinv_std = (dx_hat * centred).sum(axis=0)  # x_hat = centred * inv_std
    dcentred = dx_hat * inv_std
    dvar = -0.5 * inv_std**3 * dinv_std  # inv_std = (var + eps)**-0.5
    dsquared = dvar / m  # var = squared.mean(axis=0)
    dcentred = dcentred + 2 * centred * dsquared  # squared = centred**2
    dmean = -dcentred.sum(axis=0)  # centred = x - mean
    dx = dcentred + dmean / m  # mean = x.mean(axis=0)
    return dx, dgamma, dbeta


FAULTS = (
    Fault(
        "gamma_missing",
        "Node `y = gamma * x_hat + beta`: gamma is missing in dx_hat, which is `dy * gamma`.",
        ("gamma",),
    ),
    Fault(
        "dgamma_from_x",
        "Node `y = gamma * x_hat + beta`: dgamma is made from x. The other factor is x_hat, so dgamma is the sum of "
        "`dy * x_hat`.",
        ("dgamma",),
    ),
    Fault(
        "dgamma_from_centred",
        "Node `y = gamma * x_hat + beta`: dgamma is made from centred. The other factor is x_hat, so dgamma is the "
        "sum of `dy * x_hat`.",
        ("dgamma",),
    ),
    Fault(
        "dgamma_from_dx_hat",
        "Node `y = gamma * x_hat + beta`: dgamma is made from dx_hat, which has gamma in it already. It is the sum of "
        "`dy * x_hat`.",
        ("dgamma gamma",),
    ),
    Fault(
        "dgamma_averaged",
        "Node `y = gamma * x_hat + beta`: dgamma is averaged over the batch. gamma was broadcast, so its gradient is "
        "summed.",
        ("dgamma reduction",),
    ),
    Fault(
        "dbeta_from_dx_hat",
        "Node `y = gamma * x_hat + beta`: dbeta is made from dx_hat. beta is added after the scaling, so dbeta is the "
        "sum of dy.",
        ("dbeta gamma",),
    ),
    Fault(
        "dbeta_averaged",
        "Node `y = gamma * x_hat + beta`: dbeta is averaged over the batch. beta was broadcast, so its gradient is "
        "summed.",
        ("dbeta reduction",),
    ),
    *SWAPPED,
    Fault(
        "direct_dropped",
        "Node `x_hat = centred * inv_std`: its part of dcentred, `dx_hat * inv_std`, is lost. centred is used twice, "
        "by x_hat and by squared, and its gradient is the sum of both parts: perhaps a second assignment has "
        "overwritten the first.",
        ("dcentred", "direct factor"),
    ),
    Fault(
        "direct_without_inv_std",
        "Node `x_hat = centred * inv_std`: its part of dcentred lacks the other factor. It is `dx_hat * inv_std`.",
        ("direct factor",),
    ),
    Fault(
        "direct_without_gamma",
        "Node `x_hat = centred * inv_std`: its part of dcentred is made from dy. What arrives at this node is dx_hat, "
        "so that part is `dx_hat * inv_std`.",
        ("direct gamma",),
    ),
    Fault(
        "dinv_std_from_x",
        "Node `x_hat = centred * inv_std`: dinv_std is made from x. The other factor is centred, so dinv_std is the "
        "sum of `dx_hat * centred`.",
        ("dinv_std factor",),
    ),
    Fault(
        "dinv_std_without_gamma",
        "Node `x_hat = centred * inv_std`: dinv_std is made from dy. What arrives at this node is dx_hat, so dinv_std "
        "is the sum of `dx_hat * centred`.",
        ("dinv_std gamma",),
    ),
    Fault(
        "dinv_std_not_summed",
        "Node `x_hat = centred * inv_std`: dinv_std is not summed over the batch. One inv_std serves all samples of a "
        "feature, so it collects a gradient from each of them.",
        ("dinv_std reduction",),
    ),
    Fault(
        "dinv_std_over_features",
        "Node `x_hat = centred * inv_std`: dinv_std is summed over the features. inv_std was broadcast over the batch, "
        "so its gradient is summed over the batch, `axis=0`.",
        ("dinv_std reduction",),
    ),
    Fault(
        "dinv_std_averaged",
        "The path through the variance is divided by m twice. Node `var = squared.mean()` divides once, in dsquared; "
        "at the node `x_hat = centred * inv_std`, dinv_std is a sum, not a mean.",
        ("dinv_std reduction", "dsquared count"),
    ),
    Fault(
        "dvar_sign",
        "Node `inv_std = (var + eps)**-0.5`: dvar has the wrong sign. A larger var makes inv_std smaller: the "
        "derivative is `-0.5 * inv_std**3`.",
        ("dvar sign",),
    ),
    Fault(
        "dvar_half_missing",
        "Node `inv_std = (var + eps)**-0.5`: the exponent is missing as a factor in dvar. The derivative is "
        "`-0.5 * inv_std**3`.",
        ("two",),
    ),
    Fault(
        "dvar_square",
        "Node `inv_std = (var + eps)**-0.5`: dvar has the power inv_std**2. The exponent goes down from -1/2 to -3/2, "
        "which is inv_std**3.",
        ("dvar power",),
    ),
    Fault(
        "dvar_first_power",
        "Node `inv_std = (var + eps)**-0.5`: dvar has the power inv_std**1. The exponent goes down from -1/2 to -3/2, "
        "which is inv_std**3.",
        ("dvar power",),
    ),
    Fault(
        "dvar_without_eps",
        "Node `inv_std = (var + eps)**-0.5`: eps is lost in dvar. The derivative is `-0.5 * (var + eps)**-1.5`, which "
        "is `-0.5 * inv_std**3`.",
        ("dvar power", "eps", "root", "variance"),
    ),
    Fault(
        "inv_std_too_often",
        "The path through the variance has one factor inv_std too many. Of its three nodes, x_hat gives the sum of "
        "`dx_hat * centred`, inv_std gives `inv_std**3`, and squared gives `2 * centred`. Look for a power that "
        "is too high, or an x_hat where centred belongs.",
        ("dvar power",),
    ),
    Fault(
        "dsquared_count_missing",
        "Node `var = squared.mean()`: dsquared is not divided by m. Each of the m squares has the share 1/m in the "
        "mean.",
        ("dsquared count",),
    ),
    Fault(
        "dsquared_count_unbiased",
        "Node `var = squared.mean()`: dsquared is divided by m - 1. The variance of the transform is the mean over m "
        "squares, so it is divided by m.",
        ("dsquared count",),
    ),
    Fault(
        "square_factor_missing",
        "Node `squared = centred**2`: the factor 2 is missing. Its part of dcentred is `2 * centred * dsquared`.",
        ("two",),
    ),
    Fault(
        "variance_path_dropped",
        "Node `squared = centred**2`: its part of dcentred, `2 * centred * dsquared`, is lost, and with it the whole "
        "path through the variance. centred is used twice, by x_hat and by squared, and its gradient is the sum of "
        "both parts.",
        (
            "dcentred",
            "dinv_std factor",
            "dinv_std reduction",
            "dvar sign",
            "dvar power",
            "dsquared count",
            "two",
        ),
    ),
    Fault(
        "dmean_sign",
        "Node `centred = x - mean`: dmean has the wrong sign. mean is subtracted, so dmean is minus the sum of "
        "dcentred.",
        ("dmean sign",),
    ),
    Fault(
        "dmean_from_dx_hat",
        "Node `centred = x - mean`: dmean is made from dx_hat. What arrives at this node is dcentred, which has been "
        "through the node x_hat and holds inv_std.",
        ("dmean source",),
    ),
    Fault(
        "dmean_not_summed",
        "Node `centred = x - mean`: dmean is not summed over the batch. One mean serves all samples of a feature, so "
        "it collects a gradient from each of them.",
        ("dmean reduction",),
    ),
    Fault(
        "dmean_over_features",
        "Node `centred = x - mean`: dmean is summed over the features. mean was broadcast over the batch, so its "
        "gradient is summed over the batch, `axis=0`.",
        ("dmean reduction",),
    ),
    Fault(
        "dmean_averaged",
        "The path through the mean is divided by m twice. Node `mean = x.mean()` divides once, in dx; at the node "
        "`centred = x - mean`, dmean is a sum, not a mean.",
        ("dmean reduction",),
    ),
    Fault(
        "mean_count_missing",
        "Node `mean = x.mean()`: its part of dx is not divided by m. Each of the m values has the share 1/m in the "
        "mean.",
        ("dmean reduction",),
    ),
    Fault(
        "mean_path_dropped",
        "Node `mean = x.mean()`: its part of dx, `dmean / m`, is lost. x is used twice, by centred and by mean, and "
        "its gradient is the sum of both parts.",
        ("dx", "dmean sign", "dmean source", "dmean reduction"),
    ),
    Fault(
        "centred_path_dropped",
        "Node `centred = x - mean`: its part of dx, which is dcentred, is lost. x is used twice, by centred and by "
        "mean, and its gradient is the sum of both parts.",
        ("dx",),
    ),
    Fault(
        "count_of_features",
        "Nodes `var` and `mean`: on the way back both are divided by the number of features. They are means over the "
        "batch, so m is the number of samples, `len(x)`.",
        ("dsquared count", "dmean reduction", "axis"),
    ),
    Fault(
        "count_of_everything",
        "Nodes `var` and `mean`: on the way back both are divided by the number of all entries of x. They are means "
        "over the batch, so m is the number of samples, `len(x)`.",
        ("dsquared count", "dmean reduction", "axis"),
    ),
    Fault(
        "unbiased_variance",
        "Forward, at the node `var`: this is the unbiased variance. The transform divides the sum of squares by m, not "
        "by m - 1 (in NumPy, `ddof=0`).",
        ("variance",),
    ),
    Fault("eps_missing", "Forward, at the node `inv_std`: eps is missing. It is `(var + eps)**-0.5`.", ("eps",)),
    Fault(
        "eps_fixed",
        "Forward, at the node `inv_std`: the argument eps is not used; 1e-5 stands in its place. Use the eps that the "
        "caller gives.",
        ("eps",),
    ),
    Fault(
        "eps_outside",
        "Forward, at the node `inv_std`: eps is added outside the square root. It is `1 / sqrt(var + eps)`, not "
        "`1 / (sqrt(var) + eps)`.",
        ("eps", "root"),
    ),
    Fault(
        "root_missing",
        "Forward, at the node `inv_std`: the square root is missing. It is `1 / sqrt(var + eps)`, not "
        "`1 / (var + eps)`.",
        ("root",),
    ),
    Fault(
        "statistics_over_features",
        "Forward and backward, the mean and the variance run over the features of each sample: that is layer norm. "
        "Take all of these sums and means over the batch, `axis=0`.",
        ("axis",),
    ),
)


def faulty_batch_norm_backward_staged(
    faults: FaultSet, arguments: Arguments
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients as someone writes them who makes the mistakes in ``faults``; with none, they are right."""
    dy, x, gamma, eps = (arguments[name] for name in ("dy", "x", "gamma", "eps"))
    axis = 1 if "statistics_over_features" in faults else 0
    mean = x.mean(axis=axis, keepdims=True)
    m = x.size // mean.size
    centred = x - mean
    inv_std = _inv_std(faults, (centred**2).sum(axis=axis, keepdims=True), m, eps)
    x_hat = centred * inv_std

    dx_hat = dy if "gamma_missing" in faults else dy * gamma
    dcentred = _direct(faults, dy, dx_hat, inv_std) + _through_variance(faults, dy, dx_hat, x, centred, inv_std, axis)
    dx = _through_mean(faults, dcentred, dx_hat, axis)
    if "centred_path_dropped" not in faults:
        dx = dcentred + dx

    factor = x if "dgamma_from_x" in faults else centred if "dgamma_from_centred" in faults else x_hat
    dgamma = ((dy * gamma if "dgamma_from_dx_hat" in faults else dy) * factor).sum(axis=0)
    dbeta = (dy * gamma if "dbeta_from_dx_hat" in faults else dy).sum(axis=0)
    dgamma = dgamma / (len(x) if "dgamma_averaged" in faults else 1)
    dbeta = dbeta / (len(x) if "dbeta_averaged" in faults else 1)
    return (dx, dbeta, dgamma) if "dgamma_dbeta_swapped" in faults else (dx, dgamma, dbeta)


def _inv_std(faults: FaultSet, squares: np.ndarray, m: int, eps: float) -> np.ndarray:
    var = squares / (m - ("unbiased_variance" in faults))
    inside = {"eps_missing": 0.0, "eps_outside": 0.0, "eps_fixed": 1e-5}
    var_plus = var + next((value for fault, value in inside.items() if fault in faults), eps)
    std = var_plus if "root_missing" in faults else np.sqrt(var_plus)
    return 1 / (std + eps if "eps_outside" in faults else std)


def _direct(faults: FaultSet, dy: np.ndarray, dx_hat: np.ndarray, inv_std: np.ndarray) -> np.ndarray:
    """What the node x_hat adds to dcentred."""
    if "direct_dropped" in faults:
        return np.zeros_like(dy)
    arrives = dy if "direct_without_gamma" in faults else dx_hat
    return arrives * (1 if "direct_without_inv_std" in faults else inv_std)


def _through_variance(
    faults: FaultSet,
    dy: np.ndarray,
    dx_hat: np.ndarray,
    x: np.ndarray,
    centred: np.ndarray,
    inv_std: np.ndarray,
    axis: int,
) -> np.ndarray:
    """What the node squared adds to dcentred."""
    if "variance_path_dropped" in faults:
        return np.zeros_like(x)
    m = x.shape[axis]
    arrives = dy if "dinv_std_without_gamma" in faults else dx_hat
    dinv_std = arrives * (x if "dinv_std_from_x" in faults else centred)
    if "dinv_std_not_summed" not in faults:
        dinv_std = dinv_std.sum(axis=1 if "dinv_std_over_features" in faults else axis, keepdims=True)
    powers = {"dvar_first_power": 1, "dvar_square": 2, "inv_std_too_often": 4}
    slope = inv_std ** next((power for fault, power in powers.items() if fault in faults), 3)
    if "dvar_without_eps" in faults:
        slope = (centred**2).mean(axis=axis, keepdims=True) ** -1.5
    dvar = dinv_std * slope
    dvar = dvar * (0.5 if "dvar_sign" in faults else -0.5)
    counts = {"dsquared_count_missing": 1, "dsquared_count_unbiased": m - 1, "dinv_std_averaged": m * m}
    dsquared = dvar / next((count for fault, count in counts.items() if fault in faults), _count(faults, x, m))
    twos = {"dvar_half_missing": 4, "square_factor_missing": 1}
    two = next((value for fault, value in twos.items() if fault in faults), 2)
    return two * centred * dsquared


def _through_mean(faults: FaultSet, dcentred: np.ndarray, dx_hat: np.ndarray, axis: int) -> np.ndarray:
    """What the node mean adds to dx."""
    if "mean_path_dropped" in faults:
        return np.zeros_like(dcentred)
    m = dcentred.shape[axis]
    dmean = dx_hat if "dmean_from_dx_hat" in faults else dcentred
    if "dmean_not_summed" not in faults:
        dmean = dmean.sum(axis=1 if "dmean_over_features" in faults else axis, keepdims=True)
    dmean = dmean if "dmean_sign" in faults else -dmean
    counts = {"mean_count_missing": 1, "dmean_averaged": m * m}
    count = next((count for fault, count in counts.items() if fault in faults), _count(faults, dcentred, m))
    return np.broadcast_to(dmean / count, dcentred.shape)


def _count(faults: FaultSet, x: np.ndarray, m: int) -> int:
    """What the two means are divided by on the way back."""
    return x.shape[1] if "count_of_features" in faults else x.size if "count_of_everything" in faults else m


def _hidden(by: str, faults: tuple[str, ...], reason: str) -> list[Coincidence]:
    """Mistakes that change nothing beside the mistake ``by``."""
    return [Coincidence(frozenset({by}), frozenset({by, fault}), reason) for fault in faults]


COINCIDENCES = (
    Coincidence(
        frozenset({"gamma_missing"}),
        frozenset({"direct_without_gamma", "dinv_std_without_gamma"}),
        "dx_hat is used twice, by centred and by inv_std: dy in both places is dy in its place",
    ),
    Coincidence(
        frozenset({"gamma_missing", "variance_path_dropped"}),
        frozenset({"direct_without_gamma", "variance_path_dropped"}),
        "without the path through the variance, dx_hat is used by centred alone",
    ),
    Coincidence(
        frozenset({"gamma_missing", "direct_dropped"}),
        frozenset({"dinv_std_without_gamma", "direct_dropped"}),
        "without the direct path, dx_hat is used by inv_std alone",
    ),
    Coincidence(
        frozenset({"gamma_missing", "centred_path_dropped"}),
        frozenset({"direct_without_gamma", "centred_path_dropped"}),
        "what comes through the squares sums to zero over the batch: of dmean, gamma is in the direct part alone",
    ),
    Coincidence(
        frozenset({"dmean_from_dx_hat", "centred_path_dropped"}),
        frozenset({"direct_without_inv_std", "centred_path_dropped"}),
        "dmean is all that is left of dx, and both leave inv_std out of it",
    ),
    *_hidden(
        "gamma_missing",
        ("direct_without_gamma", "dinv_std_without_gamma"),
        "where gamma is missing in dx_hat, dx_hat is dy",
    ),
    *_hidden("direct_dropped", ("direct_without_gamma",), "what is lost may be made from anything"),
    *_hidden("variance_path_dropped", ("dinv_std_without_gamma",), "what is lost may be made from anything"),
    *_hidden(
        "direct_dropped",
        ("mean_path_dropped", "dmean_sign", "dmean_averaged", "mean_count_missing"),
        "what comes through the squares sums to zero over the batch, so that without the direct path dmean is zero",
    ),
    *_hidden(
        "centred_path_dropped",
        (
            "variance_path_dropped",
            "dinv_std_from_x",
            "dinv_std_without_gamma",
            "dinv_std_averaged",
            "dvar_sign",
            "dvar_half_missing",
            "dvar_square",
            "dvar_first_power",
            "dvar_without_eps",
            "inv_std_too_often",
            "dsquared_count_missing",
            "dsquared_count_unbiased",
            "square_factor_missing",
        ),
        "what comes through the squares sums to zero over the batch, and dmean is all that is left of dx",
    ),
    *_hidden(
        "direct_without_inv_std",
        ("dmean_from_dx_hat",),
        "there dcentred is dx_hat, but for the part through the squares, which sums to zero",
    ),
    *_hidden(
        "statistics_over_features",
        ("dinv_std_over_features", "dmean_over_features"),
        "statistics over the features are broadcast over them, so their gradients are sums over them",
    ),
)


EXERCISE = Exercise(
    id="bn_backward_staged",
    title="The gradients, node by node",
    chapter="2.1",
    statement=(
        "Write the backward pass of chapter 2.1: begin with `dy`, the gradient of the loss with respect to `y`, and "
        "pass it back through the graph one node at a time, a line or two for each, until you have the gradients with "
        "respect to `x`, `gamma` and `beta`. A value that is used twice collects two gradients, and one that was "
        "broadcast collects a sum. Leave the inputs unchanged. The check sees only the three results; where it knows "
        "the mistake in them, it names the node."
    ),
    solution_function=batch_norm_backward_staged,
    outputs=CLOSED_FORM.outputs,
    reference=faulty_batch_norm_backward_staged,
    faults=FAULTS,
    coincidences=COINCIDENCES,
    make_probes=CLOSED_FORM.make_probes,
    properties=CLOSED_FORM.properties,
    hints=(
        "First run the graph forwards and keep centred, inv_std and x_hat: the nodes need them on the way back. Then "
        "take the last node, y = gamma * x_hat + beta, and write the gradients of all three values that go into it. "
        "gamma and beta serve every sample, so theirs are sums over the batch.",
        "Two values are used twice. centred goes into x_hat and into squared; x goes into centred and into mean. Each "
        "collects two gradients, and they are added: write the second as `dcentred = dcentred + ...`. So you cannot "
        "pass dcentred on before squared has given its part.",
        "dbeta sums dy and dgamma sums dy * x_hat, both over the batch; dx_hat = dy * gamma; "
        "dinv_std sums dx_hat * centred; dcentred = dx_hat * inv_std, for now; "
        "dvar = -0.5 * inv_std**3 * dinv_std; dsquared = dvar / m; dcentred gains 2 * centred * dsquared; dmean is "
        "minus the sum of dcentred; dx = dcentred + dmean / m.",
    ),
    explanation="""
    Each line takes a gradient through one node: what arrives, times the derivative. A product hands each factor the
    other one. A mean over m values hands each of them 1/m. inv_std = (var + eps)**-0.5 has the derivative
    -0.5 * inv_std**3.

    What was broadcast in the forward pass is summed in the backward pass: gamma, beta, inv_std and mean serve all
    samples of a feature, and collect a gradient from each.

    centred and x are used twice, so their gradients have two parts. dcentred is complete only when squared has given
    its part, and only then may it be passed on to x and to mean. That second part sums to zero over the batch, as the
    deviations do, so dmean would come out the same without it.
    """,
    passed_message=(
        "Your three gradients agree with the reference on six fresh batches: more samples than features and the "
        "reverse, as many of both, values far from zero, values so small that eps decides, and a large eps. dy had a "
        "part along every path, gamma was random, and your inputs came back unchanged."
    ),
)
