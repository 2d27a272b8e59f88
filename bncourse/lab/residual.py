"""The blocks of residual networks, and which options of theirs go together."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bncourse.lab.stacked import per_member


class Residual(nn.Module):
    r""":math:`h \leftarrow \phi(\kappa (h + \alpha f(h)))` with a branch f.

    Parameters
    ----------
    branch : f.
    members : S.
    scale : the number at which :math:`\alpha` starts, which is then learned, for all members or one for each; None for
        no such factor.
    sum_scale : :math:`\kappa`, fixed.
    activation : :math:`\phi`, if there is one after the addition.

    Raises
    ------
    ValueError : if there are several scales, but not one for each member.
    """

    def __init__(
        self,
        branch: nn.Module,
        members: int,
        scale: float | Sequence[float] | None = None,
        sum_scale: float = 1.0,
        activation: "nn.Module | None" = None,
    ) -> None:
        super().__init__()
        self.branch = branch
        start = None if scale is None else per_member("branch_scale", scale, members)
        self.scale = None if start is None else nn.Parameter(start.clone(memory_format=torch.contiguous_format))
        self.sum_scale = sum_scale
        self.activation = activation

    def forward(self, h: Float[Tensor, "S F B"]) -> Float[Tensor, "S F B"]:
        change = self.branch(h)
        h = h + (change if self.scale is None else self.scale * change)
        if self.sum_scale != 1.0:
            h = self.sum_scale * h
        return h if self.activation is None else self.activation(h)


def check_residual(
    residual: str | None,
    hidden: Sequence[int],
    *,
    usual_layers: bool,
    ends_in_norm: bool,
    branch_scale: float | Sequence[float] | None,
    sum_scale: float,
    zero_last_gamma: bool,
) -> None:
    """Raise a ValueError if a network of these options has no meaning.

    Parameters
    ----------
    residual, branch_scale, sum_scale, zero_last_gamma : of :class:`bncourse.lab.MLPEnsemble`.
    hidden : widths of the hidden layers.
    usual_layers : whether they have the usual order and no dropout.
    ends_in_norm : whether batch norm comes last in a branch.
    """
    if residual not in (None, "pre", "post"):
        raise ValueError(f"expected residual to be None, 'pre' or 'post', got {residual!r}")
    if residual and not (usual_layers and len(set(hidden)) == 1):
        raise ValueError(f"expected equal hidden widths, the usual order and no dropout with residual, got {hidden}")
    if not residual and (branch_scale is not None or sum_scale != 1.0):
        raise ValueError("expected residual branches for branch_scale and sum_scale, got residual=None")
    if zero_last_gamma and not ends_in_norm:
        raise ValueError(
            f"expected batch norm and residual='post', whose branches end in it, for zero_last_gamma, "
            f"got residual={residual!r}"
        )
