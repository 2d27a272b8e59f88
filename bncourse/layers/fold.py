"""Batch norm layers of a whole model go into the linear and convolutional layers beside them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from bncourse.layers.surgery import FoldingError, Surgery

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Folding:
    """What becomes of one batch norm.

    Attributes
    ----------
    norm : its name in the model.
    into : the name of the layer that takes it in, or None if it stays.
    reason : why it stays, or None.
    """

    norm: str
    into: str | None = None
    reason: str | None = None

    def __str__(self) -> str:
        return f"{self.norm}: into {self.into}" if self.reason is None else f"{self.norm}: stays. {self.reason}"


def fold_batch_norm(model: Model, strict: bool = True) -> Model:
    """Copy a model, and let its batch norms go into the layers beside them.

    In evaluation a batch norm multiplies each channel by a number and adds another. The Linear, convolution or
    transposed convolution before it does that as well, with other weights, and one after it does under conditions
    (:mod:`bncourse.layers.folding`). Which layers are beside each other, :mod:`torch.fx` finds out by tracing the
    model, with the defaults of its ``forward``'s optional arguments. Hooks of its containers run then as well, on
    symbols.

    The copy is of the same class and its modules have the same names. Where a batch norm was,
    :class:`bncourse.layers.folding.Folded` returns its input. New weights are computed in float64 and rounded once, to
    the dtype of the old. A model that cannot be traced may have parts that can:
    ``model.encoder = fold_batch_norm(model.encoder)``.

    Parameters
    ----------
    model : in evaluation mode, with batch norms of ``torch.nn`` or of ours. It is left as it is.
    strict : if False, batch norms that cannot be folded exactly stay. :func:`explain_folding` names them.

    Returns
    -------
    model : the copy, which computes the same up to rounding.

    Raises
    ------
    TypeError : if ``model`` is no module.
    ValueError : if a part of it is in training mode; if it cannot be traced; and where ``strict``, if a batch norm
        cannot be folded exactly. The message names each of these and says why.

    Examples
    --------
    >>> import torch
    >>> from bncourse.layers import fold_batch_norm
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1, bias=False), torch.nn.BatchNorm2d(8))
    >>> fold_batch_norm(model.eval())
    Sequential(
      (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
      (1): Folded(into 0)
    )
    """
    folded, foldings = _fold(model)
    left = [str(folding) for folding in foldings if folding.reason is not None]
    if strict and left:
        raise ValueError(
            f"{len(left)} of {len(foldings)} batch norms cannot be folded exactly (strict=False leaves them in place)\n"
            + "\n".join(left)
        )
    return folded


def explain_folding(model: nn.Module) -> list[Folding]:
    """Tell what :func:`fold_batch_norm` does with each batch norm of a model, in the order of their calls.

    Parameters
    ----------
    model : in evaluation mode. It is left as it is.

    Raises
    ------
    TypeError, ValueError : as :func:`fold_batch_norm`, except that a batch norm that stays is no error.

    Examples
    --------
    >>> import torch
    >>> from bncourse.layers import explain_folding
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU())
    >>> print(*explain_folding(model.eval()))
    1: into 0
    """
    return _fold(model)[1]


def _fold(model: Model) -> tuple[Model, list[Folding]]:
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected model to be a torch.nn.Module, got {type(model).__name__}")
    training = [name or "the model itself" for name, module in model.named_modules() if module.training]
    if training:
        raise ValueError(f"expected model in evaluation mode, got {training[0]} in training mode: call model.eval()")
    model = copy.deepcopy(model)
    foldings = []
    with torch.no_grad():
        surgery = Surgery(model)
        for name, norm in surgery.norms():
            try:
                foldings.append(Folding(name, into=surgery.fold(norm)))
            except FoldingError as error:
                foldings.append(Folding(name, reason=str(error)))
    return model, foldings
