"""Ghost batch norm: the statistics of small batches, in a batch of any size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from bncourse.kernels import batch_norm
from bncourse.kernels.view import accumulator_dtype, dense
from bncourse.layers.batches import check_channels, count_batch, evaluate


class GhostBatchNorm(_BatchNorm):
    r"""Batch normalization in training with the statistics of ghost batches, of (N, C) or (N, C, \*spatial).

    .. math:: y = \gamma\, \frac{x - \mu_k}{\sqrt{\sigma_k^2 + \epsilon}} + \beta

    A ghost batch is a group of ``ghost_size`` consecutive examples; :math:`\mu_k` and :math:`\sigma_k^2` are mean and
    biased variance of a channel over the examples and positions of ghost batch k. In evaluation this is batch norm.

    Parameters
    ----------
    num_features : C.
    ghost_size : examples in a ghost batch, 2 at least. All of them are of this size: a batch that they do not fill is
        refused, so that no example meets noisier statistics than the others.
    eps : added to the variance.
    momentum : weight of the new statistic in the running ones, or None for the average of all batches.
    affine : whether there are :math:`\gamma` and :math:`\beta`: ``weight`` and ``bias``, of shape (C,).
    device, dtype : of the parameters and buffers. Statistics are computed in float32 at least, whatever they are.

    Raises
    ------
    ValueError : if ``ghost_size`` is no whole number, or less than 2; in a forward pass, if the batch has no channels,
        or in training a number of examples that is no multiple of ``ghost_size``.
    RuntimeError : in a forward pass, if the channels are not as many as the layer's.

    Notes
    -----
    State is that of :class:`torch.nn.BatchNorm2d` and its like, and checkpoints load both ways. A batch moves the
    running statistics once, towards the averages over its ghost batches, of their means and of their *unbiased*
    variances, as in chapter 5.2. In the paper (Hoffer, Hubara and Soudry 2017) each ghost batch moves them: with n of
    those in a batch, the old value keeps the weight :math:`(1 - momentum)^n`.

    Examples
    --------
    >>> import torch
    >>> from bncourse.layers import GhostBatchNorm
    >>> layer = GhostBatchNorm(3, ghost_size=4)
    >>> y = layer(torch.randn(8, 3, 5, 5))
    >>> bool(y[:4].mean().abs() < 1e-6)
    True
    """

    def __init__(
        self,
        num_features: int,
        ghost_size: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if ghost_size < 2 or ghost_size % 1:
            raise ValueError(f"expected ghost_size to be a whole number, 2 at least, got {ghost_size}")
        super().__init__(num_features, eps, momentum, affine, device=device, dtype=dtype)
        self.ghost_size = int(ghost_size)

    def forward(self, input: Tensor) -> Tensor:
        check_channels(self, input)
        if not self.training or input.numel() == 0:
            return evaluate(self, input)
        examples, channels = input.shape[:2]
        ghosts, left_over = divmod(examples, self.ghost_size)
        if left_over:
            raise ValueError(
                f"{type(self).__name__}: expected a batch that ghost batches of {self.ghost_size} fill, got "
                f"{examples} examples; a DataLoader with drop_last=True leaves out the last, smaller batch"
            )
        # To normalize each ghost batch by itself is to normalize one batch that has their channels side by side.
        beside = input.reshape(ghosts, self.ghost_size, *input.shape[1:]).transpose(0, 1).flatten(1, 2)
        means, variances = input.new_zeros((2, ghosts * channels), dtype=accumulator_dtype(input))
        weight, bias = (None if value is None else value.repeat(ghosts) for value in (self.weight, self.bias))
        y = batch_norm(beside, weight, bias, means, variances, training=True, momentum=1.0, eps=self.eps)
        self._move_statistics(means.view(ghosts, channels), variances.view(ghosts, channels))
        apart = y.reshape(self.ghost_size, ghosts, channels, *input.shape[2:]).transpose(0, 1)
        return dense(apart.flatten(0, 1), input)

    def _move_statistics(self, means: Tensor, variances: Tensor) -> None:
        """Running statistics after a batch with these of its ghost batches."""
        weight = count_batch(self)
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            self.running_mean.lerp_(means.mean(0).to(self.running_mean.dtype), weight)
            self.running_var.lerp_(variances.mean(0).to(self.running_var.dtype), weight)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, ghost_size={self.ghost_size}"  # type: ignore[no-untyped-call]
