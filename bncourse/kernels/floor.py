"""The least traffic of batch normalization, counted: what has to cross a GPU's memory, and the time that takes.

Pure Python: neither torch nor a GPU is needed to know the floor. A pass over the batch is the arrays that it reads and
those that it writes; the floor of an operation is the sum over the passes of its design.

``"eager"``
    One function after another, as PyTorch runs them: batch norm in two passes, then the sum, then the ReLU.
``"two-pass"``
    Fused. One pass for the sums over the batch, and one that uses them and does all the rest.
``"on-chip"``
    Fused, and the batch stays on the chip between the two: every array crosses memory once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

BYTES = {"bfloat16": 2, "float16": 2, "float32": 4, "float64": 8}
"""Of one value, by dtype."""

DESIGNS = ("eager", "two-pass", "on-chip")
"""How an operation is carried out: one kernel a step, as few passes as it takes, or a batch that stays on the chip."""


class Pass(NamedTuple):
    """One trip over the batch: the arrays that are read, and those that are written.

    All have the shape of ``x``. ``flags`` has a bit for each value: what the ReLU let through.

    Attributes
    ----------
    reads, writes : names of the arrays.
    """

    reads: tuple[str, ...]
    writes: tuple[str, ...]


class Device(NamedTuple):
    """What a GPU's datasheet promises.

    Attributes
    ----------
    bandwidth : bytes per second between the GPU and its memory. A copy reaches some nine tenths of it.
    flops : floating-point operations per second in float32, outside the matrix units; an addition fused with a
        multiplication counts as two.
    source : the document that says so.
    """

    bandwidth: float
    flops: float
    source: str


DEVICES = {
    "T4": Device(0.320e12, 8.1e12, "NVIDIA Turing GPU architecture, whitepaper"),
    "L4": Device(0.300e12, 30.3e12, "NVIDIA L4 Tensor Core GPU, datasheet"),
    "RTX 4090": Device(1.008e12, 82.6e12, "NVIDIA Ada GPU architecture, whitepaper"),
    "A100 40GB": Device(1.555e12, 19.5e12, "NVIDIA A100 Tensor Core GPU, datasheet"),
    "A100 80GB PCIe": Device(1.935e12, 19.5e12, "NVIDIA A100 Tensor Core GPU, datasheet"),
    "A100 80GB SXM": Device(2.039e12, 19.5e12, "NVIDIA A100 Tensor Core GPU, datasheet"),
    "H100 PCIe": Device(2.0e12, 51e12, "NVIDIA H100 Tensor Core GPU, datasheet"),
    "H100 SXM": Device(3.35e12, 67e12, "NVIDIA H100 Tensor Core GPU, datasheet"),
    "H200 SXM": Device(4.8e12, 67e12, "NVIDIA H200 Tensor Core GPU, datasheet"),
}
"""GPUs by name."""

_STATISTICS = Pass(("x",), ())
_NORMALIZE = Pass(("x",), ("y",))
_SUMS = Pass(("dy", "x"), ())
_GRADIENT = Pass(("dy", "x"), ("dx",))
_ADD = Pass(("y", "residual"), ("sum",))
_RELU = Pass(("sum",), ("activated",))
_RELU_BACKWARD = Pass(("dy", "activated"), ("dsum",))
_FUSED_ADD = Pass(("x", "residual"), ("y",))
_FUSED_ADD_FLAGS = Pass(("x", "residual"), ("y", "flags"))

_PASSES: dict[str, dict[str, tuple[Pass, ...]]] = {
    "inference": {"eager": (_NORMALIZE,), "fused": (_NORMALIZE,)},
    "inference+relu": {"eager": (_NORMALIZE, _RELU), "fused": (_NORMALIZE,)},
    "inference+add+relu": {"eager": (_NORMALIZE, _ADD, _RELU), "fused": (_FUSED_ADD,)},
    "forward": {"eager": (_STATISTICS, _NORMALIZE), "two-pass": (_STATISTICS, _NORMALIZE), "on-chip": (_NORMALIZE,)},
    # Without a residual, the backward pass sees from x what the ReLU let through: no flags.
    "forward+relu": {
        "eager": (_STATISTICS, _NORMALIZE, _RELU),
        "two-pass": (_STATISTICS, _NORMALIZE),
        "on-chip": (_NORMALIZE,),
    },
    "forward+add+relu": {
        "eager": (_STATISTICS, _NORMALIZE, _ADD, _RELU),
        "two-pass": (_STATISTICS, _FUSED_ADD_FLAGS),
        "on-chip": (_FUSED_ADD_FLAGS,),
    },
    "backward": {"eager": (_SUMS, _GRADIENT), "two-pass": (_SUMS, _GRADIENT), "on-chip": (_GRADIENT,)},
    "backward+relu": {
        "eager": (_RELU_BACKWARD, _SUMS, _GRADIENT),
        "two-pass": (_SUMS, _GRADIENT),
        "on-chip": (_GRADIENT,),
    },
    # The gradient of a sum is the same for both terms: eager code writes none for the residual.
    "backward+add+relu": {
        "eager": (_RELU_BACKWARD, _SUMS, _GRADIENT),
        # The first pass can write the residual's gradient, which spares the second one the flags.
        "two-pass": (Pass(("dy", "x", "flags"), ("dresidual",)), Pass(("dresidual", "x"), ("dx",))),
        "on-chip": (Pass(("dy", "x", "flags"), ("dx", "dresidual")),),
    },
}

OPERATIONS = tuple(_PASSES)
"""What has a floor: inference, and forward and backward in training, each alone or fused with what follows."""

_PER_CHANNEL = {
    "inference": ("weight", "bias", "running_mean", "running_var"),
    # The running statistics are read and written.
    "forward": ("weight", "bias", "mean", "inv_std", *2 * ("running_mean", "running_var")),
    "backward": ("weight", "mean", "inv_std", "dweight", "dbias"),
}

_FLOPS = {
    # x - mean, times scale, plus shift.
    "inference": 3,
    # Statistics: a sum; then x - mean, squared, and a sum.
    "forward": 4 + 3,
    # Sums: x_hat (2), of dy, of dy * x_hat (2); gradient: x_hat (2), less the mean, less x_hat * dweight (2), scaled.
    "backward": 5 + 6,
}


def passes(operation: str, design: str = "two-pass") -> tuple[Pass, ...]:
    """The passes over the batch that an operation takes.

    Parameters
    ----------
    operation : one of ``OPERATIONS``: ``inference``, ``forward`` (in training) or ``backward``, alone or followed by
        ``+relu`` or ``+add+relu``, where a residual is added before the ReLU.
    design : one of ``DESIGNS``. Inference has one pass in either fused design.

    Raises
    ------
    ValueError : for another operation or design.

    Examples
    --------
    >>> from bncourse.kernels.floor import passes
    >>> passes("forward")
    (Pass(reads=('x',), writes=()), Pass(reads=('x',), writes=('y',)))
    """
    if operation not in _PASSES:
        raise ValueError(f"expected operation to be one of {', '.join(OPERATIONS)}, got {operation!r}")
    if design not in DESIGNS:
        raise ValueError(f"expected design to be one of {', '.join(DESIGNS)}, got {design!r}")
    by_design = _PASSES[operation]
    return by_design[design] if design in by_design else by_design["fused"]


def bytes_per_value(operation: str, dtype: str = "bfloat16", design: str = "two-pass") -> float:
    """Bytes that cross memory for each value of ``x``; a flag is an eighth of one.

    Parameters
    ----------
    operation, design : as in :func:`passes`.
    dtype : one of ``BYTES``.

    Raises
    ------
    ValueError : for an operation or a design that :func:`passes` refuses, or a dtype that ``BYTES`` has not.

    Examples
    --------
    >>> from bncourse.kernels.floor import bytes_per_value
    >>> bytes_per_value("forward"), bytes_per_value("forward", design="on-chip")
    (6, 4)
    """
    if dtype not in BYTES:
        raise ValueError(f"expected dtype to be one of {', '.join(BYTES)}, got {dtype!r}")
    arrays = [name for part in passes(operation, design) for name in (*part.reads, *part.writes)]
    return sum(1 / 8 if name == "flags" else BYTES[dtype] for name in arrays)


def bytes_per_channel(operation: str) -> int:
    """Bytes that cross memory for each channel: parameters and statistics, in float32.

    Parameters
    ----------
    operation : as in :func:`passes`.
    """
    passes(operation)
    values = len(_PER_CHANNEL[operation.split("+")[0]])
    # The bias tells, with x, what the ReLU let through; where there are flags it is not needed.
    return 4 * (values + (operation == "backward+relu"))


def least_bytes(operation: str, shape: Sequence[int], dtype: str = "bfloat16", design: str = "two-pass") -> int:
    """Bytes that cross memory at least, for a batch of this shape, ``(N, C, *spatial)``.

    Parameters
    ----------
    operation, dtype, design : as in :func:`bytes_per_value`.
    shape : of the batch.

    Raises
    ------
    ValueError : for a shape without channels, and as :func:`bytes_per_value`.
    """
    if len(shape) < 2 or min(shape) < 1:
        raise ValueError(f"expected shape (N, C, ...) of positive sizes, got {tuple(shape)}")
    return math.ceil(
        math.prod(shape) * bytes_per_value(operation, dtype, design) + shape[1] * bytes_per_channel(operation)
    )


def bound(
    operation: str, shape: Sequence[int], bandwidth: float, dtype: str = "bfloat16", design: str = "two-pass"
) -> float:
    """Microseconds that the least traffic takes: no kernel of that design is faster, once the batch exceeds the caches.

    Parameters
    ----------
    bandwidth : bytes per second, such as ``DEVICES["H100 SXM"].bandwidth`` or, better, that of a copy on your GPU.
    others : as :func:`least_bytes`.
    operation, shape, dtype, design : as in :func:`least_bytes`.

    Examples
    --------
    >>> from bncourse.kernels.floor import DEVICES, bound
    >>> round(bound("forward", (32, 512, 28, 28), DEVICES["H100 SXM"].bandwidth), 1)  # microseconds
    23.0
    """
    if not bandwidth > 0:
        raise ValueError(f"expected bandwidth in bytes per second, above 0, got {bandwidth}")
    return 1e6 * least_bytes(operation, shape, dtype, design) / bandwidth


def flops_per_value(operation: str) -> int:
    """Floating-point operations for each value of ``x`` in the two-pass kernels: additions, products, comparisons.

    Parameters
    ----------
    operation : as in :func:`passes`.
    """
    passes(operation)
    direction, *fused = operation.split("+")
    if direction == "backward":
        # Without flags, weight * x_hat + bias > 0 is computed again in both passes.
        return _FLOPS[direction] + (6 if fused == ["relu"] else 0)
    return _FLOPS[direction] + len(fused)


def intensity(operation: str, dtype: str = "bfloat16", design: str = "two-pass") -> float:
    """Floating-point operations for each byte of traffic.

    Below ``device.flops / device.bandwidth``, memory is what limits; batch norm is there on every GPU.

    Parameters
    ----------
    operation, dtype, design : as in :func:`bytes_per_value`.

    Examples
    --------
    >>> from bncourse.kernels.floor import intensity
    >>> round(intensity("forward"), 2)  # operations a byte
    1.17
    """
    return flops_per_value(operation) / bytes_per_value(operation, dtype, design)
