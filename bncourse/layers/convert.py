"""Batch norm layers of a model become ours, or ``torch.nn``'s again, or synchronized ones."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from bncourse.layers import batchnorm
from bncourse.layers.sync import SyncBatchNorm

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Model = TypeVar("Model", bound=torch.nn.Module)

NAMES = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
CLASSES = {getattr(place, name) for place in (torch.nn, batchnorm) for name in NAMES}
SYNCHRONIZED: set[type[torch.nn.Module]] = {torch.nn.SyncBatchNorm, SyncBatchNorm}


def convert(
    model: Model, to: ModuleType | type[SyncBatchNorm] = batchnorm, process_group: ProcessGroup | None = None
) -> Model:
    """Turn the batch norm layers of a model into ours, in place, or into ``torch.nn``'s, or into synchronized ones.

    A layer of ours has the state of the one in ``torch.nn``: they differ in their class alone, and the class is what
    is changed. The layer remains the same object, with its parameters and buffers (an optimizer goes on), its mode,
    its hooks, and whatever else refers to it.

    ``to=SyncBatchNorm`` takes ``torch.nn.SyncBatchNorm`` along, and tells each layer its name in the model, for errors.
    The way back leads to what a layer was before. One that was made as a ``SyncBatchNorm`` does not know how many axes
    its input has: it becomes ``torch.nn.SyncBatchNorm``, or remains what it is.

    Left as they are: subclasses of those layers, whose ``forward`` is somebody's own; ``torch.nn.SyncBatchNorm``, in
    the other directions; and lazy layers, until their first batch has made them ``torch.nn``'s.

    Parameters
    ----------
    model : a module, which may be a batch norm layer itself.
    to : where the classes come from, ``bncourse.layers`` or ``torch.nn``; or :class:`~bncourse.layers.SyncBatchNorm`.
    process_group : for ``SyncBatchNorm``, the ranks that make one batch together. None for all, or for the group that a
        synchronized layer has.

    Returns
    -------
    model : the same object.

    Raises
    ------
    TypeError : if ``model`` is no module.
    ValueError : if ``to`` is none of the three; for a ``process_group`` without ``to=SyncBatchNorm``.

    Examples
    --------
    >>> import torch
    >>> from bncourse.layers import SyncBatchNorm, convert
    >>> model = convert(torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5)))
    >>> type(model[1]).__module__
    'bncourse.layers.batchnorm'
    >>> type(convert(model, to=SyncBatchNorm)[1]).__name__
    'SyncBatchNorm'
    >>> type(convert(model, to=torch.nn)[1]) is torch.nn.BatchNorm1d
    True
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"expected model to be a torch.nn.Module, got {type(model).__name__}")
    if to is SyncBatchNorm:
        for name, module in model.named_modules():
            if type(module) in CLASSES | SYNCHRONIZED:
                _synchronize(module, name, process_group)
        return model
    targets: dict[str, Any] = {name: getattr(to, name, None) for name in NAMES}
    if not CLASSES.issuperset(targets.values()):
        raise ValueError(
            f"expected `to` to be bncourse.layers, torch.nn or SyncBatchNorm, got {getattr(to, '__name__', to)!r}"
        )
    if process_group is not None:
        raise ValueError("expected process_group with to=SyncBatchNorm only")
    targets["SyncBatchNorm"] = torch.nn.SyncBatchNorm if to is torch.nn else SyncBatchNorm
    for module in model.modules():
        if type(module) is SyncBatchNorm:
            _part(module, targets[module.converted_from])
        elif type(module) in CLASSES:
            module.__class__ = targets[type(module).__name__]
    return model


def _synchronize(module: Any, name: str, process_group: ProcessGroup | None) -> None:
    if type(module) is not SyncBatchNorm:
        module.converted_from = type(module).__name__
        module.__class__ = SyncBatchNorm
    module.name = name
    module.process_group = process_group or getattr(module, "process_group", None)


def _part(module: Any, kind: type[torch.nn.Module]) -> None:
    """A synchronized layer becomes another one, and forgets what only synchronized layers know."""
    if kind is SyncBatchNorm:
        return
    module.__class__ = kind
    for attribute in ("name", "converted_from", *(() if kind is torch.nn.SyncBatchNorm else ("process_group",))):
        module.__dict__.pop(attribute, None)
