"""The variance that batch norm stores in training, by the one that it meets in inference, against the prediction."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bncourse.lab import MLPEnsemble
from bncourse.lab.noise import StackedDropout
from bncourse.lab.stacked import StackedBatchNorm, StackedLinear


@dataclass(frozen=True, eq=False)
class Shift:
    """Of a batch norm: running variance by the variance of its inputs in inference, and what dropout alone makes."""

    measured: Float[np.ndarray, "S F"]
    own: Float[np.ndarray, "S F"]


@torch.no_grad()
def shifts(network: MLPEnsemble, x: Float[Tensor, "N F"]) -> list[Shift]:
    r"""Go through the hidden layers in inference, and read each batch norm before it acts.

    Dropout with the share p adds :math:`\frac{p}{1 - p} \overline{h^2}` to the variance of a value h in training, since
    it multiplies h by a number of mean 1 and variance p/(1 - p) (equation ``eq-dropout-shift``). A linear layer adds up
    what independent draws contribute, with squared weights. With v the variance in inference, what the dropout since
    the last batch norm makes by itself is the ratio :math:`1 + \text{added} / v`.

    Parameters
    ----------
    network : left in inference mode.
    x : the training points.

    Raises
    ------
    ValueError : if an activation stands between dropout and the next batch norm, where nothing is predicted.
    """
    network.eval()
    h = network.enter(x.expand(len(network.seeds), *x.shape))
    added: Tensor | None = None
    found = []
    for module in (step for layer in network.layers for step in layer.children()):
        if isinstance(module, StackedBatchNorm):
            spread = h.double().var(dim=2, correction=0)
            own = 1 + (torch.zeros_like(spread) if added is None else added / spread)
            unbiased = spread * h.shape[2] / (h.shape[2] - 1)
            found.append(Shift((module.get_buffer("running_var").double() / unbiased).numpy(), own.numpy()))
            added = None
        elif isinstance(module, StackedDropout):
            added = module.p / (1 - module.p) * h.double().square().mean(dim=2)
        elif isinstance(module, StackedLinear):
            added = None if added is None else (module.weight.double().square() @ added.unsqueeze(2)).squeeze(2)
        elif added is not None:
            raise ValueError("expected batch norm between dropout and the next activation, got none")
        h = module(h)
    return found
