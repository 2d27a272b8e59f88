"""Exercise: the gradients with frozen statistics."""

from __future__ import annotations

import numpy as np

from bncourse.exercises.batches import designed_batches
from bncourse.exercises.common_faults import SWAPPED
from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Coincidence, Fault, FaultSet
from bncourse.exercises.probe import Probe


def inference_backward(
    dy: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray,
    running_mean: np.ndarray,
    running_var: np.ndarray,
    eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of a loss through batch norm in inference mode.

    y = gamma * x_hat + beta
    x_hat = (x - running_mean) / sqrt(running_var + eps)

    The running statistics are constants: they do not depend on x.

    Parameters
    ----------
    dy : array of shape (N, C), gradient of the loss with respect to y.
    x : array of shape (N, C), the input.
    gamma, running_mean, running_var : arrays of shape (C,).
    eps : positive float.

    Returns
    -------
    dx : array of shape (N, C).
    dgamma, dbeta : arrays of shape (C,).
    """
    inv_std = 1 / np.sqrt(running_var + eps)
    x_hat = (x - running_mean) * inv_std
    return gamma * inv_std * dy, (dy * x_hat).sum(axis=0), dy.sum(axis=0)


CONSTANT = "the running statistics are constants, and nothing passes through them"
FAULTS = (
    Fault(
        "training_mode",
        f"This is the gradient of training mode, with the batch's own statistics: in inference {CONSTANT}.",
        ("statistics", "projections"),
    ),
    Fault(
        "batch_statistics",
        "The statistics are those of the batch: in inference use running_mean and running_var.",
        ("statistics",),
    ),
    Fault(
        "projections_kept",
        f"dx still takes off the two terms of training mode: {CONSTANT}, so dx is `gamma * inv_std * dy`.",
        ("projections",),
    ),
    Fault(
        "mean_path_kept",
        f"dx still takes off the mean of dy, as in training: {CONSTANT}.",
        ("projections",),
    ),
    Fault(
        "variance_path_kept",
        f"dx still takes off `x_hat * mean(dy * x_hat)`, as in training: {CONSTANT}.",
        ("projections",),
    ),
    Fault("gamma_missing", "gamma is missing in dx: the gradient reaches x_hat as `dy * gamma`.", ("gamma",)),
    Fault("inv_std_missing", "inv_std is missing in dx: multiply by `1 / sqrt(running_var + eps)`.", ("inv_std",)),
    Fault(
        "inv_std_squared",
        "dx carries inv_std squared: multiply by `1 / sqrt(running_var + eps)` once.",
        ("inv_std",),
    ),
    Fault(
        "dgamma_from_x",
        "dgamma is made from x: gamma multiplies x_hat, so dgamma is the sum of `dy * x_hat`.",
        ("dgamma", "centring"),
    ),
    Fault(
        "dgamma_from_centred",
        "dgamma is made from `x - running_mean`: gamma multiplies x_hat, which is also divided by the root.",
        ("dgamma", "centring"),
    ),
    Fault(
        "dgamma_averaged", "dgamma is averaged over the batch: every sample uses gamma. Take the sum.", ("dgamma mean",)
    ),
    Fault("dbeta_averaged", "dbeta is averaged over the batch: every sample uses beta. Take the sum.", ("dbeta mean",)),
    *SWAPPED,
    Fault("eps_missing", "eps is missing: inv_std is `1 / sqrt(running_var + eps)`.", ("eps",)),
    Fault(
        "eps_fixed",
        "The argument eps is not used; 1e-5 stands in its place. Use the eps that the caller gives.",
        ("eps",),
    ),
    Fault(
        "eps_outside",
        "eps is added outside the square root: inv_std is `1 / sqrt(running_var + eps)`.",
        ("eps", "root"),
    ),
    Fault("root_missing", "inv_std lacks the square root: it is `1 / sqrt(running_var + eps)`.", ("root",)),
    Fault("no_centring", "running_mean is not subtracted in x_hat.", ("centring",)),
)


def faulty_inference_backward(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients as someone writes them who makes the mistakes in ``faults``; with none, they are right."""
    names = ("dy", "x", "gamma", "running_mean", "running_var", "eps")
    dy, x, gamma, mean, var, eps = (arguments[name] for name in names)
    if faults & {"training_mode", "batch_statistics"}:
        mean, var = x.mean(axis=0), x.var(axis=0)
    inside = {"eps_missing": 0.0, "eps_outside": 0.0, "eps_fixed": 1e-5}
    var_plus = var + next((value for fault, value in inside.items() if fault in faults), eps)
    std = var_plus if "root_missing" in faults else np.sqrt(var_plus)
    inv_std = 1 / (std + eps if "eps_outside" in faults else std)
    x_hat = (x if "no_centring" in faults else x - mean) * inv_std

    seen = dy
    if faults & {"training_mode", "projections_kept", "mean_path_kept"}:
        seen = seen - dy.mean(axis=0)
    if faults & {"training_mode", "projections_kept", "variance_path_kept"}:
        seen = seen - x_hat * (dy * x_hat).mean(axis=0)
    power = 0 if "inv_std_missing" in faults else 2 if "inv_std_squared" in faults else 1
    dx = (1.0 if "gamma_missing" in faults else gamma) * inv_std**power * seen

    factor = x if "dgamma_from_x" in faults else x - mean if "dgamma_from_centred" in faults else x_hat
    dgamma = (dy * factor).sum(axis=0) / (len(x) if "dgamma_averaged" in faults else 1)
    dbeta = dy.sum(axis=0) / (len(x) if "dbeta_averaged" in faults else 1)
    return (dx, dbeta, dgamma) if "dgamma_dbeta_swapped" in faults else (dx, dgamma, dbeta)


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """One call for each designed batch, with running statistics that are not those of the batch."""
    probes = []
    for batch in designed_batches(rng):
        features = batch.x.shape[1]
        std = batch.x.std(axis=0)
        away = rng.uniform(0.5, 1.0, features) * rng.choice([-1.0, 1.0], features)
        arguments = {
            "dy": rng.uniform(0.5, 1.0, features) * rng.choice([-1.0, 1.0], features)
            + 0.7 * rng.standard_normal(batch.x.shape),
            "x": batch.x,
            "gamma": batch.gamma,
            "running_mean": batch.x.mean(axis=0) + std * away,
            "running_var": std**2 * rng.uniform(1.5, 2.5, features),
            "eps": batch.eps,
        }
        probes.append(Probe(batch.name, arguments, batch.condition))
    return probes


def _does_not_show(factor: str) -> Coincidence:
    return Coincidence(
        frozenset({"inv_std_squared", factor}),
        frozenset({"root_missing", factor}),
        "inv_std shows in dx alone where dgamma is made without it, and there the two are one factor",
    )


EXERCISE = Exercise(
    id="bn_backward_inference",
    title="The gradients with frozen statistics",
    chapter="2.2",
    statement=(
        "Write the backward pass of inference mode, as fine-tuning with frozen batch norm needs it: the running "
        "statistics are given, and constant. Compute the gradients with respect to `x`, `gamma` and `beta`, and leave "
        "the inputs unchanged. It is shorter than the one of training mode; say to yourself why before you write it."
    ),
    solution_function=inference_backward,
    outputs=("dx", "dgamma", "dbeta"),
    reference=faulty_inference_backward,
    faults=FAULTS,
    coincidences=(
        Coincidence(
            frozenset({"training_mode"}),
            frozenset({"batch_statistics", "projections_kept"}),
            "training mode is both: the statistics of the batch, and the two terms that they bring",
        ),
        _does_not_show("dgamma_from_x"),
        _does_not_show("dgamma_from_centred"),
    ),
    make_probes=make_probes,
    properties=(
        Property("dbeta", "dbeta", lambda dbeta, arguments: dbeta),
        Property("dgamma", "dgamma", lambda dgamma, arguments: dgamma),
        Property("the mean of dx over the batch", "dx", lambda dx, arguments: dx.mean(axis=0)),
        Property("dx", "dx", lambda dx, arguments: dx),
    ),
    hints=(
        "With constant statistics, y is an affine function of x, each sample on its own. What is the derivative of "
        "a * x + b?",
        "dx is dy times the slope, gamma over the root. The gradients of gamma and beta are sums over the batch, as in "
        "training, with x_hat made from the running statistics.",
        "inv_std = 1 / sqrt(running_var + eps); x_hat = (x - running_mean) * inv_std; dx = gamma * inv_std * dy; "
        "dgamma sums dy * x_hat, and dbeta sums dy.",
    ),
    explanation="""
    In inference each y is a straight line in its own x, with the slope gamma * inv_std: that slope is all that dx
    needs. The two terms of training mode came from the batch's mean and variance, which depend on every x. The running
    statistics do not, so nothing is taken off, and a common offset of dy comes back.

    gamma and beta are used as before, and their gradients are the same sums.
    """,
    passed_message=(
        "Your three gradients agree with the reference on six fresh batches, with running statistics that were not "
        "those of the batch, random gamma, and dy whose mean was not zero. Your inputs came back unchanged."
    ),
)
