"""Fine-tuning every member on labelled images of its own, with statistics that are frozen or those of the batches."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bncourse.experiments.new_domain.adaptation import STREAM
from bncourse.lab.ensemble import Ensemble
from bncourse.lab.objective import Batch, losses
from bncourse.lab.stacked import StackedBatchNorm
from bncourse.lab.training import MomentumSGD


def fine_tune(
    network: Ensemble,
    x: Float[Tensor, "S n F"],
    y: Int[Tensor, "S n"],
    rates: Sequence[float],
    epochs: int,
    batch_size: int,
    momentum: float,
    *,
    training_mode: bool,
    affine_only: bool = False,
) -> None:
    """Momentum SGD, in place. A member whose loss is no longer finite ends in parameters that are not either.

    Parameters
    ----------
    network : in inference mode afterwards.
    x, y : images and labels of each member.
    rates : one for each member.
    epochs, batch_size, momentum : members of equal seed meet their images in equal orders.
    training_mode : whether batches are normalized by their own statistics, which move the running ones.
    affine_only : whether of all parameters only gamma and beta learn.
    """
    affine = {
        id(parameter)
        for module in network.modules()
        if isinstance(module, StackedBatchNorm)
        for parameter in module.parameters()
    }
    each_rate = torch.tensor(rates)
    optimizer = MomentumSGD(network, each_rate, each_rate, torch.zeros_like(each_rate), momentum)
    learns = [not affine_only or id(parameter) in affine for parameter in optimizer.parameters]
    network.train(training_mode)
    for rows in _batches(x.shape[1], batch_size, epochs, network.seeds):
        members = torch.arange(len(rows)).unsqueeze(1)
        loss = losses(network, Batch(x[members, rows], y[members, rows])).sum()
        gradients = torch.autograd.grad(loss, optimizer.parameters)
        optimizer.apply(
            optimizer.updates(
                [
                    gradient if learn else torch.zeros_like(gradient)
                    for gradient, learn in zip(gradients, learns, strict=True)
                ]
            )
        )
    network.eval()


def _batches(count: int, batch_size: int, epochs: int, seeds: Sequence[int]) -> Iterator[Int[Tensor, "S B"]]:
    generators = [np.random.default_rng([seed, STREAM, 1]) for seed in seeds]
    for _ in range(epochs):
        orders = torch.from_numpy(np.stack([generator.permutation(count) for generator in generators]))
        for start in range(0, count, batch_size):
            yield orders[:, start : start + batch_size]
