"""Batch renormalization: training sees what evaluation will see, up to bounds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from bncourse.kernels import batch_norm
from bncourse.kernels.view import accumulator_dtype
from bncourse.layers.batches import check_channels, count_batch, evaluate


class BatchRenorm(_BatchNorm):
    r"""Batch renormalization of (N, C) or (N, C, \*spatial) (Ioffe 2017, algorithm 1).

    .. math:: y = \gamma\, (\hat{x}\, r + d) + \beta, \qquad \hat{x} = \frac{x - \mu_B}{\sigma_B}

    .. math:: r = \operatorname{clip}\!\left(\frac{\sigma_B}{\sigma}, \frac{1}{r_{max}}, r_{max}\right), \qquad
              d = \operatorname{clip}\!\left(\frac{\mu_B - \mu}{\sigma}, -d_{max}, d_{max}\right)

    with the batch's mean :math:`\mu_B` and standard deviation :math:`\sigma_B`, the square root of its biased variance
    plus :math:`\epsilon`, and the running ones :math:`\mu` and :math:`\sigma` as they were before this batch. Where
    neither bound is met, training computes what evaluation does, :math:`\gamma (x - \mu) / \sigma + \beta`. Gradients
    take r and d for constants: they flow through :math:`\mu_B` and :math:`\sigma_B` as in batch norm.

    Parameters
    ----------
    num_features : C.
    eps : added to the variance.
    momentum : weight of the new statistic in the running ones, or None for the average of all batches. Training uses
        them here, so they must keep up with the weights, and be quieter than a batch.
    affine : whether there are :math:`\gamma` and :math:`\beta`: ``weight`` and ``bias``, of shape (C,).
    r_max, d_max : the bounds, 1 at least and 0 at least. They are attributes, not state: a training loop may set them
        between steps, and a checkpoint does not hold them. At 1 and 0 this is batch norm. Ioffe starts there, for 5000
        steps, then lets them grow to 3 (at step 40000) and 5 (at step 25000), with a momentum of 0.01.
    device, dtype : of the parameters and buffers. Statistics are computed in float32 at least, whatever they are.

    Raises
    ------
    ValueError : for ``r_max`` below 1 or ``d_max`` below 0; in a forward pass, if the batch has no channels, or in
        training one value per channel.
    RuntimeError : in a forward pass, if the channels are not as many as the layer's, or if the running statistics have
        been taken away.

    Notes
    -----
    State is that of :class:`torch.nn.BatchNorm2d` and its like, and checkpoints load both ways. As in the paper, what
    moves is :math:`\sigma` itself, towards :math:`\sigma_B`, and it contains :math:`\epsilon`; ``running_var`` holds
    :math:`\sigma^2 - \epsilon`, so that evaluation is batch norm's. In small batches it comes out lower than batch
    norm's average of unbiased variances; training has the same :math:`\sigma`, and :math:`\gamma` makes up for it.

    Keras 2, with ``renorm=True``, keeps two sets of statistics, each with its own momentum: one for r and d, one for
    evaluation. It does not bound them unless told to, and takes a lower bound for r apart from the upper one. (The
    first releases of Keras 3 have no batch renormalization.)

    Running statistics that are estimated anew in training mode, as :func:`torch.optim.swa_utils.update_bn` does, would
    depend on the ones that they replace, by way of r and d of earlier layers: set ``r_max`` to 1 and ``d_max`` to 0
    first, or use :func:`bncourse.layers.recalibrate`.

    Examples
    --------
    >>> import torch
    >>> from bncourse.layers import BatchRenorm
    >>> layer, x = BatchRenorm(3), torch.randn(4, 3, 5, 5)
    >>> y = layer(x)
    >>> bool(torch.allclose(y, x, atol=1e-4))  # the running statistics were 0 and 1
    True
    >>> layer.r_max, layer.d_max = 1.0, 0.0
    >>> bool(torch.allclose(layer(x), torch.nn.BatchNorm2d(3)(x), atol=1e-5))
    True
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.01,
        affine: bool = True,
        r_max: float = 3.0,
        d_max: float = 5.0,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, device=device, dtype=dtype)
        self.r_max, self.d_max = r_max, d_max
        self._check_bounds()

    def forward(self, input: Tensor) -> Tensor:
        check_channels(self, input)
        if not self.training or input.numel() == 0:
            return evaluate(self, input)
        self._check_bounds()
        if self.running_mean is None or self.running_var is None:
            raise RuntimeError(f"{type(self).__name__}: expected running_mean and running_var, got None")
        with torch.no_grad():
            wide, axes = accumulator_dtype(input), [axis for axis in range(input.ndim) if axis != 1]
            var, mean = torch.var_mean(input.to(wide), dim=axes, correction=0)
            std, running_std = ((value.to(wide) + self.eps).sqrt() for value in (var, self.running_var))
            r = (std / running_std).clamp(1 / self.r_max, self.r_max)
            d = ((mean - self.running_mean) / running_std).clamp(-self.d_max, self.d_max)
        weight, bias = (r, d) if self.weight is None else (self.weight * r, self.weight * d + self.bias)
        y = batch_norm(input, weight, bias, training=True, eps=self.eps)
        share = count_batch(self)
        if self.track_running_stats:
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
            self.running_var.copy_((running_std.lerp(std, share).square() - self.eps).clamp_min(0))
        return y

    def _check_bounds(self) -> None:
        if not self.r_max >= 1:
            raise ValueError(f"expected r_max to be 1 at least, got {self.r_max}")
        if not self.d_max >= 0:
            raise ValueError(f"expected d_max to be 0 at least, got {self.d_max}")

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, r_max={self.r_max}, d_max={self.d_max}"  # type: ignore[no-untyped-call]
