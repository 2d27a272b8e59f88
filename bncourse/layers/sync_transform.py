"""The mathematics of SyncBatchNorm: moments, their merge, and the transform with its gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bncourse.kernels import cpu, operator
from bncourse.kernels.view import accumulator_dtype, dense
from bncourse.layers.ranks import Ranks


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and sum of squared deviations of every channel, each (C,), in float64."""
    if x.device.type == "cpu":
        mean, var = cpu.moments(dense(x))
    else:
        var, mean = torch.var_mean(x.to(accumulator_dtype(x)), dim=(0, *range(2, x.ndim)), correction=0)
    return mean.double(), var.double() * (x.numel() // x.shape[1])


def merge(counts: Tensor, means: Tensor, m2s: Tensor) -> tuple[Tensor, Tensor]:
    r"""Mean and sum of squared deviations, each (C,), of all values from those of the parts.

    Parameters
    ----------
    counts : :math:`m_r`, (parts, 1). A part of none has zeros in the others.
    means, m2s : :math:`\mu_r` and :math:`M_{2,r}`, (parts, C).
    """
    mean = (counts * means).sum(0) / counts.sum().clamp_min(1)
    return mean, (m2s + counts * (means - mean).square()).sum(0)


class Normalize(torch.autograd.Function):
    """The transform with given statistics, and its gradients as what they are: functions of all ranks' values."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        residual: Tensor | None,
        mean: Tensor,
        var: Tensor,
        eps: float,
        relu: bool,
        count: int,
        ranks: Ranks,
    ) -> Tensor:
        mean, var = mean.to(accumulator_dtype(x)), var.to(accumulator_dtype(x))
        inv_std, flags, y = (var + eps).rsqrt(), x.new_empty(0, dtype=torch.uint8), torch.empty_like(x)
        if x.numel():
            y, _, _, flags = operator.forward(
                x, weight, bias, mean, var, False, 0.0, eps, residual, relu, relu and residual is not None
            )
        ctx.save_for_backward(x, weight, bias, mean, var, inv_std, flags)
        ctx.has_residual, ctx.eps, ctx.relu, ctx.count, ctx.ranks = residual is not None, eps, relu, count, ranks
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, var, inv_std, flags = ctx.saved_tensors
        gamma = torch.ones_like(mean) if weight is None else weight.to(mean.dtype)
        dx, dgamma, dbeta = torch.empty_like(x), torch.zeros_like(mean), torch.zeros_like(mean)
        if x.numel():
            _, dgamma, dbeta, masked = operator.backward(
                dy, x, gamma, bias, mean, inv_std, flags, False, ctx.relu, ctx.relu
            )
            dy = masked if ctx.relu else dy
        if ctx.needs_input_grad[0]:
            mean_dy, mean_along = ctx.ranks.sum(torch.cat([dbeta, dgamma]).double()).div_(max(ctx.count, 1)).chunk(2)
            if x.numel():
                # The transform itself computes -mean_along * x_hat - mean_dy + dy. It is given copies, because it marks
                # statistics as changed, and what is saved may serve another backward pass.
                dx = operator.forward(
                    x, -mean_along, -mean_dy, mean.clone(), var.clone(), False, 0.0, ctx.eps, dy, False, False
                )[0].mul_((gamma * inv_std).view(-1, *[1] * (x.ndim - 2)))
        return (
            dx if ctx.needs_input_grad[0] else None,
            None if weight is None else dgamma.to(weight.dtype),
            None if bias is None else dbeta.to(bias.dtype),
            dy if ctx.has_residual else None,
            *[None] * 6,
        )
