"""Where runs sit that have stalled: slope, curvature, saturation, a way down, and what becomes of them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from bncourse.experiments.landscape.downhill import way_down
from bncourse.experiments.landscape.stalls import (
    Training,
    continue_training,
    has_stalled,
    training_loss,
    training_part,
    untrained,
)
from bncourse.lab import Activations, Curvature, MLPEnsemble, Normalization, measure
from bncourse.lab.probes import captured
from bncourse.lab.stacked import EPS, StackedBatchNorm

PATH_EVERY = 5


@dataclass(frozen=True)
class Examination:
    """Runs without batch norm, of which those that stall are looked at.

    Attributes
    ----------
    training : of all runs.
    target_loss : above which a run has stalled.
    examined : how many of the stalled runs are looked at, the first ones.
    rates : at which they are trained on.
    batch_norm_rate : at which they are trained on with batch norm.
    iterations : of the search for a way down.
    """

    training: Training
    target_loss: float
    examined: int
    rates: tuple[float, ...]
    batch_norm_rate: float
    iterations: int


def train_and_examine(cell: Examination) -> dict[str, Any]:
    """Train all members, then look at where the first of those sit that have stalled.

    Returns
    -------
    loss : (S,), of the training part, of all members.
    examined : (E,), members; those among the first stalled ones that have not diverged. If there are any:
    gradient, initial_gradient : (E,), norms there and at initialization, on the training part.
    smallest_curvature, largest_curvature : (E,).
    saturated : (E, L), see :func:`saturation`.
    path : (E, K), losses along the way down at every fifth corner; NaN beyond its end.
    lowest, rise : (E,), loss at the end of the way down, and how far the way leads above its beginning.
    trained_on : (R, E), loss after as many steps more, at each rate.
    reset, same_function, fixed_gamma : (E,), loss after as many steps with batch norm, see :func:`switched`: with gamma
        and beta new; so that the function is the same; the same, but gamma is never changed.
    """
    training = cell.training
    everyone = untrained(training)
    beginning = everyone.subset(range(len(training.seeds)))
    continue_training(everyone, training.rates, training)
    loss = training_loss(everyone)
    first = np.flatnonzero(has_stalled(loss, cell.target_loss))[: cell.examined]
    chosen = first[np.isfinite(loss[first])]
    found = {"loss": loss, "examined": chosen}
    if len(chosen):
        members = chosen.tolist()
        found |= _look_at(everyone.subset(members), beginning.subset(members), cell.iterations)
        found |= _train_on(everyone.subset(members), cell)
    return found


def _look_at(network: MLPEnsemble, beginning: MLPEnsemble, iterations: int) -> dict[str, Any]:
    members = len(network.seeds)
    initial = measure(Curvature(iterations=1), beginning, *training_part(members))
    here = measure(Curvature(), network, *training_part(members))
    paths = [way_down(network, member, iterations) for member in range(members)]
    corners = range(0, iterations + 1, PATH_EVERY)
    return {
        "initial_gradient": initial["gradient_norm"],
        "gradient": here["gradient_norm"],
        "smallest_curvature": here["smallest_curvature"],
        "largest_curvature": here["largest_curvature"],
        "saturated": saturation(network),
        "path": np.array([[_at(path.losses, corner) for corner in corners] for path in paths]),
        "lowest": np.array([path.losses[-1] for path in paths]),
        "rise": np.array([path.rise for path in paths]),
    }


def _train_on(network: MLPEnsemble, cell: Examination) -> dict[str, Any]:
    members = len(network.seeds)
    again = network.subset(list(range(members)) * len(cell.rates))
    continue_training(again, tuple(rate for rate in cell.rates for _ in range(members)), cell.training)

    normalized = replace(cell.training, seeds=network.seeds)
    found = {"trained_on": training_loss(again).reshape(len(cell.rates), members)}
    for name, variant, keep_function in (
        ("reset", Normalization(), False),
        ("same_function", Normalization(), True),
        ("fixed_gamma", Normalization(learn_gamma=False), True),
    ):
        other = switched(network, untrained(normalized, variant), keep_function)
        continue_training(other, (cell.batch_norm_rate,) * members, cell.training)
        found[name] = training_loss(other)
    return found


def _at(values: Float[np.ndarray, "K"], place: int) -> float:
    return float(values[place]) if place < len(values) else float("nan")


def saturation(network: MLPEnsemble) -> Float[np.ndarray, "S L"]:
    """Share of each hidden layer's values that are saturated on the training part; with ReLU, of units that are dead.

    A ReLU unit is dead if it returns zero for every image.
    """
    x, y = training_part(len(network.seeds))
    readings = measure(Activations(), network, x, y)
    if "saturated" in readings:
        return np.asarray(readings["saturated"])
    with torch.no_grad(), captured(network.layers) as outputs:
        network(x)
    return np.stack([(output <= 0).all(dim=2).double().mean(dim=1).numpy() for output in outputs], axis=1)


def switched(network: MLPEnsemble, normalized: MLPEnsemble, keep_function: bool) -> MLPEnsemble:
    r"""The same weights in networks with batch norm.

    Parameters
    ----------
    network : without batch norm.
    normalized : with it, of the same architecture; its parameters are replaced.
    keep_function : choose :math:`\gamma = \sqrt{\sigma^2 + \epsilon}` and :math:`\beta = \mu` of each unit's input to
        the activation, bias included, over the training part, so that both compute the same there. Otherwise
        :math:`\gamma` and :math:`\beta` stay at 1 and 0.
    """
    x, _ = training_part(len(network.seeds))
    with torch.no_grad():
        for mine, theirs in zip(normalized.weights, network.weights, strict=True):
            mine.copy_(theirs)
        for mine, theirs in zip(normalized.output.parameters(), network.output.parameters(), strict=True):
            mine.copy_(theirs)
        if keep_function:
            h = network.enter(x)
            for plain, layer in zip(network.layers, normalized.layers, strict=True):
                before = plain.get_submodule("linear")(h)
                norm = layer.get_submodule("norm")
                assert isinstance(norm, StackedBatchNorm)
                norm.gamma.copy_((before.var(dim=2, correction=0, keepdim=True) + EPS).sqrt())
                norm.beta.copy_(before.mean(dim=2, keepdim=True))
                h = plain(h)
    return normalized
