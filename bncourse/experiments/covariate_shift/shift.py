"""How far a network's distributions and gradients move while it learns: what is read in training, and made of it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bncourse.lab import Probe, Step, Trace
from bncourse.lab.probes import captured

LARGEST = 100.0
"""At which a drift is cut off; only a network that diverges exceeds it."""


@dataclass(frozen=True, eq=False)
class UnitMoments(Probe):
    """Mean and standard deviation of what each hidden unit passes on, on the same images at every step.

    They are measured in training mode, with the batch statistics of these images and the noise of the step itself.

    It reads ``unit_mean`` and ``unit_std``, the units of all layers in one row.
    """

    name: ClassVar[str] = "unit moments"
    axis: ClassVar[str | None] = "unit"
    images: Float[Tensor, "B F"]
    every: int = 1

    def measure(self, step: Step) -> dict[str, Float[Tensor, "S U"]]:
        network = step.network
        network.set_random_state(step.random_state)
        with captured(network.layers) as outputs, torch.no_grad():
            network(self.images.expand(len(network.seeds), *self.images.shape))
        values = torch.cat(outputs, dim=1).double()
        return {"unit_mean": values.mean(dim=2), "unit_std": values.std(dim=2, correction=0)}


def drift(
    mean: Float[np.ndarray, "S K U"], std: Float[np.ndarray, "S K U"], lag: int, layers: int
) -> Float[np.ndarray, "S K-lag L"]:
    r"""How far the means of a layer's units move within k steps, relative to the spread around them.

    .. math:: d_l(t) = \frac{\|m_l(t + k) - m_l(t)\|}{\|s_l(t)\|}

    where :math:`m_l` and :math:`s_l` hold the means and standard deviations of the layer's units (equation
    ``eq-layer-drift``). The sum over units is taken before dividing: a unit that is almost silent has hardly any
    spread, and would decide alone about a mean of its unit's ratios.

    Parameters
    ----------
    mean, std : of the units of all layers in one row, at every step.
    lag : k.
    layers : L, of equally many units.
    """

    def norm(values: Float[np.ndarray, "S K U"]) -> Float[np.ndarray, "S K L"]:
        return np.asarray(np.sqrt(np.square(values).reshape(*values.shape[:2], layers, -1).sum(axis=-1)))

    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.asarray(np.minimum(norm(mean[:, lag:] - mean[:, :-lag]) / norm(std[:, :-lag]), LARGEST))


def while_learning(
    values: Float[np.ndarray, "S K L"], until: Float[np.ndarray, "K"], arrived: Float[np.ndarray, "S"]
) -> Float[np.ndarray, "S L"]:
    """Mean over the readings that were complete when a seed had arrived; its first one if none was.

    Parameters
    ----------
    values : of each layer; what is not finite does not count.
    until : the step that each reading reaches to.
    arrived : the step at which a seed met the target, or the last.
    """
    counted = until <= np.maximum(arrived, until[0])[:, None]
    return np.asarray(np.nanmean(np.where(counted[:, :, None] & np.isfinite(values), values, np.nan), axis=1))


def drift_while_learning(
    mean: Trace, std: Trace, lag: int, layers: int, arrived: Float[np.ndarray, "S"]
) -> Float[np.ndarray, "S"]:
    """Mean over layers, and over the steps until a seed has learned."""
    values = drift(mean.values, std.values, lag, layers)
    return np.asarray(while_learning(values, mean.steps[lag:], arrived).mean(axis=1))


def change_by_layer(change: Trace, arrived: Float[np.ndarray, "S"]) -> dict[str, Float[np.ndarray, "S L"]]:
    """Readings of the covariate-shift probe, of each layer that has others below: at the first step, and after it."""
    values = change.values[:, :, 1:]
    return {"initial": values[:, 0], "learning": while_learning(values[:, 1:], change.steps[1:], arrived)}
