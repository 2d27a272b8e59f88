"""A peer: batch norm in Triton with one program for each channel, the design that most open kernels have.

It is right, and it reads as little as the two-pass design does. What it lacks is programs: 64 channels keep 64
multiprocessors busy, whatever the batch. Images lie channels first, and nothing is fused.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, misc, no-untyped-call, type-arg"
from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bncourse.kernels.bench.batch import EPS, MOMENTUM, Batch


@triton.jit
def forward_kernel(
    x,
    y,
    weight,
    bias,
    mean_out,
    inv_std_out,
    running_mean,
    running_var,
    momentum,
    eps,
    M,
    C,
    S,
    BLOCK: tl.constexpr,
):
    c = tl.program_id(0)
    count, mean, m2 = 0.0, 0.0, 0.0
    for start in range(0, M, BLOCK):
        i = start + tl.arange(0, BLOCK)
        place = ((i // S).to(tl.int64) * C + c) * S + i % S
        value = tl.load(x + place, mask=i < M, other=0.0).to(tl.float32)
        n = tl.minimum(M - start, BLOCK).to(tl.float32)
        tile_mean = tl.sum(value, axis=0) / n
        deviation = tl.where(i < M, value - tile_mean, 0.0)
        delta = tile_mean - mean
        m2 += tl.sum(deviation * deviation, axis=0) + delta * delta * count * n / (count + n)
        mean += delta * n / (count + n)
        count += n
    inv_std = 1 / tl.sqrt(m2 / count + eps)
    tl.store(mean_out + c, mean)
    tl.store(inv_std_out + c, inv_std)
    old_mean, old_var = tl.load(running_mean + c), tl.load(running_var + c)
    tl.store(running_mean + c, old_mean + momentum * (mean - old_mean))
    tl.store(running_var + c, old_var + momentum * (m2 / (count - 1) - old_var))
    scale, shift = inv_std * tl.load(weight + c), tl.load(bias + c)
    for start in range(0, M, BLOCK):
        i = start + tl.arange(0, BLOCK)
        place = ((i // S).to(tl.int64) * C + c) * S + i % S
        value = tl.load(x + place, mask=i < M, other=0.0).to(tl.float32)
        tl.store(y + place, ((value - mean) * scale + shift).to(y.dtype.element_ty), mask=i < M)


@triton.jit
def backward_kernel(dy, x, dx, weight, mean_in, inv_std_in, dweight_out, dbias_out, M, C, S, BLOCK: tl.constexpr):
    c = tl.program_id(0)
    mean, inv_std = tl.load(mean_in + c), tl.load(inv_std_in + c)
    dweight, dbias = 0.0, 0.0
    for start in range(0, M, BLOCK):
        i = start + tl.arange(0, BLOCK)
        place = ((i // S).to(tl.int64) * C + c) * S + i % S
        x_hat = (tl.load(x + place, mask=i < M, other=0.0).to(tl.float32) - mean) * inv_std
        upstream = tl.load(dy + place, mask=i < M, other=0.0).to(tl.float32)
        dbias += tl.sum(upstream, axis=0)
        dweight += tl.sum(upstream * x_hat, axis=0)
    tl.store(dweight_out + c, dweight)
    tl.store(dbias_out + c, dbias)
    scale = tl.load(weight + c) * inv_std
    for start in range(0, M, BLOCK):
        i = start + tl.arange(0, BLOCK)
        place = ((i // S).to(tl.int64) * C + c) * S + i % S
        x_hat = (tl.load(x + place, mask=i < M, other=0.0).to(tl.float32) - mean) * inv_std
        upstream = tl.load(dy + place, mask=i < M, other=0.0).to(tl.float32)
        value = (upstream - dbias / M - x_hat * (dweight / M)) * scale
        tl.store(dx + place, value.to(dx.dtype.element_ty), mask=i < M)


class _PerChannel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor) -> Tensor:
        y, mean, inv_std = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
        statistics = (mean, inv_std, running_mean, running_var)
        sizes = _sizes(x)
        forward_kernel[(x.shape[1],)](x, y, weight, bias, *statistics, MOMENTUM, EPS, *sizes, num_warps=8)
        ctx.save_for_backward(x, weight, mean, inv_std)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inv_std = ctx.saved_tensors
        dx, dweight, dbias = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
        outputs = (dweight, dbias, *_sizes(x))
        backward_kernel[(x.shape[1],)](dy, x, dx, weight, mean, inv_std, *outputs, num_warps=8)
        return dx, dweight, dbias, None, None


def batch_norm(batch: Batch) -> Tensor:
    """Batch norm in training of a contiguous float batch, with its gradients."""
    y: Tensor = _PerChannel.apply(batch.x, batch.weight, batch.bias, batch.running_mean, batch.running_var)
    return y


def _sizes(x: Tensor) -> tuple[int, int, int, int]:
    positions = math.prod(x.shape[2:])
    count = x.shape[0] * positions
    return count, x.shape[1], positions, min(triton.next_power_of_2(count), 4096)
