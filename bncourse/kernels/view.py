"""How a batch is seen by the kernels: as examples, channels and positions, without gaps, cut into tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

TILE = 2048
"""Values in a tile."""

CHANNELS = 64
"""Channels of a tile in which they lie side by side: in half precision a row of them is a 128-byte line of memory."""

WARPS = 4
"""Groups of 32 threads that work on a tile."""

PROGRAMS_PER_CORE = 4
"""Programs for each multiprocessor of the GPU; in the interpreter there are as many in all."""

MERGED = 1024
"""Values of each kind that a program merges at once: few enough for its registers."""

FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""PyTorch's formats in which channels lie side by side, by the number of axes."""


@dataclass(frozen=True)
class View:
    """A dense batch as examples, channels and positions, ``x[n, c, s]`` at ``(n * C + c) * S + s``.

    Where the channels lie side by side, every position counts as an example, and there is one position.
    """

    examples: int
    channels: int
    positions: int

    @classmethod
    def of(cls, x: torch.Tensor) -> View:
        """The view of a tensor that :func:`dense` returned."""
        positions = math.prod(x.shape[2:])
        if positions > 1 and x.is_contiguous():
            return cls(x.shape[0], x.shape[1], positions)
        return cls(x.shape[0] * positions, x.shape[1], 1)

    @property
    def blocks(self) -> dict[str, int]:
        """Lengths of a tile along examples, channels and positions: powers of two, as Triton wants."""
        if self.positions == 1:
            block_c = max(8, min(power_of_two(self.channels), CHANNELS))
            block_n = min(power_of_two(self.examples), TILE // block_c)
            return {"BLOCK_N": block_n, "BLOCK_C": block_c, "BLOCK_S": 1}
        block_s = max(8, min(power_of_two(self.positions), TILE))
        block_n = min(power_of_two(self.examples), TILE // block_s)
        return {"BLOCK_N": block_n, "BLOCK_C": 1, "BLOCK_S": block_s}

    @property
    def sizes(self) -> dict[str, Any]:
        """The kernels' arguments that say how long the axes are.

        A length is passed as a number of units, powers of two that the compiler knows: so it can see that rows begin at
        multiples of 16 bytes, and load many values at once, when C is 24 as well as when it is 64.
        """
        units = {name: math.gcd(size, 16) for name, size in (("C", self.channels), ("S", self.positions))}
        return {
            "N": self.examples,
            "C_units": self.channels // units["C"],
            "S_units": self.positions // units["S"],
            "C_UNIT": units["C"],
            "S_UNIT": units["S"],
        }

    @property
    def flags_shape(self) -> tuple[int, ...]:
        """Bytes for one bit a value: runs of values that lie side by side begin a new byte."""
        if self.positions == 1:
            return self.examples, -(-self.channels // 8)
        return self.examples, self.channels, -(-self.positions // 8)

    def rows(self, splits: int) -> int:
        """How many of the parts into which a channel's sums are split a program merges at once."""
        return min(power_of_two(splits), MERGED // self.blocks["BLOCK_C"])

    def grid(self, cores: int, limit: int | None = None) -> tuple[int, int]:
        """Programs along the channels, and for each of those along the tiles: enough to fill the GPU, no empty ones."""
        blocks = self.blocks
        along_channels = -(-self.channels // blocks["BLOCK_C"])
        tiles = -(-self.examples // blocks["BLOCK_N"]) * -(-self.positions // blocks["BLOCK_S"])
        wanted = -(-PROGRAMS_PER_CORE * cores // along_channels)
        return along_channels, min(tiles, wanted, limit or tiles)


def dense(x: torch.Tensor, like: torch.Tensor | None = None) -> torch.Tensor:
    """``x``, copied if need be, without gaps: contiguous or channels last, or in the format of another dense tensor."""
    if like is not None:
        return x if x.stride() == like.stride() else torch.empty_like(like, dtype=x.dtype).copy_(x)
    if x.is_contiguous() or _is_channels_last(x):
        return x
    channels_side_by_side = x.ndim in FORMATS and x.stride(1) == 1
    return x.contiguous(memory_format=FORMATS[x.ndim] if channels_side_by_side else torch.contiguous_format)


def accumulator_dtype(x: torch.Tensor) -> torch.dtype:
    """In which statistics are computed and kept: float32, and float64 where ``x`` is."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def power_of_two(size: int) -> int:
    """The smallest power of two that is not below."""
    return 1 << max(size - 1, 0).bit_length()


def _is_channels_last(x: torch.Tensor) -> bool:
    return x.ndim in FORMATS and x.is_contiguous(memory_format=FORMATS[x.ndim])
