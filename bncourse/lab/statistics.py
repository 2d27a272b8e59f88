"""Running statistics that are those of given examples, instead of averages over the batches of training."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from bncourse.lab.ensemble import Ensemble
from bncourse.lab.recurrent import RecurrentEnsemble
from bncourse.lab.stacked import StackedBatchNorm


@torch.no_grad()
def take_statistics(network: Ensemble, x: Float[Tensor, "N F"]) -> None:
    r"""Let each batch norm's running statistics be those of its inputs when these examples pass in inference.

    .. math:: \mu \leftarrow \frac1N \sum_i h_i, \qquad \sigma^2 \leftarrow \frac1N \sum_i (h_i - \mu)^2

    One pass, in which each layer's statistics are taken behind layers that normalize with theirs already. The variance
    is the biased one: inference on these examples then computes what training mode computes on the batch of all of
    them. Dropout and noise are off, as inference leaves them off, so their share of the variances of training is gone.

    Parameters
    ----------
    network : left in inference mode. Without batch norm nothing else changes.
    x : the examples, the same for all members.

    Raises
    ------
    ValueError : if the network is recurrent, as its batch norms see several steps of one pass.
    """
    if isinstance(network, RecurrentEnsemble):
        raise ValueError("expected network to meet each batch norm once in a pass, got a recurrent one")
    norms = [module for module in network.modules() if isinstance(module, StackedBatchNorm)]
    handles = [norm.register_forward_pre_hook(_take) for norm in norms]
    network.eval()
    try:
        network(x.expand(len(network.seeds), *x.shape))
    finally:
        for handle in handles:
            handle.remove()


def _take(norm: StackedBatchNorm, inputs: tuple[Any, ...]) -> None:
    var, mean = torch.var_mean(inputs[0].flatten(2), dim=2, correction=0)
    norm.get_buffer("running_mean").copy_(mean)
    norm.get_buffer("running_var").copy_(var)
