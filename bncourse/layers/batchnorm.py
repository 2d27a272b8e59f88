"""BatchNorm1d, BatchNorm2d and BatchNorm3d: the state of ``torch.nn``'s layers, the computation of ours.

Each is a subclass of the layer of the same name in ``torch.nn``. What a layer is (parameters, buffers, checkpoints,
``repr``, which inputs it refuses) is inherited, and what asks ``isinstance`` finds what it looks for. What a layer
does, ``forward``, is written here.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from bncourse.kernels import batch_norm
from bncourse.layers.batches import check_channels, count_batch


class KernelBatchNorm(_BatchNorm):
    """The forward pass of the three layers: which statistics to use, and how much the new ones weigh."""

    def forward(self, input: Tensor, residual: Tensor | None = None, activation: str | None = None) -> Tensor:
        r"""Normalize a batch, and do what often follows in the same pass over memory.

        .. math:: y = \operatorname{act}\!\left( \gamma\, \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta + z \right)

        In training :math:`\mu` and :math:`\sigma^2` are the batch's mean and biased variance, one for each channel over
        all other axes; the running statistics move towards the mean and the *unbiased* variance by ``momentum``, or
        where that is None by one over the number of batches so far, so that they are plain averages. In evaluation they
        are the running statistics, or the batch's where the layer has none.

        Parameters
        ----------
        input : :math:`x`, of a shape that the layer takes, of any floating dtype and memory format.
        residual : :math:`z`, of the shape and dtype of ``input``, or None.
        activation : None, or ``"relu"``.

        Returns
        -------
        y : of the shape, dtype and memory format of ``input``.

        Raises
        ------
        ValueError : for a wrong number of axes; for one value per channel in training; for an ``eps`` that is not
            positive in training; for another residual or activation.
        RuntimeError : if the channels are not as many as the layer's parameters and buffers are for.
        """
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        check_channels(self, input)
        momentum = count_batch(self) if self.training else 0.0
        # A layer may have buffers and be told not to track: they serve in evaluation and rest in training.
        use_buffers = self.track_running_stats or not self.training
        return batch_norm(
            input,
            self.weight,
            self.bias,
            self.running_mean if use_buffers else None,
            self.running_var if use_buffers else None,
            self.training,
            momentum,
            self.eps,
            residual,
            activation,
        )


class BatchNorm1d(KernelBatchNorm, torch.nn.BatchNorm1d):
    r"""Batch normalization of vectors, (N, C), or of sequences, (N, C, L), in place of :class:`torch.nn.BatchNorm1d`.

    .. math:: y = \gamma\, \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    with one mean, one variance, one :math:`\gamma` and one :math:`\beta` for each of the C channels.

    Parameters
    ----------
    num_features : C.
    eps : added to the variance.
    momentum : weight of the new statistic in the running ones, or None for the average of all batches.
    affine : whether there are :math:`\gamma` and :math:`\beta`: ``weight`` and ``bias``, of shape (C,), at first ones
        and zeros.
    track_running_stats : whether there are ``running_mean`` and ``running_var``, of shape (C,), and
        ``num_batches_tracked``.
    device, dtype : of the parameters and buffers. Statistics are computed in float32 at least, whatever they are.
    bias : ``False`` for :math:`\gamma` alone, in the releases of PyTorch that have it.

    Notes
    -----
    State, attributes and results are those of the layer in ``torch.nn``, and checkpoints load both ways. Three things
    are added: statistics in float32 are right where the mean is large (chapter 1.4); parameters and buffers may be of
    any floating dtype beside the input's; and ``forward`` takes a residual and a ReLU.

    Code that knows ``torch.nn``'s layers by their very class (FX tracing, ``torch.jit.script``, quantization) does not
    know this one, and forward-mode derivatives do not pass through its formulas: for these,
    :func:`bncourse.layers.convert` turns it back.

    Examples
    --------
    >>> import torch
    >>> from bncourse.layers import BatchNorm1d
    >>> layer = BatchNorm1d(1)
    >>> print([round(value, 3) for value in layer(torch.tensor([[1.0], [3.0], [3.0], [9.0]])).ravel().tolist()])
    [-1.0, -0.333, -0.333, 1.667]
    >>> layer.running_mean, layer.running_var
    (tensor([0.4000]), tensor([2.1000]))
    """


class BatchNorm2d(KernelBatchNorm, torch.nn.BatchNorm2d):
    """Batch normalization of images, (N, C, H, W), in place of :class:`torch.nn.BatchNorm2d`.

    Parameters and all else are those of :class:`BatchNorm1d`.

    Examples
    --------
    >>> import torch
    >>> from bncourse.layers import BatchNorm2d
    >>> theirs, ours = torch.nn.BatchNorm2d(3), BatchNorm2d(3)
    >>> ours.load_state_dict(theirs.state_dict())
    <All keys matched successfully>
    >>> x = torch.randn(4, 3, 8, 8)
    >>> torch.allclose(ours(x), theirs(x), atol=1e-5)
    True
    >>> bool(ours(x, residual=x, activation="relu").min() >= 0)
    True
    """


class BatchNorm3d(KernelBatchNorm, torch.nn.BatchNorm3d):
    """Batch normalization of video or volumes, (N, C, D, H, W), in place of :class:`torch.nn.BatchNorm3d`.

    Parameters and all else are those of :class:`BatchNorm1d`.

    Examples
    --------
    >>> import torch
    >>> from bncourse.layers import BatchNorm3d
    >>> BatchNorm3d(3)(torch.randn(2, 3, 4, 5, 6)).shape
    torch.Size([2, 3, 4, 5, 6])
    """
