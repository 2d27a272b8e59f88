"""The gradients of the gradients: the backward formulas once more, written so that PyTorch can differentiate them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bncourse.kernels.view import accumulator_dtype


def gradients_of_gradients(
    grads: Sequence[Tensor | None],
    dy: Tensor,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    inv_std: Tensor,
    passed: Tensor | None,
    training: bool,
    relu: bool,
    has_residual: bool,
    eps: float,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients with respect to dy, x and weight of what the backward pass returned, given those of its outputs.

    Parameters
    ----------
    grads : gradients with respect to dx, dweight, dbias and the residual's gradient, or None.
    passed : where the ReLU let values through, if the forward pass kept it.
    others : as the backward pass got them. In training the statistics are computed from x again, because dx depends on
        x through them too.
    """
    wide, axes = accumulator_dtype(x), [axis for axis in range(x.ndim) if axis != 1]
    shape = 1, -1, *[1] * (x.ndim - 2)
    with torch.enable_grad():
        given = [tensor.detach().to(wide).requires_grad_() for tensor in (dy, x)]
        scale = torch.ones_like(mean) if weight is None else weight.detach().to(wide).requires_grad_()
        if training:
            var, centre = torch.var_mean(given[1], dim=axes, correction=0, keepdim=True)
            s = (var + eps).rsqrt()
        else:
            centre, s = mean.view(shape), inv_std.view(shape)
        x_hat = (given[1] - centre) * s
        upstream = given[0]
        if relu:
            if passed is None:
                before = x_hat * scale.view(shape) + (0 if bias is None else bias.to(wide).view(shape))
                passed = before > 0
            upstream = upstream * passed
        dx = upstream
        if training:
            along = (upstream * x_hat).mean(dim=axes, keepdim=True)
            dx = upstream - upstream.mean(dim=axes, keepdim=True) - x_hat * along
        outputs = [
            dx * scale.view(shape) * s,
            (upstream * x_hat).sum(dim=axes),
            upstream.sum(dim=axes),
            upstream,
        ]
        pairs = [
            (output, grad.to(wide))
            for output, grad, there in zip(outputs, grads, (True, True, True, has_residual), strict=True)
            if there and grad is not None
        ]
        inputs = [*given, *([] if weight is None else [scale])]
        found = torch.autograd.grad(
            [output for output, _ in pairs], inputs, [grad for _, grad in pairs], allow_unused=True
        )
    ddy, dx_again, dweight = (*found, None)[:3]
    return (
        None if ddy is None else ddy.to(dy.dtype),
        None if dx_again is None else dx_again.to(x.dtype),
        None if dweight is None or weight is None else dweight.to(weight.dtype),
    )
