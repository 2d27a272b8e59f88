"""The mathematics, in NumPy: what every other implementation in the course is compared with.

Data is ``(N, C, *spatial)``; statistics run over all axes but axis 1, the features. Inputs may be of any floating
dtype and any memory layout. Statistics are accumulated in float64 and arithmetic runs in float32 at least; what is
returned in the shape of an input has its dtype.
"""

from bncourse.reference.batchnorm import Cache, batch_norm, batch_norm_backward, batch_norm_inference
from bncourse.reference.gradcheck import numeric_gradient, relative_error
from bncourse.reference.running import RunningStatistics
from bncourse.reference.statistics import Moments, moments, reduction_axes

__all__ = [
    "Cache",
    "Moments",
    "RunningStatistics",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "moments",
    "numeric_gradient",
    "reduction_axes",
    "relative_error",
]
