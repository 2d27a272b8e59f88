"""The operator on a CPU, in PyTorch's functions: statistics that stay right where the mean is large.

Work is done in blocks of examples. Within a block, sums run in the precision of the statistics, in as few passes as
PyTorch's functions allow; from block to block they are kept in float64. Where some channel's mean lies far from zero,
the mean is subtracted before anything else (chapter 2.6, equation ``eq-shifted-variance``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from bncourse.kernels.view import View, accumulator_dtype, dense, power_of_two

BLOCK = 2**19
"""Values of a block for each thread: enough to outweigh what calling PyTorch costs, few enough for the cache."""

ROW_LENGTH = 2**9
"""Short rows are laid side by side up to this length: PyTorch adds rows up one by one, and a long sum is not exact."""

FEW = 2**12
"""Rows for each thread that PyTorch's own backward pass may add up."""

FAR_MEAN = 2.0
"""Means beyond this many standard deviations are subtracted first. Up to there, E[x²] - E[x]² loses under a digit."""


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
    """As :func:`bncourse.kernels.launch.forward`; flags are kept one to a byte, in the shape of ``x``."""
    x, wide = dense(x), accumulator_dtype(x)
    if training:
        count = x.numel() // x.shape[1]
        mean, var = _moments(x)
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((var * (count / max(count - 1, 1))).to(running_var.dtype), momentum)
        mean, var = mean.to(wide), var.to(wide)
    else:
        assert running_mean is not None
        assert running_var is not None
        mean, var = running_mean.to(wide, copy=True), running_var.to(wide)
    inv_std = (var + eps).rsqrt()
    y = torch.empty_like(x)
    flags = torch.empty_like(x, dtype=torch.uint8) if relu and save_flags else x.new_empty(0, dtype=torch.uint8)
    normalize = _Affine(mean, inv_std, _scale(weight, inv_std), bias)
    for block, out, added, passed in _blocks(x, y, None if residual is None else dense(residual, x), flags):
        values = normalize(block, out)
        if added is not None:
            values.add_(added)
        if relu:
            if passed is not None:
                torch.gt(values, 0, out=passed.view(torch.bool))
            values.relu_()
        if values is not out:
            out.copy_(values)
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
    r"""As :func:`bncourse.kernels.launch.backward`.

    .. math:: dx = a\,(x - \mu) + b + \gamma s\, dy, \qquad a = -\tfrac{\gamma s^2}{m}\, d\gamma,
              \qquad b = -\tfrac{\gamma s}{m}\, d\beta
    """
    x, wide = dense(x), accumulator_dtype(x)
    dy, scale = dense(dy, x), _scale(weight, inv_std)
    if relu:
        dy = _behind_relu(dy, x, flags, _Affine(mean, inv_std, scale, bias))
    kind = wide if weight is None else weight.dtype
    dresidual = x.new_empty(0) if not needs_residual else dy if relu else dy.clone()
    view = View.of(x)
    if training and x.dtype == wide and (view.positions > 1 or view.examples <= FEW * torch.get_num_threads()):
        # PyTorch's own pass is right, given right statistics, where it has few rows to add up, or sums map by map.
        gamma = None if weight is None else weight.to(wide)
        dx, dweight, dbias = torch.ops.aten.native_batch_norm_backward(
            dy, x, gamma, None, None, mean, inv_std, True, 0.0, [True, True, True]
        )
        return dx, dweight.to(kind), dbias.to(kind), dresidual
    pairs = ((gradient.to(wide), block.to(wide)) for gradient, block in _blocks(dy, x))
    dbias, products = _sums(pairs, mean)
    dweight, count = products * inv_std, x.numel() // x.shape[1]
    through_statistics = _Affine(mean, inv_std, scale * inv_std * dweight / -count, scale * dbias / -count)
    dx, column = torch.empty_like(x), scale[:, None]
    for block, gradient, out in _blocks(x, dy, dx):
        if training:
            values = through_statistics(block, out)
            torch.addcmul(values, gradient, column, out=values)
        else:
            values = torch.mul(gradient, column, out=_room(out, wide))
        if values is not out:
            out.copy_(values)
    return dx, dweight.to(kind), dbias.to(kind), dresidual


class _Affine:
    """``a * (x - mean) + b`` for each channel, on a block at a time."""

    def __init__(self, mean: Tensor, inv_std: Tensor, a: Tensor, b: Tensor | None) -> None:
        wide, b = mean.dtype, torch.zeros_like(mean) if b is None else b
        self.mean = mean[:, None] if bool((mean.abs() * inv_std > FAR_MEAN).any()) else None
        self.a, self.b = a.to(wide), (b if self.mean is not None else b - a * mean).to(wide)
        self.zeros, self.ones = torch.zeros_like(mean), torch.ones_like(mean)

    def __call__(self, block: Tensor, out: Tensor | None = None) -> Tensor:
        """The values, in ``out`` if its precision is that of the statistics."""
        wide = self.a.dtype
        room = _room(out, wide)
        if self.mean is not None:
            return torch.sub(block, self.mean, out=room).mul_(self.a[:, None]).add_(self.b[:, None])
        values, unused = torch.empty_like(block, dtype=wide) if room is None else room, self.zeros.new_empty(0)
        # In inference, with statistics that change nothing, it is one multiplication and one addition in one pass.
        torch.native_batch_norm(
            block.to(wide), self.a, self.b, self.zeros, self.ones, False, 0.0, 0.0, out=(values, unused, unused)
        )
        return values


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of every channel, in float64."""
    wide, count = accumulator_dtype(x), x.numel() // x.shape[1]

    def of_deviations(shift: Tensor | None) -> tuple[Tensor, Tensor]:
        blocks = (block.to(wide) if shift is None else torch.sub(block, shift[:, None]) for (block,) in _blocks(x))
        first, second = _sums(((block, block) for block in blocks), x.new_zeros(x.shape[1], dtype=wide))
        mean = first / count
        return mean, (second / count - mean.square()).clamp_min(0)

    mean, var = of_deviations(None)
    if bool((mean.square() <= FAR_MEAN**2 * var).all()):
        return mean, var
    shift = mean.to(wide)
    mean, var = of_deviations(shift)
    return shift + mean, var


def _sums(pairs: Iterable[tuple[Tensor, Tensor]], centre: Tensor) -> tuple[Tensor, Tensor]:
    """For each channel the sum of the first of two, and that of ``first * (second - centre)``, in float64.

    PyTorch's own backward pass begins with these, in one pass; the rest of it is not asked for.
    """
    parts: tuple[list[Tensor], list[Tensor]] = [], []
    for first, second in pairs:
        examples, channels, positions = first.shape
        beside = 1 if positions > 1 else math.gcd(examples, power_of_two(ROW_LENGTH // channels))
        shape = examples // beside, beside * channels, positions
        centres = centre.repeat(beside)
        _, products, plain = torch.ops.aten.native_batch_norm_backward(
            first.view(shape),
            second.view(shape),
            None,
            None,
            None,
            centres,
            torch.ones_like(centres),
            True,
            0.0,
            [False, True, True],
        )
        parts[0].append(plain.view(beside, channels))
        parts[1].append(products.view(beside, channels))
    one, other = (torch.cat(rows).double().sum(0) for rows in parts)
    return one, other


def _behind_relu(dy: Tensor, x: Tensor, flags: Tensor, normalize: _Affine) -> Tensor:
    """``dy`` where the ReLU let values through, and zero elsewhere."""
    masked = torch.empty_like(dy)
    for gradient, block, passed, out in _blocks(dy, x, flags, masked):
        before = normalize(block) if passed is None else passed
        out.copy_(torch.ops.aten.threshold_backward(gradient, before, 0))
    return masked


def _blocks(x: Tensor, *others: Tensor | None) -> list[tuple[Any, ...]]:
    """Views of dense tensors of one format, as examples, channels and positions, some examples at a time.

    What is None or empty is None in every block.
    """
    view = View.of(x)
    length = BLOCK * torch.get_num_threads() // (view.channels * view.positions)
    # Even lengths, in powers of two, so that rows can be laid side by side.
    length = power_of_two(length // 2 + 1)

    def cut(tensor: Tensor | None) -> list[Tensor | None]:
        starts = range(0, view.examples, length)
        if tensor is None or tensor.numel() == 0:
            return [None] * len(starts)
        if view.positions == 1:
            tensor = tensor.movedim(1, -1)
        whole = tensor.view(view.examples, view.channels, view.positions)
        return [whole[start : start + length] for start in starts]

    return list(zip(*[cut(tensor) for tensor in (x, *others)], strict=True))


def _room(out: Tensor | None, wide: torch.dtype) -> Tensor | None:
    """Where to compute what is to be stored in ``out``: there, unless its precision is too low."""
    return out if out is not None and out.dtype == wide else None


def _scale(weight: Tensor | None, inv_std: Tensor) -> Tensor:
    return inv_std if weight is None else inv_std * weight
