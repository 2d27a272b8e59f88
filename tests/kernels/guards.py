"""Memory between guards: what a kernel leaves unwritten, or touches beyond an array's ends, shows."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

POISON = {False: 0xA5, True: 0x5A}


@dataclass
class Guards:
    """Arrays inside larger ones, whose margins hold NaN (or, for bytes, a pattern).

    A margin's NaN that is read spoils a result; one that is written over is missing at the end. Arrays for results are
    filled in the same way, so that an element that nobody writes is a NaN in a result.

    Attributes
    ----------
    margin : elements on either side. A multiple of 16 keeps arrays aligned to 16 bytes, an odd number does not.
    second : take another pattern for bytes, so that two runs differ in a byte that nobody writes.
    """

    device: torch.device
    margin: int = 64
    second: bool = False
    arenas: list[Tensor] = field(default_factory=list)

    def place(self, values: Tensor) -> Tensor:
        """A copy with the same strides, which must leave no gaps."""
        copy = self._empty(tuple(values.shape), values.stride(), values.dtype)
        return copy.copy_(values)

    def allocate(self, like: Tensor, shape: tuple[int, ...] | None = None, dtype: torch.dtype | None = None) -> Tensor:
        """Stand in for :func:`bncourse.kernels.launch.allocate`."""
        if shape is None:
            return self._empty(tuple(like.shape), like.stride(), like.dtype)
        return self._empty(shape, torch.empty(shape, device="meta").stride(), dtype)

    def check(self) -> None:
        """Fail if a margin was written."""
        for arena in self.arenas:
            for margin in (arena[: self.margin], arena[len(arena) - self.margin :]):
                assert self._is_poison(margin).all(), f"written outside an array of {len(arena)} {arena.dtype}"

    def _empty(self, shape: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        size = torch.Size(shape).numel()
        poison = torch.nan if dtype.is_floating_point else POISON[self.second]
        arena = torch.full((size + 2 * self.margin,), poison, dtype=dtype, device=self.device)
        self.arenas.append(arena)
        return arena.as_strided(shape, stride, self.margin)

    def _is_poison(self, values: Tensor) -> Tensor:
        return values.isnan() if values.dtype.is_floating_point else values == POISON[self.second]
