"""What a layer with running statistics does with a batch, whatever it makes of it: check, count, evaluate."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bncourse.kernels import batch_norm


def check_channels(layer: nn.Module, input: Tensor) -> None:
    """Compare a batch with the layer's parameters and buffers.

    Raises
    ------
    ValueError : if the batch has no axis of channels.
    RuntimeError : if it has not as many channels as the layer.
    """
    kind = type(layer).__name__
    if input.ndim < 2:
        raise ValueError(f"{kind}: expected input of shape (N, C, ...), got {tuple(input.shape)}")
    for name in ("weight", "bias", "running_mean", "running_var"):
        value = getattr(layer, name, None)
        if value is not None and value.numel() != input.shape[1]:
            raise RuntimeError(
                f"{kind}: expected input with {value.numel()} channels (axis 1), as {name} has, "
                f"got shape {tuple(input.shape)}"
            )


def count_batch(layer: _BatchNorm) -> float:
    """Count a batch of training, and return the weight of its statistics in the running ones.

    It is ``momentum``; or where that is None one over the number of batches so far, for plain averages.
    """
    if layer.track_running_stats and layer.num_batches_tracked is not None:
        layer.num_batches_tracked.add_(1)
        if layer.momentum is None:
            return 1 / float(layer.num_batches_tracked)
    return layer.momentum or 0.0


def evaluate(layer: _BatchNorm, input: Tensor) -> Tensor:
    """Normalize with the running statistics."""
    return batch_norm(
        input, layer.weight, layer.bias, layer.running_mean, layer.running_var, training=False, eps=layer.eps
    )
