"""The data that a case runs on, and what batch norm makes of it in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bncourse.kernels.bench.suite import Case

EPS = 1e-5
MOMENTUM = 0.1


@dataclass(frozen=True)
class Batch:
    """Inputs of one call. The parameters and the running statistics are float32, as in a network in mixed precision."""

    x: Tensor
    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    dy: Tensor
    residual: Tensor | None
    relu: bool

    @property
    def wanted(self) -> list[Tensor]:
        """What gradients are taken of."""
        return [self.x, self.weight, self.bias, *([] if self.residual is None else [self.residual])]

    @property
    def nbytes(self) -> int:
        """Of the arrays that have the shape of ``x``."""
        return sum(array.nbytes for array in (self.x, self.dy, self.residual) if array is not None)

    def copy(self) -> Batch:
        """The same values at other addresses; nothing written into one is seen in the other."""
        return replace(
            self,
            x=_copy(self.x),
            weight=_copy(self.weight),
            bias=_copy(self.bias),
            running_mean=self.running_mean.clone(),
            running_var=self.running_var.clone(),
            dy=self.dy.clone(),
            residual=None if self.residual is None else _copy(self.residual),
        )


@dataclass(frozen=True)
class Answer:
    """What one call gives, in float64, and which values are too close to the ReLU's edge to be compared.

    Attributes
    ----------
    y, gradients, running_mean, running_var : of the call.
    undecided : where the ReLU's input is next to 0; None where there is no ReLU.
    """

    y: Tensor
    gradients: list[Tensor]
    running_mean: Tensor
    running_var: Tensor
    undecided: Tensor | None


def make_batch(case: Case, device: torch.device, seed: int = 0) -> Batch:
    """Random data with another mean, spread, weight and bias in each channel.

    Parameters
    ----------
    case : of the suite.
    device : to make it on.
    seed : of the random numbers.
    """
    generator = torch.Generator(device).manual_seed(seed)
    dtype = getattr(torch, case.dtype)
    channels = case.shape[1]

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, device=device)

    def stored(values: Tensor) -> Tensor:
        if case.format == "channels_last":
            kind = torch.channels_last if len(case.shape) == 4 else torch.channels_last_3d
            return values.to(dtype).contiguous(memory_format=kind)
        return values.to(dtype)

    broadcast = (1, -1, *[1] * (len(case.shape) - 2))
    values = normal(*case.shape)
    # A gradient along x_hat, as a network's is: without it, dx would be right even where a term is missing.
    dy = stored(normal(*case.shape).add_(values, alpha=0.4).add_(0.3))
    spread, offset = 0.5 + normal(channels).abs(), normal(channels)
    batch = Batch(
        x=stored(values.mul_(spread.view(broadcast)).add_(offset.view(broadcast))),
        weight=1 + 0.2 * normal(channels),
        bias=0.2 * normal(channels),
        running_mean=normal(channels),
        running_var=1 + normal(channels).abs(),
        dy=dy,
        residual=stored(normal(*case.shape)) if "add" in case.fusion else None,
        relu="relu" in case.fusion,
    )
    for leaf in batch.wanted:
        leaf.requires_grad_()
    return batch


def answer(batch: Batch) -> Answer:
    """Batch norm of the batch and its gradients in float64, by the formulas of chapter 2.2.

    Parameters
    ----------
    batch : of :func:`make_batch`.
    """
    with torch.no_grad():
        x = batch.x.double()
        axes = [axis for axis in range(x.ndim) if axis != 1]
        broadcast = (1, -1, *[1] * (x.ndim - 2))
        weight, bias = batch.weight.double().view(broadcast), batch.bias.double().view(broadcast)
        count = math.prod(x.shape) // x.shape[1]
        mean = x.mean(dim=axes, keepdim=True)
        x.sub_(mean)
        var = (x * x).mean(dim=axes, keepdim=True)
        inv_std = (var + EPS).rsqrt()
        x_hat = x.mul_(inv_std)
        y = x_hat * weight + bias
        if batch.residual is not None:
            y += batch.residual.double()
        dy, undecided = batch.dy.double(), None
        if batch.relu:
            # Two roundings to the dtype of what is added, at most about 8 in magnitude, may change the sign.
            undecided = y.abs() < 16 * torch.finfo(batch.x.dtype).eps
            passed = y > 0
            y, dy = y.relu_(), dy.mul_(passed)
        dbias, dweight = dy.sum(dim=axes, keepdim=True), (dy * x_hat).sum(dim=axes, keepdim=True)
        dx = (dy - dbias / count - x_hat * (dweight / count)) * (weight * inv_std)
        gradients = [dx, dweight.flatten(), dbias.flatten(), *([] if batch.residual is None else [dy])]
        unbiased = (var * count / max(count - 1, 1)).flatten()
        return Answer(
            y,
            gradients,
            torch.lerp(batch.running_mean.double(), mean.flatten(), MOMENTUM),
            torch.lerp(batch.running_var.double(), unbiased, MOMENTUM),
            undecided,
        )


def _copy(leaf: Tensor) -> Tensor:
    return leaf.detach().clone().requires_grad_()
