"""Which code computes: the kernels on a GPU or in Triton's interpreter, PyTorch's functions on a CPU."""

from __future__ import annotations

import os
from types import ModuleType

import torch
from torch import Tensor

from bncourse.kernels.view import View

INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") not in ("", "0")
"""Read once: Triton decides when the kernels are imported."""


def backend(x: Tensor) -> ModuleType:
    """The module whose ``forward`` and ``backward`` serve this tensor."""
    if _by_kernels(x):
        from bncourse.kernels import launch

        return launch
    from bncourse.kernels import cpu

    return cpu


def empty_flags(x: Tensor) -> Tensor:
    """Room for a dense tensor's flags: packed by the kernels; on a CPU one to a byte, laid out as ``x`` is."""
    if _by_kernels(x):
        return x.new_empty(View.of(x).flags_shape, dtype=torch.uint8)
    return torch.empty_like(x, dtype=torch.uint8)


def unpack_flags(flags: Tensor, x: Tensor) -> Tensor:
    """Flags as booleans in the shape of ``x``."""
    if not _by_kernels(x):
        return flags.bool()
    view = View.of(x)
    bits = (flags[..., None] >> torch.arange(8, dtype=torch.uint8, device=x.device)) & 1
    runs = bits.flatten(-2)
    if view.positions > 1:
        return runs[..., : view.positions].reshape(x.shape).bool()
    by_place = runs[:, : view.channels].reshape(x.shape[0], *x.shape[2:], x.shape[1])
    return by_place.movedim(-1, 1).bool()


def _by_kernels(x: Tensor) -> bool:
    return x.is_cuda or INTERPRETED
