"""What is timed: the shapes, formats, dtypes and fusions of the suite, in the order of what matters first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]

SHAPES: tuple[Shape, ...] = (
    # Layers of ResNet-50: early and late, small batch and large.
    (256, 256, 56, 56),
    (32, 512, 28, 28),
    (256, 64, 56, 56),
    (256, 1024, 14, 14),
    (32, 2048, 7, 7),
    (32, 64, 112, 112),
    (256, 128, 28, 28),
    (256, 2048, 7, 7),
    # EfficientNet and ConvNeXt: few channels, and not a power of two.
    (128, 24, 112, 112),
    (128, 40, 28, 28),
    (64, 96, 56, 56),
    # Vectors: of a network of linear layers, a tall batch, a skinny one.
    (8192, 1024),
    (1048576, 64),
    (64, 8192),
    # Tiny, where launching is all, and video.
    (8, 16, 4, 4),
    (8, 64, 16, 56, 56),
)
"""Shapes of the suite, those that matter most first."""
QUICK_SHAPES: tuple[Shape, ...] = ((256, 256, 56, 56), (32, 512, 28, 28), (32, 2048, 7, 7), (8192, 1024))
DTYPES = ("bfloat16", "float32", "float16")
FORMATS = ("channels_first", "channels_last")
FUSIONS = ("", "+relu", "+add+relu")
DIRECTIONS = ("forward", "backward")
OURS = "bncourse"
PEER_NAMES = (
    OURS,
    "PyTorch native",
    "PyTorch",
    "cuDNN",
    "torch.compile",
    "torch.compile, cooperative",
    "one program per channel",
    "apex groupbn",
)


@dataclass(frozen=True)
class Case:
    """One row of the table: a batch, and what is done with it. Forward and backward are both timed.

    Attributes
    ----------
    shape : (N, C) or (N, C, *spatial).
    format : how an image lies in memory; vectors are ``channels_first``, which is all the same for them.
    fusion : what follows batch norm: nothing, ``+relu`` or ``+add+relu``.
    dtype : of the batch.
    """

    shape: Shape
    format: str
    dtype: str
    fusion: str

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape))
        return f"{shape} {self.format} {self.dtype} batch norm{self.fusion}"

    @property
    def key(self) -> dict[str, Any]:
        """What identifies the case, as plain JSON."""
        return {"shape": list(self.shape), "format": self.format, "dtype": self.dtype, "fusion": self.fusion}


def cases(
    shapes: Sequence[Shape] = SHAPES, dtypes: Sequence[str] = DTYPES, fusions: Sequence[str] = FUSIONS
) -> list[Case]:
    """Every case of these, half precision first: a run that is cut short loses what matters least.

    Parameters
    ----------
    shapes, dtypes, fusions : every combination of these is a case, in both memory formats where there are two.
    """
    return [
        Case(shape, layout, dtype, fusion)
        for dtype in dtypes
        for shape in shapes
        for layout in (FORMATS if len(shape) > 2 else FORMATS[:1])
        for fusion in fusions
    ]


def parse_shape(text: str) -> Shape:
    """``"32x64x56x56"`` as a shape.

    Raises
    ------
    ValueError : if it is not two to five positive integers joined by ``x``.
    """
    parts = text.lower().replace(",", "x").split("x")
    if not 2 <= len(parts) <= 5 or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"expected a shape such as 32x64x56x56, got {text!r}")
    return tuple(int(part) for part in parts)
