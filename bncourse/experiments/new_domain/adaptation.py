"""Statistics of a new domain for an ensemble whose weights stay: taken from images, or mixed with those it has."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bncourse.lab.ensemble import Ensemble
from bncourse.lab.stacked import StackedBatchNorm

STREAM = 8
"""Second number of the seeds of what is drawn here; others belong to batches and noise."""


@torch.no_grad()
def adapt(
    network: Ensemble, x: Float[Tensor, "S n F"], prior: float = 0.0, correction: int = 0
) -> Float[Tensor, "S classes n"]:
    r"""Mix each batch norm's running statistics with those of its inputs, and let it normalize with what results.

    .. math:: \mu \leftarrow \frac{N \mu + n \mu_x}{N + n}, \qquad
              \sigma^2 \leftarrow \frac{N \sigma^2 + n \sigma_x^2}{N + n}

    Parameters
    ----------
    network : left in inference mode.
    x : a batch for each member.
    prior : N, as how many examples the old statistics count.
    correction : 1 for the unbiased variance of the batch.

    Returns
    -------
    logits : of the batch, with these statistics.
    """
    share = x.shape[1] / (prior + x.shape[1])

    def mix(norm: StackedBatchNorm, inputs: tuple[Any, ...]) -> None:
        var, mean = torch.var_mean(inputs[0].flatten(2), dim=2, correction=correction)
        norm.get_buffer("running_mean").lerp_(mean, share)
        norm.get_buffer("running_var").lerp_(var, share)

    norms = [module for module in network.modules() if isinstance(module, StackedBatchNorm)]
    handles = [norm.register_forward_pre_hook(mix) for norm in norms]
    network.eval()
    try:
        logits: Tensor = network(x)
    finally:
        for handle in handles:
            handle.remove()
    return logits


@contextmanager
def recalibrated(network: Ensemble, x: Float[Tensor, "S n F"]) -> Iterator[None]:
    """Within, the statistics are those of some images, with unbiased variances; afterwards what they were before."""
    with network.preserved():
        adapt(network, x, correction=1)
        yield


def accuracy_in_batches(
    network: Ensemble, x: Float[Tensor, "N F"], y: Int[Tensor, "N"], orders: Int[Tensor, "S M"], size: int, prior: float
) -> Float[np.ndarray, "S"]:
    """Share of images that each member reads rightly with the statistics of the batch in which they come.

    Parameters
    ----------
    network : its statistics are the prior of every batch, and are left as they were.
    x, y : images and labels.
    orders : in which each member meets them.
    size : of a batch; what does not fill one is left out.
    prior : see :func:`adapt`.
    """
    right = []
    for start in range(0, orders.shape[1] - size + 1, size):
        rows = orders[:, start : start + size]
        with network.preserved():
            logits = adapt(network, x[rows], prior)
        right.append(_reads(logits, y[rows]))
    return np.asarray(torch.cat(right, dim=1).double().mean(dim=1).numpy())


def own_accuracy(network: Ensemble, x: Float[Tensor, "S n F"], y: Int[Tensor, "S n"]) -> Float[np.ndarray, "S"]:
    """Share of images of its own that each member reads rightly, in inference mode; a member at NaN scores 0."""
    network.eval()
    with torch.no_grad():
        return np.asarray(_reads(network(x), y).double().mean(dim=1).numpy())


def _reads(logits: Float[Tensor, "S classes n"], y: Int[Tensor, "S n"]) -> Bool[Tensor, "S n"]:
    return (logits.argmax(dim=1) == y) & logits.isfinite().all(dim=1)


def drawn_orders(count: int, seeds: Sequence[int]) -> Int[Tensor, "S N"]:
    """An order of so many images for each seed; its beginning serves as a sample."""
    return torch.from_numpy(np.stack([np.random.default_rng([seed, STREAM]).permutation(count) for seed in seeds]))


def by_class(orders: Int[Tensor, "S N"], y: Int[Tensor, "N"]) -> Int[Tensor, "S N"]:
    """The same orders, sorted by class."""
    return orders.gather(1, y[orders].argsort(dim=1, stable=True))
