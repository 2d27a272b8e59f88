"""SyncBatchNorm: one batch norm over the batches of all ranks of a process group."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bncourse.kernels import operator
from bncourse.layers.batches import check_channels, count_batch
from bncourse.layers.batchnorm import KernelBatchNorm
from bncourse.layers.ranks import Ranks, check_same_layer, number_of, ranks_of
from bncourse.layers.sync_transform import Normalize, merge, moments

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

REFUSED = -1.0
"""In the place of a count: this rank does not take its input."""


class SyncBatchNorm(KernelBatchNorm):
    r"""Batch normalization over the batches of all ranks, as if they were one, of shape (N, C) or (N, C, \*spatial).

    Rank :math:`r` sends the moments of its :math:`m_r` values of each channel, and all ranks merge what they receive
    (Chan, Golub and LeVeque 1983, for many parts at once):

    .. math:: m = \sum_r m_r, \qquad \mu = \frac{1}{m} \sum_r m_r \mu_r, \qquad
              M_2 = \sum_r \left( M_{2,r} + m_r (\mu_r - \mu)^2 \right), \qquad \sigma^2 = M_2 / m

    In the backward pass they add up the two sums that the gradient takes from the batch:

    .. math:: dx = \gamma\, s \left( dy - \frac{1}{m} \sum_r \sum dy - \hat{x}\, \frac{1}{m} \sum_r \sum dy\,\hat{x}
              \right), \qquad s = 1/\sqrt{\sigma^2 + \epsilon}

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, device, dtype, bias : as those of
        :class:`~bncourse.layers.BatchNorm1d`. State and checkpoints are those of ``torch.nn``'s layers.
    process_group : the ranks that make one batch together, or None for all of them.

    Attributes
    ----------
    name : what errors call the layer. :func:`~bncourse.layers.convert` sets it to the layer's place in the model.

    Notes
    -----
    **Communication.** In training, with more than one rank: one ``all_gather`` of 2C + 3 numbers from each rank in the
    forward pass, and one ``all_reduce`` of 2C in the backward pass, unless the input needs no gradient. A sum over the
    ranks would have to hold squares of the mean to merge moments in one step, and lose the variance to them. Rows side
    by side need none, and every rank merges the same rows in the same order, so that statistics agree to the last bit.
    Numbers are sent in float64, in which counts are exact. At its first call a layer gathers four numbers more, to see
    that the ranks agree about it. In evaluation, with one rank, or where no process group is initialized, nothing is
    sent, and the layer is the plain one.

    **Ranks may differ** in the size of their batches, and in dtype. One whose data have run out takes part with a batch
    of size 0, and calls ``backward`` as the others do. They may not differ in whether the input needs a gradient.

    **Gradients** are those of the sum of all ranks' losses; for weight and bias each rank has the part that passes
    through its own values, and ``DistributedDataParallel`` averages these over the W ranks. So where the loss is a mean
    over the local batch and the batches are equally large, training is that of one process on the concatenated batch.
    With batches of :math:`n_r` out of :math:`n` examples it is so if each rank multiplies its mean by
    :math:`W n_r / n`. There are no gradients of gradients where ranks synchronize.

    **Devices.** CPUs with Gloo and GPUs with NCCL. It is no subclass of :class:`torch.nn.SyncBatchNorm`, which refuses
    CPUs, and which ``DistributedDataParallel`` refuses on them. On a GPU the forward pass waits until the counts are
    there.

    **Failures.** What one rank refuses is an error on every rank at once, and so are ranks that are in different layers
    of equally many channels. In layers of different widths, or where one of them is at its first call, they send rows
    of different lengths: Gloo ends the process of a rank that receives too long a row, and says so. Where a rank dies,
    Gloo's connections break; where it stays away, the others wait for the ``timeout`` of ``init_process_group``. NCCL
    ends the process after that time instead, unless ``TORCH_NCCL_BLOCKING_WAIT=1`` is set.

    References
    ----------
    T. F. Chan, G. H. Golub, R. J. LeVeque. Algorithms for computing the sample variance: analysis and
    recommendations. The American Statistician 37(3), 1983.

    Examples
    --------
    In a program that ``torchrun`` starts, after ``torch.distributed.init_process_group("gloo")``:

    >>> import torch
    >>> from bncourse.layers import SyncBatchNorm, convert
    >>> model = convert(torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5)), to=SyncBatchNorm)
    >>> type(model[1]).__name__
    'SyncBatchNorm'
    >>> parallel = torch.nn.parallel.DistributedDataParallel(model)  # doctest: +SKIP
    """

    name = ""
    converted_from = "SyncBatchNorm"

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: ProcessGroup | None = None,
        device: Any = None,
        dtype: Any = None,
        **options: bool,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, **options)
        self.process_group = process_group

    def forward(self, input: Tensor, residual: Tensor | None = None, activation: str | None = None) -> Tensor:
        """Normalize this rank's batch with the statistics of all; parameters and returns as in the plain layers.

        Raises
        ------
        ValueError : for an input without axis 1; for one value per channel in all ranks' batches together; for inputs
            that need a gradient on some ranks only; for an ``eps`` that is not positive; for another residual or
            activation; for settings that differ between ranks.
        RuntimeError : for a wrong number of channels; if another rank refused its input; if ranks are in different
            layers of equally many channels; if a rank does not take part.
        """
        ranks = ranks_of(self.process_group, self._title()) if self.training else None
        if ranks is None:
            return super().forward(input, residual, activation)
        y: Tensor = self._normalize_with(ranks, input, residual, activation)
        return y

    def _normalize_with(self, ranks: Ranks, input: Tensor, residual: Tensor | None, activation: str | None) -> Tensor:
        count, mean, var = self._moments_of_all(input, residual, activation, ranks)
        self._track(count, mean, var)
        function: Callable[..., Tensor] = Normalize.apply
        return function(
            input, self.weight, self.bias, residual, mean, var, self.eps, activation == "relu", count, ranks
        )

    def _moments_of_all(
        self, input: Tensor, residual: Tensor | None, activation: str | None, ranks: Ranks
    ) -> tuple[int, Tensor, Tensor]:
        """Count, mean and biased variance of all ranks' values, in float64."""
        number = number_of(self, self.name, ranks, input.device, num_features=self.num_features, eps=self.eps)
        refusal = self._refusal(input, residual, activation)
        needs_gradient = torch.is_grad_enabled() and input.requires_grad
        row = torch.zeros(2 * self.num_features + 3, dtype=torch.float64, device=input.device)
        if refusal is None and input.numel():
            row[3:] = torch.cat(moments(input.detach()))
        count = REFUSED if refusal else input.numel() // self.num_features
        row[:3] = row.new_tensor([count, needs_gradient, number])
        rows = ranks.gather(row)
        counts, gradients, numbers = rows[:, :3].T.tolist()
        if refusal:
            raise refusal
        _check_agreement(counts, gradients, numbers, ranks)
        total = int(sum(counts))
        if total == 1:
            raise ValueError(
                "Expected more than 1 value per channel when training, "
                f"got input size {input.shape} and one value on all {ranks.count} ranks"
            )
        mean, m2 = merge(rows[:, :1], *rows[:, 3:].chunk(2, dim=1))
        return total, mean, m2 / max(total, 1)

    def _refusal(self, input: Tensor, residual: Tensor | None, activation: str | None) -> Exception | None:
        """Why this rank's input cannot be normalized. It is raised when the other ranks have been told."""
        try:
            check_channels(self, input)
            if input.shape[1] != self.num_features:
                raise RuntimeError(
                    f"{self._title()}: expected input with {self.num_features} channels (axis 1), "
                    f"got shape {tuple(input.shape)}"
                )
            operator.check_arguments(
                input, self.weight, self.bias, self.running_mean, self.running_var, residual, activation
            )
            if self.eps <= 0:
                raise ValueError(f"eps must be positive in training, got {self.eps}")
        except (ValueError, TypeError, RuntimeError) as error:
            return error
        return None

    def _track(self, count: int, mean: Tensor, var: Tensor) -> None:
        momentum = count_batch(self)
        if count and self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
            self.running_var.lerp_((var * (count / (count - 1))).to(self.running_var.dtype), momentum)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of axes will do, from two on."""

    def _title(self) -> str:
        return f"SyncBatchNorm {self.name!r}" if self.name else f"SyncBatchNorm({self.num_features})"

    def __deepcopy__(self, memo: dict[int, Any]) -> SyncBatchNorm:
        """A copy for the same ranks: a process group cannot be copied, and models are, for averages of weights."""
        memo[id(self.process_group)] = self.process_group
        memo[id(self)] = copied = copy.copy(self)
        copied.__dict__ = copy.deepcopy(self.__dict__, memo)
        return copied


def _check_agreement(counts: list[float], gradients: list[float], numbers: list[float], ranks: Ranks) -> None:
    check_same_layer(numbers, ranks)
    refused = [rank for rank, count in enumerate(counts) if count == REFUSED]
    if refused:
        raise RuntimeError(f"{ranks.layer}: ranks {refused} refused their input, and their own errors say why")
    if len(set(gradients)) > 1:
        raise ValueError(
            f"{ranks.layer}: expected input.requires_grad to be the same on every rank, got "
            f"{[bool(needed) for needed in gradients]}: in the backward pass some ranks would wait for the others"
        )
