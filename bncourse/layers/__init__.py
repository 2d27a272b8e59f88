"""Batch norm layers that take the place of ``torch.nn``'s, and a function that puts them there.

The transform, its gradients and the running statistics are computed by :func:`bncourse.kernels.batch_norm`.
"""

from bncourse.layers.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from bncourse.layers.convert import convert

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "convert"]
