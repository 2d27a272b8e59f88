"""Exercise: the gradients of the transform in training mode."""

# mypy: disable-error-code="no-any-return"
# NumPy's stubs type the reductions of an array as Any, and the solution is shown to learners without casts.

from __future__ import annotations

import numpy as np

from bncourse.exercises.batches import designed_batches
from bncourse.exercises.common_faults import DGAMMA, INV_STD, PARAMETER_SUMS, PATHS, SWAPPED, VARIANCE_PATH, X_HAT
from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Coincidence, Fault, FaultSet
from bncourse.exercises.probe import Probe


def batch_norm_backward(
    dy: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray,
    eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of a loss through batch norm in training mode.

    y = gamma * x_hat + beta,    x_hat = (x - mean) / sqrt(var + eps)

    mean and var are the mean and the biased variance of the batch. They
    depend on x, so the gradient passes through them as well.

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
    centred = x - x.mean(axis=0)
    inv_std = 1 / np.sqrt((centred**2).mean(axis=0) + eps)
    x_hat = centred * inv_std
    dgamma = (dy * x_hat).sum(axis=0)
    dbeta = dy.sum(axis=0)
    let_through = dy - dy.mean(axis=0) - x_hat * (dy * x_hat).mean(axis=0)
    dx = gamma * inv_std * let_through
    return dx, dgamma, dbeta


LAYER_NORM = (
    "The statistics, and the two means in dx, run over the features of each sample: that is layer norm. Take all of "
    "them over the batch, `axis=0`."
)
WHOLE_ARRAY = (
    "The statistics, and the two means in dx, run over the whole array. Take all of them over the batch alone, "
    "`axis=0`, one of each for every feature."
)
FAULTS = (
    *PATHS,
    *VARIANCE_PATH,
    Fault(
        "scaled_by_count",
        "dx is m times too large: the form `m * dy - sum(dy) - x_hat * sum(dy * x_hat)` is still to be divided by m, "
        "the number of samples.",
        ("count",),
    ),
    Fault("gamma_missing", "gamma is missing in dx: the gradient reaches x_hat as `dy * gamma`.", ("gamma",)),
    *INV_STD,
    *DGAMMA,
    *PARAMETER_SUMS,
    *SWAPPED,
    *X_HAT,
    Fault("statistics_over_features", LAYER_NORM, ("axis",)),
    Fault("statistics_over_features_gamma_outside", LAYER_NORM, ("axis",)),
    Fault("statistics_over_everything", WHOLE_ARRAY, ("axis",)),
    Fault("statistics_over_everything_gamma_outside", WHOLE_ARRAY, ("axis",)),
    Fault(
        "means_over_features",
        "The two means in dx run over the features: the statistics were taken over the batch, and so are the means of "
        "dy and dy * x_hat, `axis=0`.",
        ("axis",),
    ),
)


def faulty_batch_norm_backward(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients as someone writes them who makes the mistakes in ``faults``; with none, they are right.

    Over the right axis it makes no difference whether gamma multiplies dy before the means are taken or the whole of
    dx afterwards. Over a wrong one it does; both are natural to write, so the wrong axes come in two forms.
    """
    dy, x, gamma, eps = (arguments[name] for name in ("dy", "x", "gamma", "eps"))
    m = len(x)
    axis, mean_axis = _axes(faults)

    mean = x.mean(axis=axis, keepdims=True)
    squares = ((x - mean) ** 2).sum(axis=axis, keepdims=True)
    var = squares / (x.size / mean.size - ("unbiased_variance" in faults))
    inside = {"eps_missing": 0.0, "eps_outside": 0.0, "eps_fixed": 1e-5}
    var_plus = var + next((value for fault, value in inside.items() if fault in faults), eps)
    std = var_plus if "root_missing" in faults else np.sqrt(var_plus)
    inv_std = 1 / (std + eps if "eps_outside" in faults else std)
    centred = x if "no_centring" in faults else x - mean
    x_hat = centred * inv_std

    scale = 1.0 if "gamma_missing" in faults else gamma
    gamma_inside = faults & {"statistics_over_features", "statistics_over_everything"}
    dx_hat = dy * scale if gamma_inside else dy
    through_mean = dx_hat.mean(axis=mean_axis, keepdims=True)
    through_variance = x_hat * (dx_hat * x_hat).mean(axis=mean_axis, keepdims=True)
    if "variance_path_centred" in faults:
        through_variance = through_variance / inv_std
    averaged_over = dx_hat.size / through_mean.size
    mean_factor = {"mean_path_dropped": 0, "mean_path_sign": -1, "mean_path_summed": averaged_over}
    variance_factor = {
        "variance_path_dropped": 0,
        "variance_path_sign": -1,
        "variance_path_halved": 0.5,
        "variance_path_doubled": 2,
        "variance_path_summed": averaged_over,
    }
    both = averaged_over if "count_missing" in faults else 1
    through_mean = through_mean * next((f for fault, f in mean_factor.items() if fault in faults), both)
    through_variance = through_variance * next((f for fault, f in variance_factor.items() if fault in faults), both)
    dx = (dx_hat - through_mean - through_variance) * (1.0 if gamma_inside else scale)
    if "inv_std_missing" not in faults:
        dx = dx * inv_std ** (2 if "inv_std_squared" in faults else 1)
    if "scaled_by_count" in faults:
        dx = dx * m

    gamma_factor = x if "dgamma_from_x" in faults else x - mean if "dgamma_from_centred" in faults else x_hat
    dgamma, dbeta = (dy * gamma_factor).sum(axis=0), dy.sum(axis=0)
    dgamma = dgamma / (m if "dgamma_averaged" in faults else 1)
    dbeta = dbeta / (m if "dbeta_averaged" in faults else 1)
    dgamma = dgamma * (gamma if "dgamma_times_gamma" in faults else 1)
    dbeta = dbeta * (gamma if "dbeta_times_gamma" in faults else 1)
    return (dx, dbeta, dgamma) if "dgamma_dbeta_swapped" in faults else (dx, dgamma, dbeta)


def _axes(faults: FaultSet) -> tuple[int | tuple[int, int], int | tuple[int, int]]:
    """The axes of the statistics and of the two means in dx."""
    if "means_over_features" in faults:
        return 0, 1
    for name, axis in (("statistics_over_features", 1), ("statistics_over_everything", (0, 1))):
        if faults & {name, f"{name}_gamma_outside"}:
            return axis, axis
    return 0, 0


def _without_gamma(name: str) -> Coincidence:
    return Coincidence(
        frozenset({"gamma_missing", name}),
        frozenset({"gamma_missing", f"{name}_gamma_outside"}),
        "where gamma is missing in dx, it stands neither inside nor outside the means",
    )


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """One call for each designed batch, with a dy that has a part along 1, along x_hat, and along neither."""
    probes = []
    for batch in designed_batches(rng):
        samples, features = batch.x.shape
        x_hat = (batch.x - batch.x.mean(axis=0)) / batch.x.std(axis=0)
        along_one, along_x_hat = (rng.uniform(0.5, 1.0, features) * rng.choice([-1.0, 1.0], features) for _ in range(2))
        dy = along_one + along_x_hat * x_hat + 0.5 * rng.standard_normal((samples, features))
        arguments = {"dy": dy, "x": batch.x, "gamma": batch.gamma, "eps": batch.eps}
        probes.append(Probe(batch.name, arguments, batch.condition, batch.alone))
    return probes


def _along_x(dx: np.ndarray, arguments: Arguments) -> np.ndarray:
    """The mean of dx times x, centred and scaled to standard deviation 1."""
    x = arguments["x"]
    product: np.ndarray = (dx * (x - x.mean(axis=0)) / x.std(axis=0)).mean(axis=0)
    return product


EXERCISE = Exercise(
    id="bn_backward",
    title="The gradients of the transform",
    chapter="2.2",
    statement=(
        "Write the backward pass of chapter 2.2: from `dy`, the gradient of the loss with respect to `y`, compute the "
        "gradients with respect to `x`, `gamma` and `beta`. The mean and the variance of the batch depend on `x`, so "
        "part of the gradient passes through them. Write it in closed form or node by node; both are right. Leave "
        "the inputs unchanged."
    ),
    solution_function=batch_norm_backward,
    outputs=("dx", "dgamma", "dbeta"),
    reference=faulty_batch_norm_backward,
    faults=FAULTS,
    coincidences=(
        Coincidence(
            frozenset({"count_missing"}),
            frozenset({"mean_path_summed", "variance_path_summed"}),
            "the factor 1/m stands once for each of the two paths",
        ),
        _without_gamma("statistics_over_features"),
        _without_gamma("statistics_over_everything"),
    ),
    make_probes=make_probes,
    properties=(
        Property("dbeta", "dbeta", lambda dbeta, arguments: dbeta),
        Property("dgamma", "dgamma", lambda dgamma, arguments: dgamma),
        Property("the mean of dx over the batch", "dx", lambda dx, arguments: dx.mean(axis=0)),
        Property("the mean over the batch of dx times the normalized x", "dx", _along_x),
        Property("dx", "dx", lambda dx, arguments: dx),
    ),
    hints=(
        "Begin with the easy two. beta is added to every sample of its feature, and gamma multiplies x_hat in every "
        "sample: sum over the batch. You need x_hat again, so compute it as in the forward pass.",
        "x reaches y on three paths: directly, through the mean and through the variance. Treat the two statistics "
        "as constants first; then ask which part of dy the other two paths take away. Shift all x of a feature by a "
        "constant: y does not change, so dx must have the mean 0 over the batch.",
        "dx = gamma * inv_std * (dy - mean(dy) - x_hat * mean(dy * x_hat)), with inv_std = 1 / sqrt(var + eps) and "
        "both means over axis 0.",
    ),
    explanation="""
    gamma and beta are shared by the whole batch, so their gradients are sums over it.

    With the statistics held constant, dx would be gamma * inv_std * dy. Through the mean, every sample changes all
    x_hat of its feature alike: that takes the mean of dy off. Through the variance, every sample changes their
    common scale: that takes off the part of dy along x_hat, x_hat * mean(dy * x_hat). What is left is what the
    transform lets through.

    Two means, not sums: each statistic is a mean over the batch, and its derivative brings the 1/m.
    """,
    passed_message=(
        "Your three gradients agree with the reference on six fresh batches: more samples than features and the "
        "reverse, as many of both, values far from zero, values so small that eps decides, and a large eps. dy had a "
        "part along every path, gamma was random, and your inputs came back unchanged."
    ),
)
