"""The kernels as PyTorch operators, so that ``torch.compile`` and autograd know what they do.

Two operators do the work, ``bncourse::batch_norm`` and ``bncourse::batch_norm_backward``. The first updates the running
statistics in the launch that normalizes, and PyTorch registers no gradient for an operator that changes its inputs;
so two autograd functions stand on top, the second one for gradients of gradients. They keep ``setup_context`` apart
from ``forward`` and save nothing that is not an input or an output, which is what ``torch.func`` asks of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bncourse.kernels import cpu
from bncourse.kernels.backend import backend, empty_flags, unpack_flags
from bncourse.kernels.second_order import gradients_of_gradients
from bncourse.kernels.view import accumulator_dtype, dense


@torch.library.custom_op("bncourse::batch_norm", mutates_args=("running_mean", "running_var"))
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
    """y, mean, inv_std and the ReLU's flags, which are empty where nobody needs them."""
    outputs: tuple[Tensor, Tensor, Tensor, Tensor] = backend(x).forward(
        x, weight, bias, running_mean, running_var, training, momentum, eps, residual, relu, save_flags
    )
    return outputs


@forward.register_fake
def _(
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
    x = dense(x)
    mean = x.new_empty(x.shape[1], dtype=accumulator_dtype(x))
    flags = empty_flags(x) if relu and save_flags else x.new_empty(0, dtype=torch.uint8)
    return torch.empty_like(x), mean, torch.empty_like(mean), flags


@torch.library.custom_op("bncourse::batch_norm_backward", mutates_args=())
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
    """dx, dweight, dbias and the gradient of the residual, which is empty where there was none."""
    gradients: tuple[Tensor, Tensor, Tensor, Tensor] = backend(x).backward(
        dy, x, weight, bias, mean, inv_std, flags, training, relu, needs_residual
    )
    return gradients


@backward.register_fake
def _(
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
    dx = torch.empty_like(dense(x))
    dweight = torch.empty_like(mean if weight is None else weight)
    return dx, dweight, torch.empty_like(dweight), torch.empty_like(dx) if needs_residual else x.new_empty(0)


@forward.register_vmap
def _(info: Any, axes: tuple[int | None, ...], *arguments: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    running_mean, training = arguments[3], arguments[5]
    if training and running_mean is not None and axes[3] is None:
        raise ValueError("expected running statistics for each of the batches that vmap runs over, got one for all")
    return _one_by_one(forward, info.batch_size, axes, arguments)


@backward.register_vmap
def _(info: Any, axes: tuple[int | None, ...], *arguments: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    return _one_by_one(backward, info.batch_size, axes, arguments)


def _one_by_one(
    operator: Callable[..., tuple[Tensor, ...]], batches: int, axes: tuple[int | None, ...], arguments: tuple[Any, ...]
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """The operator on one batch after another, for ``torch.func.vmap``: its rules want results and their new axes."""
    pairs = list(zip(arguments, axes, strict=True))
    runs = [
        operator(*(value if axis is None else value.select(axis, place) for value, axis in pairs))
        for place in range(batches)
    ]
    outputs = tuple(torch.stack(values) for values in zip(*runs, strict=True))
    return outputs, (0,) * len(outputs)


class BatchNormFunction(torch.autograd.Function):
    """``act(batch_norm(x) + residual)`` with its gradients; beside it, what the backward pass needs."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        residual: Tensor | None,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        training: bool,
        momentum: float,
        eps: float,
        relu: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        # Without a residual the backward pass sees from x what the ReLU let through.
        save_flags = relu and residual is not None
        outputs: tuple[Tensor, Tensor, Tensor, Tensor] = forward(
            x, weight, bias, running_mean, running_var, training, momentum, eps, residual, relu, save_flags
        )
        return outputs

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, weight, bias, residual, _, _, ctx.training, _, ctx.eps, ctx.relu = inputs
        _, mean, inv_std, flags = output
        ctx.save_for_backward(x, weight, bias, mean, inv_std, flags)
        ctx.mark_non_differentiable(mean, inv_std, flags)
        ctx.has_residual = residual is not None

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, inv_std, flags = ctx.saved_tensors
        gradients: Callable[..., tuple[Tensor, ...]] = BackwardFunction.apply
        dx, dweight, dbias, dresidual = gradients(
            dy, x, weight, bias, mean, inv_std, flags, ctx.training, ctx.relu, ctx.relu and ctx.has_residual, ctx.eps
        )
        if not ctx.relu:
            dresidual = dy
        return (
            dx,
            None if weight is None else dweight,
            None if bias is None else dbias.to(bias.dtype),
            dresidual if ctx.has_residual else None,
            *[None] * 6,
        )


class BackwardFunction(torch.autograd.Function):
    """The gradients as a function that has gradients itself: those of the same formulas, written in PyTorch."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
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
        eps: float,
    ) -> tuple[Tensor, ...]:
        gradients: tuple[Tensor, ...] = backward(
            dy, x, weight, bias, mean, inv_std, flags, training, relu, needs_residual
        )
        return gradients

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        *tensors, ctx.training, ctx.relu, ctx.needs_residual, ctx.eps = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        dy, x, weight, bias, mean, inv_std, flags = ctx.saved_tensors
        passed = unpack_flags(flags, x) if flags.numel() else None
        found = gradients_of_gradients(
            grads, dy, x, weight, bias, mean, inv_std, passed, ctx.training, ctx.relu, ctx.needs_residual, ctx.eps
        )
        return *found, *[None] * 8


def batch_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    residual: Tensor | None = None,
    activation: str | None = None,
) -> Tensor:
    r"""Batch normalization with what often follows it: a residual that is added, and a ReLU.

    .. math:: y = \operatorname{act}\!\left( \gamma\, \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta + z \right)

    Statistics are computed and kept in float32, or in float64 where ``x`` is. Gradients of gradients are there too.

    Parameters
    ----------
    x : (N, C) or (N, C, *spatial), of any floating dtype, contiguous or channels last; others are copied.
    weight, bias : (C,) or None, :math:`\gamma` and :math:`\beta`.
    running_mean, running_var : (C,) or both None. Updated in place in training, and used in inference.
    training : whether to use the batch's statistics, with the biased variance; without running statistics they are used
        in any case.
    momentum : weight of the new statistic in the running ones, which take the unbiased variance.
    eps : added to the variance.
    residual : :math:`z`, of the shape of ``x``, or None.
    activation : None, or ``"relu"``.

    Returns
    -------
    y : of the shape, dtype and memory format of ``x``.

    Raises
    ------
    ValueError : for a wrong shape; for one value per channel in training; for an eps that is negative, or zero in
        training; for an unknown activation; for one of the running statistics without the other.
    """
    check_arguments(x, weight, bias, running_mean, running_var, residual, activation)
    training = training or running_mean is None
    if eps < 0 or (training and eps == 0):
        raise ValueError(f"eps must be positive{' in training' if training else ' or zero'}, got {eps}")
    if x.numel() == 0:
        return _of_nothing(x, weight, bias, residual)
    if training and x.numel() == x.shape[1]:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {x.shape}")
    relu = activation == "relu"
    if training and residual is None and not relu and cpu.suits_pytorch(x, weight, bias, running_mean, running_var):
        y = cpu.pytorch_batch_norm(x, weight, bias, running_mean, running_var, momentum, eps)
        if y is not None:
            return y
    function: Callable[..., tuple[Tensor, ...]] = BatchNormFunction.apply
    return function(x, weight, bias, residual, running_mean, running_var, training, momentum, eps, relu)[0]


def _of_nothing(x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None) -> Tensor:
    """An empty batch's y, with gradients of zero. It has no statistics, and the running ones remain."""
    y = x.clone()
    for values in (weight, bias):
        if values is not None:
            y = y + values.to(x.dtype).view(1, -1, *[1] * (x.ndim - 2))
    return y if residual is None else y + residual


def check_arguments(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    residual: Tensor | None,
    activation: str | None,
) -> None:
    """Raise the errors of :func:`batch_norm` that are about shapes, dtypes and the activation."""
    if x.ndim < 2:
        raise ValueError(f"expected x of shape (N, C, ...), got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise TypeError(f"expected x of a floating dtype, got {x.dtype}")
    named = {"weight": weight, "bias": bias, "running_mean": running_mean, "running_var": running_var}
    for name, value in named.items():
        if value is not None and value.shape != (x.shape[1],):
            raise ValueError(f"expected {name} of shape ({x.shape[1]},), got {tuple(value.shape)}")
    if (running_mean is None) != (running_var is None):
        raise ValueError("expected running_mean and running_var both, or neither")
    if residual is not None and (residual.shape != x.shape or residual.dtype != x.dtype):
        raise ValueError(
            f"expected residual of the shape and dtype of x, {tuple(x.shape)} and {x.dtype}, "
            f"got {tuple(residual.shape)} and {residual.dtype}"
        )
    if activation not in (None, "relu"):
        raise ValueError(f"expected activation None or 'relu', got {activation!r}")
