"""The relatives of batch norm for stacked convolutional networks: one computation over other sets of values.

Data is (S, F, B, H, W): member, channel, example, row and column. Every norm has a gamma and a beta for each channel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bncourse.lab.ensemble import Activation
from bncourse.lab.stacked import EPS, MOMENTUM, Normalization, StackedBatchNorm

KINDS = ("batch", "batch renorm", "group", "layer", "instance", "RMS", "filter response")
R_MAX, D_MAX = 3.0, 5.0
"""Where batch renorm's factor and its offset end in the paper, and stand here throughout."""


@dataclass(frozen=True)
class Norm:
    """A norm by its name, with what some of them need besides.

    Attributes
    ----------
    kind : one of ``KINDS``.
    groups : of "group", a divisor of the number of channels.
    momentum : of "batch renorm", the weight of the new statistic in the running ones.

    Raises
    ------
    ValueError : if the kind is another.

    Examples
    --------
    >>> import torch
    >>> from bncourse.lab import MLPEnsemble, Norm
    >>> networks = MLPEnsemble((64, 32, 10), seeds=(0, 1), batch_norm=Norm("group", groups=8))
    >>> networks(torch.zeros(2, 8, 64)).shape
    torch.Size([2, 10, 8])
    """

    kind: str
    groups: int = 2
    momentum: float = MOMENTUM

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"expected kind to be one of {', '.join(KINDS)}, got {self.kind!r}")


def norm_and_activation(norm: Norm | None, features: int, seeds: Sequence[int], stream: int) -> dict[str, nn.Module]:
    """What follows a convolution with so many channels, by name; ``stream`` is the number of the layer."""
    members, relu = len(seeds), Activation("relu")
    if norm is None:
        return {"activation": relu}
    if norm.kind == "batch":
        return {"norm": StackedBatchNorm(features, seeds, Normalization(), stream), "activation": relu}
    if norm.kind == "batch renorm":
        return {"norm": StackedBatchRenorm(features, seeds, stream, norm.momentum), "activation": relu}
    groups = {"group": norm.groups, "layer": 1, "RMS": 1}.get(norm.kind, features)
    own = StackedExampleNorm(features, members, groups, centred=norm.kind not in ("RMS", "filter response"))
    threshold = norm.kind == "filter response"
    return {"norm": own, "activation": StackedThreshold(features, members) if threshold else relu}


class StackedExampleNorm(nn.Module):
    r"""Statistics of each example and group of channels, over these channels and all positions.

    .. math:: y = \gamma_c\, \frac{h - \mu}{\sqrt{\overline{(h - \mu)^2} + \epsilon}} + \beta_c

    One group is layer norm, a group for every channel instance norm. With :math:`\mu = 0` they become RMS norm and
    filter response norm.

    Parameters
    ----------
    features, members : F and S.
    groups : of neighbouring channels, a divisor of F.
    centred : whether :math:`\mu` is the mean, else 0.

    Raises
    ------
    ValueError : if ``groups`` does not divide the channels.
    """

    def __init__(self, features: int, members: int, groups: int, centred: bool) -> None:
        super().__init__()
        if groups < 1 or features % groups:
            raise ValueError(f"expected groups to be a divisor of {features} channels, got {groups}")
        self.groups, self.centred = groups, centred
        self.gamma = nn.Parameter(torch.ones(members, features, 1))
        self.beta = nn.Parameter(torch.zeros(members, features, 1))

    def forward(self, h: Float[Tensor, "S F B H W"]) -> Float[Tensor, "S F B H W"]:
        members, features, batch = h.shape[:3]
        grouped = h.reshape(members, self.groups, features // self.groups, batch, -1)
        if self.centred:
            grouped = grouped - grouped.mean(dim=(2, 4), keepdim=True)
        inv_std = torch.rsqrt(grouped.square().mean(dim=(2, 4), keepdim=True) + EPS)
        return self.gamma[..., None, None] * (grouped * inv_std).reshape(h.shape) + self.beta[..., None, None]


class StackedThreshold(nn.Module):
    r"""The activation that goes with filter response norm: :math:`\max(y, \tau_c)`, learned from :math:`\tau_c = 0` on.

    Parameters
    ----------
    features, members : F and S.
    """

    def __init__(self, features: int, members: int) -> None:
        super().__init__()
        self.tau = nn.Parameter(torch.zeros(members, features, 1))

    def forward(self, y: Float[Tensor, "S F B H W"]) -> Float[Tensor, "S F B H W"]:
        return torch.maximum(y, self.tau[..., None, None])


class StackedBatchRenorm(StackedBatchNorm):
    r"""Batch norm whose normalized values are corrected to what the running statistics would make of them.

    .. math:: y = \gamma \left( \frac{h - \mu_B}{\sigma_B}\, r + d \right) + \beta, \qquad
              r = \frac{\sigma_B}{\sigma}, \quad d = \frac{\mu_B - \mu}{\sigma}

    (Ioffe 2017.) r is clipped to :math:`[1 / r_{max}, r_{max}]` and d to :math:`[-d_{max}, d_{max}]`; gradients take
    them for constants. :math:`\sigma^2` contains :math:`\epsilon`. The running mean and the running :math:`\sigma` are
    those before the step, and then move towards the batch's. In inference this is batch norm.

    Parameters
    ----------
    features : F.
    seeds : of the members.
    stream : number of this layer in its network.
    momentum : weight of the new statistic.
    """

    def __init__(self, features: int, seeds: Sequence[int], stream: int, momentum: float) -> None:
        super().__init__(features, seeds, Normalization(), stream)
        self.momentum = momentum

    def forward(self, h: Float[Tensor, "S F B H W"]) -> Float[Tensor, "S F B H W"]:
        if not self.training:
            return super().forward(h)
        flat = h.flatten(2)
        var, mean = torch.var_mean(flat, dim=2, correction=0, keepdim=True)
        std = torch.sqrt(var + EPS)
        running_mean, running_var = self.get_buffer("running_mean"), self.get_buffer("running_var")
        with torch.no_grad():
            running_std = torch.sqrt(running_var + EPS)
            r = (std / running_std.unsqueeze(2)).clamp(1 / R_MAX, R_MAX)
            d = ((mean - running_mean.unsqueeze(2)) / running_std.unsqueeze(2)).clamp(-D_MAX, D_MAX)
            running_mean.lerp_(mean.squeeze(2), self.momentum)
            running_var.copy_(running_std.lerp(std.squeeze(2), self.momentum).square() - EPS)
        y: Tensor = self.gamma * ((flat - mean) / std * r + d) + self.beta
        return y.reshape(h.shape)
