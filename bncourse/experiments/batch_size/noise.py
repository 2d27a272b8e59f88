"""How far the statistics of a batch are from those of other batches of its size, layer by layer."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bncourse.lab.ensemble import Ensemble
from bncourse.lab.stacked import EPS, StackedBatchNorm

KINDS = ("mean", "variance", "value")

STREAM = 5
"""Second number of the seed from which the batches are drawn; other things have other numbers."""


@torch.no_grad()
def noise_of(
    network: Ensemble, x: Float[Tensor, "N F"], batch_size: int, draws: int
) -> dict[str, Float[np.ndarray, "S L"]]:
    r"""Noise in front of each batch norm, and in what it makes of it, in training mode.

    .. math:: \text{mean:}\ \sqrt{\frac1F \sum_f \frac{\mathrm{Var}(m_f)}{\overline{v_f}}}, \qquad
              \text{variance:}\ \sqrt{\frac1F \sum_f \frac{\mathrm{Var}(v_f)}{\overline{v_f}^2}}, \qquad
              \text{value:}\ \sqrt{\overline{(\hat x - \hat x^{(N)})^2}}

    with the mean :math:`m_f` and the unbiased variance :math:`v_f` of unit f over a batch, and variances and means over
    the draws; :math:`\hat x` is the normalized value of an example in a batch, :math:`\hat x^{(N)}` that in the
    batch of all N examples, and their mean runs over draws, units and examples. The first two leave out a unit whose
    input never varies.

    Parameters
    ----------
    network : left as it was.
    x : the examples from which batches are drawn, each without replacement, for each member by its seed.
    batch_size, draws : of the batches.
    """
    generators = [np.random.default_rng([seed, STREAM, batch_size]) for seed in network.seeds]
    members = torch.arange(len(network.seeds))[:, None]
    means, variances, deviations = [], [], []
    with network.preserved():
        whole = [_normalized(h).transpose(1, 2) for h in _inputs_of_norms(network, x.expand(len(members), *x.shape))]
        for _ in range(draws):
            chosen = [generator.choice(len(x), batch_size, replace=False) for generator in generators]
            rows = torch.from_numpy(np.stack(chosen))
            inputs = _inputs_of_norms(network, x[rows])
            means.append(torch.stack([h.double().mean(dim=2) for h in inputs]))
            variances.append(torch.stack([h.double().var(dim=2) for h in inputs]))
            values = [_normalized(h).transpose(1, 2) - of[members, rows] for h, of in zip(inputs, whole, strict=True)]
            deviations.append(torch.stack([value.double().square().mean(dim=(1, 2)) for value in values]))
    mean, variance = torch.stack(means), torch.stack(variances)
    typical = variance.mean(dim=0)
    typical[typical == 0] = torch.nan
    squares = {
        "mean": (mean.var(dim=0) / typical).nanmean(dim=2),
        "variance": (variance.var(dim=0) / typical**2).nanmean(dim=2),
        "value": torch.stack(deviations).mean(dim=0),
    }
    return {kind: square.sqrt().T.numpy() for kind, square in squares.items()}


def _normalized(h: Float[Tensor, "S F B"]) -> Float[Tensor, "S F B"]:
    var, mean = torch.var_mean(h, dim=2, correction=0, keepdim=True)
    return (h - mean) * torch.rsqrt(var + EPS)


def _inputs_of_norms(network: Ensemble, x: Float[Tensor, "S B F"]) -> list[Float[Tensor, "S F B"]]:
    """What each batch norm gets, from the first layer to the last, when a batch goes through in training mode."""
    inputs: list[Tensor] = []

    def keep(_module: object, arguments: tuple[Tensor, ...]) -> None:
        inputs.append(arguments[0])

    norms = [module for module in network.modules() if isinstance(module, StackedBatchNorm)]
    handles = [norm.register_forward_pre_hook(keep) for norm in norms]
    network.train()
    try:
        network(x)
    finally:
        for handle in handles:
            handle.remove()
    return inputs


def predicted_noise(batch_size: int, examples: int) -> float:
    r"""Of the mean of a batch that is drawn without replacement, :math:`\sqrt{(N - B) / ((N - 1) B)}`.

    In units of the standard deviation among the N examples, the biased one (equation ``eq-batch-mean-finite``).
    """
    return float(np.sqrt((examples - batch_size) / ((examples - 1) * batch_size)))
