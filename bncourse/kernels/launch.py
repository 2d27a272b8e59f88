"""Launching the kernels on PyTorch tensors: what is allocated, and how many programs run."""

from __future__ import annotations

from typing import Any

import torch
import triton.language as tl
from torch import Tensor

from bncourse.kernels.backward import gradients_kernel, sums_kernel
from bncourse.kernels.forward import normalize_kernel, statistics_kernel
from bncourse.kernels.view import WARPS, View, accumulator_dtype, dense

MAX_SPLITS = 256
"""Parts into which a channel's statistics are split at most: every program that normalizes merges them again."""

TRITON = {torch.float32: tl.float32, torch.float64: tl.float64}


def forward(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    residual: Tensor | None,
    relu: bool,
    save_flags: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two launches in training, one in inference. Running statistics are updated in place, in training."""
    x = dense(x)
    residual = None if residual is None else dense(residual, x)
    weight, bias, *running = (_side_by_side(values) for values in (weight, bias, running_mean, running_var))
    view, accumulator = View.of(x), accumulator_dtype(x)
    y = allocate(x)
    mean, inv_std = (allocate(x, (view.channels,), accumulator) for _ in range(2))
    flags = allocate(x, view.flags_shape if relu and save_flags else (0,), torch.uint8)
    options: dict[str, Any] = view.sizes | view.blocks | {"num_warps": WARPS, "ACCUMULATOR": TRITON[accumulator]}
    partial, splits = None, 1
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        if training:
            grid = view.grid(cores(x.device), MAX_SPLITS)
            splits = grid[1]
            partial = allocate(x, (splits, 3, view.channels), accumulator)
            statistics_kernel[grid](x, partial, **options)
        normalize_kernel[view.grid(cores(x.device))](
            x,
            residual,
            y,
            flags if flags.numel() else None,
            weight,
            bias,
            partial,
            mean,
            inv_std,
            *running,
            momentum,
            eps,
            splits,
            TRAINING=training,
            RELU=relu,
            ROWS=view.rows(splits),
            **options,
        )
    for given, updated in zip((running_mean, running_var), running, strict=True):
        if training and given is not None and updated is not None and updated is not given:
            given.copy_(updated)
    return y, mean, inv_std, flags


def backward(
    dy: Tensor,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    inv_std: Tensor,
    flags: Tensor,
    training: bool,
    relu: bool,
    needs_residual: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two launches: ``dx``, ``dweight``, ``dbias`` and the gradient of the residual."""
    x = dense(x)
    dy, weight, bias = dense(dy, x), _side_by_side(weight), _side_by_side(bias)
    view, accumulator = View.of(x), accumulator_dtype(x)
    dx = allocate(x)
    dresidual = allocate(x) if needs_residual else None
    dweight, dbias = (allocate(mean if weight is None else weight) for _ in range(2))
    options: dict[str, Any] = view.sizes | view.blocks | {"num_warps": WARPS, "ACCUMULATOR": TRITON[accumulator]}
    grid = view.grid(cores(x.device), MAX_SPLITS)
    partial = allocate(x, (grid[1], 2, view.channels), accumulator)
    channel, kept = (weight, bias, mean, inv_std), flags if flags.numel() else None
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        sums_kernel[grid](dy, x, kept, *channel, partial, RELU=relu, **options)
        gradients_kernel[view.grid(cores(x.device))](
            dy,
            x,
            kept,
            *channel,
            partial,
            dx,
            dresidual,
            dweight,
            dbias,
            grid[1],
            TRAINING=training,
            RELU=relu,
            ROWS=view.rows(grid[1]),
            **options,
        )
    return dx, dweight, dbias, x.new_empty(0) if dresidual is None else dresidual


def allocate(like: Tensor, shape: tuple[int, ...] | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """Memory for a result, in the format of a dense tensor or in a shape of its own. All of it comes from here."""
    if shape is None:
        return torch.empty_like(like)
    return torch.empty(shape, dtype=dtype, device=like.device)


def _side_by_side(values: Tensor | None) -> Tensor | None:
    """Values of channels as the kernels read them, copied where they have gaps."""
    return None if values is None else values.contiguous()


def cores(device: torch.device) -> int:
    """Multiprocessors of a GPU; the interpreter counts as one."""
    if device.type != "cuda":
        return 1
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count
