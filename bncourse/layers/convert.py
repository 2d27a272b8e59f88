"""Batch norm layers of a model become ours, or ``torch.nn``'s again."""

from __future__ import annotations

from types import ModuleType
from typing import Any, TypeVar

import torch

from bncourse.layers import batchnorm

Model = TypeVar("Model", bound=torch.nn.Module)

NAMES = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
CLASSES = {getattr(place, name) for place in (torch.nn, batchnorm) for name in NAMES}


def convert(model: Model, to: ModuleType = batchnorm) -> Model:
    """Turn the batch norm layers of a model into ours, in place, or back into ``torch.nn``'s.

    A layer of ours has the state of the one in ``torch.nn``: they differ in their class alone, and the class is what
    is changed. The layer remains the same object, with its parameters and buffers (an optimizer goes on), its mode,
    its hooks, and whatever else refers to it.

    Left as they are: subclasses of those layers, whose ``forward`` is somebody's own; ``SyncBatchNorm``; and lazy
    layers, until their first batch has made them ``torch.nn``'s.

    Parameters
    ----------
    model : a module, which may be a batch norm layer itself.
    to : where the classes come from: ``bncourse.layers``, or ``torch.nn``.

    Returns
    -------
    model : the same object.

    Raises
    ------
    TypeError : if ``model`` is no module.
    ValueError : if ``to`` is neither of the two.

    Examples
    --------
    >>> import torch
    >>> from bncourse.layers import convert
    >>> model = convert(torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5)))
    >>> type(model[1]).__module__
    'bncourse.layers.batchnorm'
    >>> type(convert(model, to=torch.nn)[1]) is torch.nn.BatchNorm1d
    True
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"expected model to be a torch.nn.Module, got {type(model).__name__}")
    targets: dict[str, Any] = {name: getattr(to, name, None) for name in NAMES}
    if not CLASSES.issuperset(targets.values()):
        raise ValueError(f"expected `to` to be bncourse.layers or torch.nn, got {getattr(to, '__name__', to)!r}")
    for module in model.modules():
        if type(module) in CLASSES:
            module.__class__ = targets[type(module).__name__]
    return model
