"""Batch normalization in Triton kernels, as a PyTorch function.

:func:`batch_norm` runs the kernels on CUDA tensors, and on any tensor where ``TRITON_INTERPRET=1`` was set before the
import; CPU tensors take a path in PyTorch's own functions. It needs torch, which is loaded when it is first asked for;
:mod:`bncourse.kernels.floor`, the least traffic, needs none.

>>> import torch
>>> from bncourse.kernels import batch_norm
>>> x = torch.tensor([[1.0], [3.0], [3.0], [9.0]])
>>> y = batch_norm(x, weight=torch.tensor([6.0]), bias=torch.tensor([10.0]), training=True)
>>> print([round(value, 3) for value in y.ravel().tolist()])
[4.0, 8.0, 8.0, 20.0]
>>> y = batch_norm(x, training=True, residual=x, activation="relu")
>>> print([round(value, 3) for value in y.ravel().tolist()])
[0.0, 2.667, 2.667, 10.667]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bncourse.kernels.operator import batch_norm

__all__ = ["batch_norm"]


def __getattr__(name: str) -> Any:
    if name != "batch_norm":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bncourse.kernels.operator import batch_norm

    globals()[name] = batch_norm
    return batch_norm
