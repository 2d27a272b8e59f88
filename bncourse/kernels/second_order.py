"""The gradients of the gradients: the backward formulas once more, written so that PyTorch can differentiate them.

And differentiate what it finds, as often as it is asked: statistics are computed from x here, so that no derivative
takes them for constants.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bncourse.kernels.view import accumulator_dtype


def gradients_of_gradients(
    grads: Sequence[Tensor],
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
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients with respect to dy, x and weight of what the backward pass returned, given those of its outputs.

    Parameters
    ----------
    grads : gradients with respect to dx, dweight, dbias and the residual's gradient.
    passed : where the ReLU let values through, if the forward pass kept it.
    others : as the backward pass got them. In training the statistics are computed from x again, because dx depends on
        x through them too.
    """
    wide, axes = accumulator_dtype(x), [axis for axis in range(x.ndim) if axis != 1]
    shape = 1, -1, *[1] * (x.ndim - 2)

    def gradients(dy: Tensor, x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        dy, x = dy.to(wide), x.to(wide)
        scale = weights[0].to(wide).view(shape) if weights else 1
        if training:
            var, centre = torch.var_mean(x, dim=axes, correction=0, keepdim=True)
            s = (var + eps).rsqrt()
        else:
            centre, s = mean.view(shape), inv_std.view(shape)
        x_hat = (x - centre) * s
        if relu:
            before = x_hat * scale + (0 if bias is None else bias.to(wide).view(shape))
            dy = dy * (before > 0 if passed is None else passed)
        dx = dy
        if training:
            along = (dy * x_hat).mean(dim=axes, keepdim=True)
            dx = dy - dy.mean(dim=axes, keepdim=True) - x_hat * along
        found = dx * scale * s, (dy * x_hat).sum(dim=axes), dy.sum(dim=axes), dy
        return found if has_residual else found[:3]

    inputs = (dy, x) if weight is None else (dy, x, weight)
    outputs, pull_back, *_ = torch.func.vjp(gradients, *inputs)
    ddy, ddx, *dweight = pull_back(tuple(grad.to(wide) for grad in grads[: len(outputs)]))
    return ddy, ddx, dweight[0] if dweight else None
