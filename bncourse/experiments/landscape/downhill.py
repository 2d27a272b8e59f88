"""Is there a way down? A search from one point for a path along which the loss of all training images never rises."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float

from bncourse.experiments.landscape.stalls import training_part
from bncourse.lab import MLPEnsemble
from bncourse.lab.objective import Batch, losses

MEMORY = 20
BETWEEN = 3


@dataclass(frozen=True, eq=False)
class Path:
    """A way that the search has found.

    Attributes
    ----------
    losses : (K,), at its corners, from where it began.
    highest : loss on the way, the corners and three points between any two of them included.
    """

    losses: Float[np.ndarray, "K"]
    highest: float

    @property
    def rise(self) -> float:
        """How far the way leads above where it began."""
        return self.highest - float(self.losses[0])


def way_down(network: MLPEnsemble, member: int, iterations: int) -> Path:
    """Search by L-BFGS, in float64, whose line search accepts a corner only if the loss falls.

    Between corners the path is straight. What the loss does there is measured, for a line may lead over a ridge.

    Parameters
    ----------
    network : left as it is.
    member : whose parameters are the beginning.
    iterations : corners at most.
    """
    from scipy.optimize import minimize

    alone = network.subset([member]).double().train()
    parameters = list(alone.parameters())
    sizes = [parameter.numel() for parameter in parameters]
    x, y = training_part(1)
    batch = Batch(x.double(), y)

    def place(point: Float[np.ndarray, "P"]) -> None:
        with torch.no_grad():
            for parameter, values in zip(parameters, torch.split(torch.from_numpy(point.copy()), sizes), strict=True):
                parameter.copy_(values.reshape(parameter.shape))

    def loss_and_gradient(point: Float[np.ndarray, "P"]) -> tuple[float, Float[np.ndarray, "P"]]:
        place(point)
        loss = losses(alone, batch)
        gradients = torch.autograd.grad(loss.sum(), parameters)
        return float(loss.detach()), torch.cat([gradient.flatten() for gradient in gradients]).numpy()

    def loss_at(point: Float[np.ndarray, "P"]) -> float:
        place(point)
        with torch.no_grad():
            return float(losses(alone, batch))

    start = torch.cat([parameter.detach().flatten() for parameter in parameters]).numpy()
    corners = [start]
    minimize(
        loss_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        callback=lambda point: corners.append(point.copy()),
        options={"maxiter": iterations, "maxcor": MEMORY, "ftol": 0.0, "gtol": 1e-9},
    )
    at_corners = np.array([loss_at(corner) for corner in corners])
    shares = np.arange(1, BETWEEN + 1) / (BETWEEN + 1)
    between = [loss_at(before + share * (after - before)) for before, after in pairwise(corners) for share in shares]
    return Path(at_corners, max([*at_corners.tolist(), *between]))
