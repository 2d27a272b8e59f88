"""Batch norm layers that take the place of ``torch.nn``'s, and a function that puts them there.

The transform, its gradients and the running statistics are computed by :func:`bncourse.kernels.batch_norm`.
"""

from bncourse.layers.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from bncourse.layers.convert import convert
from bncourse.layers.filter_response import FilterResponseNorm
from bncourse.layers.fold import explain_folding, fold_batch_norm
from bncourse.layers.ghost import GhostBatchNorm
from bncourse.layers.recalibrate import recalibrate
from bncourse.layers.renorm import BatchRenorm
from bncourse.layers.sync import SyncBatchNorm

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "BatchRenorm",
    "FilterResponseNorm",
    "GhostBatchNorm",
    "SyncBatchNorm",
    "convert",
    "explain_folding",
    "fold_batch_norm",
    "recalibrate",
]
