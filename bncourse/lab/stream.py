"""A probe of residual networks: what flows along the identity, and what each branch adds to it."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from bncourse.lab.measuring import Probe
from bncourse.lab.objective import Step
from bncourse.lab.probes import captured
from bncourse.lab.residual import Residual


@dataclass(frozen=True)
class Stream(Probe):
    r"""Size of a residual network's stream, shares of its branches, and how much of the way straight back is open.

    The network's first hidden layer is not residual, all others are. It reads:

    - ``stream_mean``, ``stream_square``: mean and mean square of what each hidden layer returns, over its units and
      examples.
    - ``branch_share``: in the sum :math:`h + \alpha f(h)` of each hidden layer but the first, the share of the second
      term in the two terms' squares. Their sum over layers is the expected number of branches that a signal passes
      (equation ``eq-layers-passed``).
    - ``straight_share``: of the values that each hidden layer returns, the share from which no ReLU after a sum stands
      at zero on the way along the identities to the last hidden layer. 1 in networks that have none there.

    Parameters
    ----------
    every : steps from one measurement to the next.

    Raises
    ------
    ValueError : if the network's hidden layers but the first are not residual.
    """

    name: ClassVar[str] = "stream"
    every: int = 1

    def measure(self, step: Step) -> dict[str, Float[Tensor, "S L"]]:
        blocks = [layer for layer in step.network.layers if isinstance(layer, Residual)]
        if not blocks or len(blocks) < len(step.network.layers) - 1:
            raise ValueError("expected a residual network, got one whose hidden layers have no branches")
        with torch.no_grad(), captured(step.network.layers) as outputs, captured(b.branch for b in blocks) as changes:
            step.losses()
        values = [output.flatten(1).double() for output in outputs]
        shares = []
        for block, h, change in zip(blocks, outputs, changes, strict=False):
            scaled = change if block.scale is None else block.scale * change
            sizes = [value.flatten(1).double().square().mean(dim=1) for value in (h, scaled)]
            shares.append(sizes[1] / (sizes[0] + sizes[1]))
        open_so_far = torch.ones_like(outputs[-1], dtype=torch.bool)
        straight = [open_so_far.flatten(1).double().mean(dim=1)]
        for block, output in zip(reversed(blocks), reversed(outputs), strict=False):
            if block.activation is not None:
                open_so_far = open_so_far & (output > 0)
            straight.append(open_so_far.flatten(1).double().mean(dim=1))
        return {
            "stream_mean": torch.stack([value.mean(dim=1) for value in values], dim=1),
            "stream_square": torch.stack([value.square().mean(dim=1) for value in values], dim=1),
            "branch_share": torch.stack(shares, dim=1),
            "straight_share": torch.stack(straight[::-1], dim=1),
        }
