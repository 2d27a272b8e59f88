"""Layers of S networks at once: the member is the first axis of every parameter, and the batch the last of the data.

One layer's features of all members stand one after another in memory, so that a layer is one call: a batched matrix
product, a batch norm over S x F channels, a convolution in S groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bncourse.lab.noise import GhostNoise, Perturbation, StackedNoise

EPS = 1e-5
MOMENTUM = 0.1
"""Weight of the new statistic in the running ones. Both are the defaults of :class:`torch.nn.BatchNorm1d`."""


class StackedLinear(nn.Module):
    """Each member's own :math:`W h + b`, from (S, in, B) to (S, out, B).

    Parameters
    ----------
    weight : (S, out, in), the values to start from.
    bias : whether there is one; it starts at zero.
    """

    def __init__(self, weight: Float[Tensor, "S out in"], bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(*weight.shape[:2], 1)) if bias else None

    def forward(self, h: Float[Tensor, "S in B"]) -> Float[Tensor, "S out B"]:
        if self.bias is None:
            return torch.bmm(self.weight, h)
        return torch.baddbmm(self.bias, self.weight, h)


class StackedConv2d(nn.Module):
    """Each member's own 3 x 3 convolution, padded by one pixel, from (S, in, B, H, W) to (S, out, B, H', W').

    The batch axis is the depth of a three-dimensional convolution whose kernel is one image deep. So the members can
    be its groups without a transposition of the data.

    Parameters
    ----------
    weight : (S, out, in, 3, 3), the values to start from.
    bias : whether there is one; it starts at zero.
    stride : from one output pixel to the next, in both directions.
    """

    def __init__(self, weight: Float[Tensor, "S out in 3 3"], bias: bool, stride: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(*weight.shape[:2], 1)) if bias else None
        self.stride = stride

    def forward(self, h: Float[Tensor, "S in B H W"]) -> Float[Tensor, "S out B H2 W2"]:
        members, channels, batch, height, width = h.shape
        out = nn.functional.conv3d(
            h.reshape(1, members * channels, batch, height, width),
            self.weight.flatten(0, 1).unsqueeze(2),
            None if self.bias is None else self.bias.flatten(),
            stride=(1, self.stride, self.stride),
            padding=(0, 1, 1),
            groups=members,
        )
        return out.reshape(members, -1, *out.shape[2:])


@dataclass(frozen=True)
class Normalization:
    """Variants of batch norm.

    Attributes
    ----------
    group : statistics are taken over ghost batches of so many consecutive examples instead of the whole batch.
    gamma : the scale to start from, for all members or one for each.
    learn_gamma : whether training changes it.
    noise : a random shift and scale of what batch norm returns, drawn anew each step.
    ghost_noise : between normalization and gamma, the noise that ghost batches of so many normal values would make.
    """

    group: int | None = None
    gamma: float | tuple[float, ...] = 1.0
    learn_gamma: bool = True
    noise: Perturbation | None = None
    ghost_noise: int | None = None

    def __post_init__(self) -> None:
        if self.group is not None and self.group < 2:
            raise ValueError(f"expected group to be 2 at least, for a variance to exist, got {self.group}")
        if self.ghost_noise is not None and self.ghost_noise < 4:
            raise ValueError(
                f"expected ghost_noise to be 4 at least, for its variance to exist, got {self.ghost_noise}"
            )


class StackedBatchNorm(nn.Module):
    r"""Batch norm of (S, F, B) or (S, F, B, H, W), each feature of each member with its own statistics.

    .. math:: y = \gamma\, \frac{h - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    Running statistics are those of :class:`torch.nn.BatchNorm1d`. With ghost batches, a step contributes the average
    of its groups' means and unbiased variances.

    Parameters
    ----------
    features : F.
    seeds : of the members; they determine the noise, where there is some.
    normalization : the variant.
    stream : number of this layer among those of its network, so that each draws a noise of its own.

    Raises
    ------
    ValueError : if there is not one gamma for each member; in a forward pass, if ghost batches do not fill the batch.
    """

    def __init__(self, features: int, seeds: Sequence[int], normalization: Normalization, stream: int) -> None:
        super().__init__()
        members = len(seeds)
        gamma = per_member("gamma", normalization.gamma, members).expand(members, features, 1).clone()
        if normalization.learn_gamma:
            self.gamma = nn.Parameter(gamma)
        else:
            self.register_buffer("gamma", gamma)
        self.beta = nn.Parameter(torch.zeros(members, features, 1))
        self.register_buffer("running_mean", torch.zeros(members, features))
        self.register_buffer("running_var", torch.ones(members, features))
        self.group = normalization.group
        self.noise = StackedNoise(normalization.noise, seeds, stream) if normalization.noise else None
        self.ghost_noise = GhostNoise(normalization.ghost_noise, seeds, stream) if normalization.ghost_noise else None

    def forward(self, h: Float[Tensor, "S F B *image"]) -> Float[Tensor, "S F B *image"]:
        if self.training and (self.group or self.ghost_noise):
            h = self._normalize_groups(h, self.group) if self.group else self._normalize(h, affine=False)
            h = self.gamma * (self.ghost_noise(h) if self.ghost_noise else h) + self.beta
        else:
            h = self._normalize(h, affine=True)
        return self.noise(h) if self.noise else h

    def _normalize(self, h: Float[Tensor, "S F B *image"], affine: bool) -> Float[Tensor, "S F B *image"]:
        members, features = h.shape[:2]
        normalized = nn.functional.batch_norm(
            h.reshape(1, members * features, -1),
            self.get_buffer("running_mean").view(-1),
            self.get_buffer("running_var").view(-1),
            self.gamma.reshape(-1) if affine else None,
            self.beta.reshape(-1) if affine else None,
            self.training,
            MOMENTUM,
            EPS,
        )
        return normalized.reshape(h.shape)

    def _normalize_groups(self, h: Float[Tensor, "S F B"], group: int) -> Float[Tensor, "S F B"]:
        batch = h.shape[2]
        if batch % group:
            raise ValueError(f"expected batches that ghost batches of {group} fill, got a batch of {batch}")
        # Sums over short groups are slow; a product with a block-diagonal matrix takes them all, in place.
        average = torch.eye(batch // group).repeat_interleave(group, 0).repeat_interleave(group, 1) / group
        centred = h - h @ average
        var = centred.square() @ average
        with torch.no_grad():
            unbiased = var.mean(dim=2) * group / (group - 1)
            self.get_buffer("running_mean").lerp_(h.mean(dim=2), MOMENTUM)
            self.get_buffer("running_var").lerp_(unbiased, MOMENTUM)
        return centred * torch.rsqrt(var + EPS)


class StackedLayerNorm(nn.Module):
    r"""Layer norm of (S, F, B) or (S, F, B, T), with statistics over the features of an example, or of a token.

    .. math:: y = \gamma\, \frac{h - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    Parameters
    ----------
    features, members : F and S.
    """

    def __init__(self, features: int, members: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(members, features, 1))
        self.beta = nn.Parameter(torch.zeros(members, features, 1))

    def forward(self, h: Float[Tensor, "S F B *tokens"]) -> Float[Tensor, "S F B *tokens"]:
        centred = h - h.mean(dim=1, keepdim=True)
        inv_std = torch.rsqrt(centred.square().mean(dim=1, keepdim=True) + EPS)
        each_feature = (*self.gamma.shape, *[1] * (h.ndim - 3))
        return self.gamma.view(each_feature) * (centred * inv_std) + self.beta.view(each_feature)


def per_member(name: str, value: float | Sequence[float], members: int) -> Float[Tensor, "S 1 1"]:
    """One number for all members, or one for each, as a tensor that goes with a parameter.

    Raises
    ------
    ValueError : if there are several numbers, but not one for each member.
    """
    values = torch.as_tensor(value, dtype=torch.float32)
    if values.ndim > 1 or values.numel() not in (1, members) or (values.ndim and len(values) != members):
        raise ValueError(f"expected one {name}, or one for each of {members} members, got {value}")
    return values.reshape(-1, 1, 1).expand(members, 1, 1)
