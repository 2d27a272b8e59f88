"""The operator on a CPU, in PyTorch's functions: statistics that stay right where the mean is large.

Work is done in blocks of examples. Within a block, sums run in the precision of the statistics, in as few passes as
PyTorch's functions allow; from block to block they are kept in float64. Where some channel's mean lies far from zero,
the mean is subtracted before anything else (chapter 2.6, equation ``eq-shifted-variance``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.nn import Parameter
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from bncourse.kernels.backend import INTERPRETED
from bncourse.kernels.view import View, accumulator_dtype, dense, power_of_two

BLOCK = 2**20
"""Values of a block for each thread: enough to outweigh what calling PyTorch costs, few enough for the cache."""

SMALL = 2**17
"""Values of a batch whose statistics are taken at once, in float64: calling PyTorch costs more there than they do."""

ROW_LENGTH = 2**9
"""Examples with few channels are laid side by side up to this length. PyTorch goes through an array row by row, which
costs a little each time, and adds rows up one by one, where a long sum is not exact."""

FEW = 2**12
"""Rows for each thread that PyTorch's own backward pass may add up."""

FAR_MEAN = 2.0
"""Means beyond this many standard deviations are subtracted first. Up to there, E[x²] - E[x]² loses under a digit."""


def suits_pytorch(x: Tensor, *vectors: Tensor | None) -> bool:
    """Whether PyTorch's own batch norm may be tried: few rows to add up, one precision, and values to look at.

    Nobody can look at values while a graph is traced, or under a transform of ``torch.func``. Maps of a channel, larger
    than a few values, are added up faster below. It takes values of channels to lie side by side.
    """
    if INTERPRETED or x.device.type != "cpu" or type(x) not in (Tensor, Parameter):
        return False
    if x.dtype not in (torch.float32, torch.float64) or any(
        v is not None and (v.dtype != x.dtype or not v.is_contiguous()) for v in vectors
    ):
        return False
    if torch.compiler.is_compiling() or is_functorch_wrapped_tensor(x) or len(_get_current_dispatch_mode_stack()) > 0:
        return False
    rows = x.numel() // x.shape[1]
    return rows <= FEW and (x.numel() <= SMALL or not x.is_contiguous() or x.ndim == 2)


def pytorch_batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    momentum: float,
    eps: float,
) -> Tensor | None:
    """PyTorch's own batch norm in training, with gradients; None, and nothing changed, if a mean lies far from zero.

    Where there is little to compute, what Python does around it takes most of the time, and here it does least.
    """
    channels = x.shape[1]
    batch_mean, batch_var = x.new_zeros(channels), x.new_zeros(channels)
    y, _, _ = torch.native_batch_norm(x, weight, bias, batch_mean, batch_var, True, 1.0, eps)
    if not torch.addcmul(batch_var, batch_mean, batch_mean, value=-(FAR_MEAN**-2)).min().item() >= 0:
        return None
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(batch_mean, momentum)
        running_var.lerp_(batch_var, momentum)
    return y


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
        mean, var = moments(x)
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
    normalize = _Affine(View.of(x), mean, inv_std, _scale(weight, inv_std), bias)
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
        dy = _behind_relu(dy, x, flags, _Affine(View.of(x), mean, inv_std, scale, bias))
    kind = wide if weight is None else weight.dtype
    dresidual = x.new_empty(0) if not needs_residual else dy if relu else dy.clone()
    view = View.of(x)
    if training and x.dtype == wide and (view.positions > 1 or view.examples <= FEW * torch.get_num_threads()):
        # PyTorch's own pass is right, given right statistics, where it has few rows to add up, or sums map by map. It
        # takes values of channels to lie side by side.
        gamma = None if weight is None else weight.to(wide).contiguous()
        dx, dweight, dbias = torch.ops.aten.native_batch_norm_backward(
            dy, x, gamma, None, None, mean, inv_std, True, 0.0, [True, True, True]
        )
        return dx, dweight.to(kind), dbias.to(kind), dresidual
    pairs = ((gradient.to(wide), block.to(wide)) for gradient, block in _blocks(dy, x))
    dbias, products = _sums(pairs, mean, _beside(view))
    dweight, count = products * inv_std, x.numel() // x.shape[1]
    through_statistics = _Affine(view, mean, inv_std, scale * inv_std * dweight / -count, scale * dbias / -count)
    dx, scale = torch.empty_like(x), scale.repeat(_beside(view))
    for block, gradient, out in _blocks(x, dy, dx):
        if training:
            values = through_statistics(block, out)
            torch.addcmul(values, gradient, _columns(scale, block), out=values)
        else:
            values = torch.mul(gradient, _columns(scale, block), out=_room(out, wide))
        if values is not out:
            out.copy_(values)
    return dx, dweight.to(kind), dbias.to(kind), dresidual


class _Affine:
    """``a * (x - mean) + b`` for each channel, on a block at a time."""

    def __init__(self, view: View, mean: Tensor, inv_std: Tensor, a: Tensor, b: Tensor | None) -> None:
        wide, b = mean.dtype, torch.zeros_like(mean) if b is None else b
        far, beside = bool((mean.abs() * inv_std > FAR_MEAN).any()), _beside(view)
        self.mean = mean.repeat(beside) if far else None
        self.a, self.b = a.to(wide).repeat(beside), (b if far else b - a * mean).to(wide).repeat(beside)
        self.zeros, self.ones = torch.zeros_like(self.a), torch.ones_like(self.a)

    def __call__(self, block: Tensor, out: Tensor | None = None) -> Tensor:
        """The values, in ``out`` if its precision is that of the statistics."""
        wide = self.a.dtype
        room = _room(out, wide)
        if self.mean is not None:
            centred = torch.sub(block, _columns(self.mean, block), out=room)
            return centred.mul_(_columns(self.a, block)).add_(_columns(self.b, block))
        values, unused = torch.empty_like(block, dtype=wide) if room is None else room, self.zeros.new_empty(0)
        # In inference, with statistics that change nothing, it is one multiplication and one addition in one pass.
        vectors = [self.a, self.b, self.zeros, self.ones]
        if block.shape[1] < len(self.a):
            vectors = [vector[: block.shape[1]] for vector in vectors]
        a, b, zeros, ones = vectors
        torch.native_batch_norm(block.to(wide), a, b, zeros, ones, False, 0.0, 0.0, out=(values, unused, unused))
        return values


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of every channel, in float64."""
    wide, count = accumulator_dtype(x), x.numel() // x.shape[1]

    if x.numel() <= SMALL:
        exact, axes = x.double(), [axis for axis in range(x.ndim) if axis != 1]
        mean = exact.mean(axes)
        return mean, (exact - mean.view(-1, *[1] * (x.ndim - 2))).square_().mean(axes)
    beside = _beside(View.of(x))

    def of_deviations(shift: Tensor | None) -> tuple[Tensor, Tensor]:
        far = None if shift is None else shift.repeat(beside)
        blocks = (block.to(wide) if far is None else torch.sub(block, _columns(far, block)) for (block,) in _blocks(x))
        first, second = _sums(((block, block) for block in blocks), x.new_zeros(x.shape[1], dtype=wide), beside)
        mean = first / count
        return mean, (second / count - mean.square()).clamp_min(0)

    mean, var = of_deviations(None)
    if bool((mean.square() <= FAR_MEAN**2 * var).all()):
        return mean, var
    shift = mean.to(wide)
    mean, var = of_deviations(shift)
    return shift + mean, var


def _sums(pairs: Iterable[tuple[Tensor, Tensor]], centre: Tensor, beside: int) -> tuple[Tensor, Tensor]:
    """For each channel the sum of the first of two, and that of ``first * (second - centre)``, in float64.

    PyTorch's own backward pass begins with these, in one pass; the rest of it is not asked for.
    """
    parts: tuple[list[Tensor], list[Tensor]] = [], []
    centres = centre.repeat(beside)
    ones = torch.ones_like(centres)
    for first, second in pairs:
        width = first.shape[1]
        _, products, plain = torch.ops.aten.native_batch_norm_backward(
            first, second, None, None, None, centres[:width], ones[:width], True, 0.0, [False, True, True]
        )
        parts[0].append(plain.view(-1, len(centre)))
        parts[1].append(products.view(-1, len(centre)))
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

    Some examples may lie side by side, as if they were one with more channels. What is None or empty is None in every
    block.
    """
    view = View.of(x)
    beside = _beside(view)
    whole = view.examples - view.examples % beside
    # A power of two, near to what was asked for, and what is left over as a row of its own.
    rows = power_of_two(BLOCK * torch.get_num_threads() // (beside * view.channels * view.positions) // 2 + 1)

    def cut(tensor: Tensor | None) -> Sequence[Tensor | None]:
        if tensor is None or tensor.numel() == 0:
            return [None] * (len(range(0, whole, beside * rows)) + (whole < view.examples))
        if view.positions == 1:
            tensor = tensor.movedim(1, -1)
        examples = tensor.view(view.examples, view.channels, view.positions)
        side_by_side = examples[:whole].view(whole // beside, beside * view.channels, view.positions)
        blocks = torch.split(side_by_side, rows) if whole else ()
        return [*blocks, examples[whole:].view(1, -1, view.positions)] if whole < view.examples else blocks

    return list(zip(*[cut(tensor) for tensor in (x, *others)], strict=True))


def _beside(view: View) -> int:
    """How many examples are laid side by side: one, unless an example has few channels and one position."""
    return 1 if view.positions > 1 else power_of_two(ROW_LENGTH // view.channels)


def _columns(values: Tensor, block: Tensor) -> Tensor:
    """Values of channels, repeated for examples side by side, for a block that may have fewer of those."""
    return (values if block.shape[1] == len(values) else values[: block.shape[1]]).unsqueeze(1)


def _room(out: Tensor | None, wide: torch.dtype) -> Tensor | None:
    """Where to compute what is to be stored in ``out``: there, unless its precision is too low."""
    return out if out is not None and out.dtype == wide else None


def _scale(weight: Tensor | None, inv_std: Tensor) -> Tensor:
    return inv_std if weight is None else inv_std * weight
