"""The mathematics, in NumPy: what every other implementation in the course is compared with.

Data is ``(N, C, *spatial)``; statistics run over all axes but axis 1, the features. Inputs may be of any floating
dtype and any memory layout. Statistics are accumulated in float64 and arithmetic runs in float32 at least; what is
returned in the shape of an input has its dtype.
"""

from bncourse.reference.batchnorm import (
    Cache,
    batch_norm,
    batch_norm_backward,
    batch_norm_backward_staged,
    batch_norm_inference,
    batch_norm_inference_backward,
)
from bncourse.reference.gradcheck import complex_step_gradient, numeric_gradient, relative_error
from bncourse.reference.norms import (
    NormCache,
    group_norm,
    group_norm_backward,
    instance_norm,
    instance_norm_backward,
    layer_norm,
    layer_norm_backward,
    rms_norm,
    rms_norm_backward,
)
from bncourse.reference.running import RunningStatistics
from bncourse.reference.second_order import batch_norm_double_backward
from bncourse.reference.statistics import Moments, merge, moments, one_pass_moments, reduction_axes, welford

__all__ = [
    "Cache",
    "Moments",
    "NormCache",
    "RunningStatistics",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_backward_staged",
    "batch_norm_double_backward",
    "batch_norm_inference",
    "batch_norm_inference_backward",
    "complex_step_gradient",
    "group_norm",
    "group_norm_backward",
    "instance_norm",
    "instance_norm_backward",
    "layer_norm",
    "layer_norm_backward",
    "merge",
    "moments",
    "numeric_gradient",
    "one_pass_moments",
    "reduction_axes",
    "relative_error",
    "rms_norm",
    "rms_norm_backward",
    "welford",
]
