"""Train an ensemble with momentum SGD, every member on its own batches and at its own learning rate."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bncourse.lab.data import Split
from bncourse.lab.networks import MLPEnsemble


@dataclass(frozen=True, eq=False)
class History:
    """What was seen while S members trained for T steps.

    Attributes
    ----------
    batch_loss : (S, T), cross-entropy of each step's batch, before that step's update.
    evaluated_at : (K,), how many updates had been made at each evaluation.
    validation_accuracy : (S, K), in inference mode; a member that diverged to NaN scores 0.
    """

    batch_loss: Float[np.ndarray, "S T"]
    evaluated_at: Int[np.ndarray, "K"]
    validation_accuracy: Float[np.ndarray, "S K"]


def train(
    network: MLPEnsemble,
    data: Split,
    rates: Sequence[float],
    steps: int,
    batch_size: int = 50,
    momentum: float = 0.9,
    evaluate_every: int = 1,
) -> History:
    r"""Train every member in place for the same number of steps.

    .. math:: v \leftarrow \mu v + \nabla L, \qquad \theta \leftarrow \theta - \eta v

    with the member's own rate :math:`\eta` and velocities that start at zero, as in :class:`torch.optim.SGD`
    (equation ``eq-momentum-sgd``). A step's batch depends on the member's seed alone, so members of equal seed see
    equal batches. A rate that is too large is no error: its member runs on to the end, at NaN if need be.

    Parameters
    ----------
    network : left in inference mode, with the parameters after the last step.
    data : its training part is trained on, its validation part scored. The test part is not touched.
    rates : one learning rate for each member.
    steps : number of updates.
    batch_size : images per update; an epoch drops what does not fill a batch.
    momentum : the weight of the old velocity.
    evaluate_every : updates from one evaluation to the next.

    Raises
    ------
    ValueError : if there is not one rate for each member, or a batch is larger than the training part.
    """
    if len(rates) != len(network.seeds):
        raise ValueError(f"expected one rate for each of {len(network.seeds)} members, got {len(rates)} rates")
    if not 1 <= batch_size <= len(data.train_x):
        raise ValueError(f"expected batch_size between 1 and {len(data.train_x)}, got {batch_size}")
    rate = torch.tensor(rates, dtype=torch.float32).reshape(-1, 1, 1)
    parameters = list(network.parameters())
    velocities = [torch.zeros_like(parameter) for parameter in parameters]
    losses, evaluated_at, scores = [], [], []
    batches = batch_indices(len(data.train_x), batch_size, network.seeds)
    for step in range(1, steps + 1):
        rows = next(batches)
        network.train()
        logits = network(data.train_x[rows])
        loss = nn.functional.cross_entropy(logits, data.train_y[rows], reduction="none").mean(dim=1)
        gradients = torch.autograd.grad(loss.sum(), parameters)
        with torch.no_grad():
            for parameter, velocity, gradient in zip(parameters, velocities, gradients, strict=True):
                velocity.mul_(momentum).add_(gradient)
                parameter.sub_(rate * velocity)
        losses.append(loss.detach())
        if step % evaluate_every == 0 or step == steps:
            evaluated_at.append(step)
            scores.append(accuracy(network, data.validation_x, data.validation_y))
    return History(
        batch_loss=torch.stack(losses, dim=1).numpy(),
        evaluated_at=np.array(evaluated_at),
        validation_accuracy=np.stack(scores, axis=1),
    )


def batch_indices(examples: int, batch_size: int, seeds: Sequence[int]) -> Iterator[Int[Tensor, "S B"]]:
    """Rows of the training part for each member and step: a new order each epoch, without end."""
    generators = [np.random.default_rng([seed, 1]) for seed in seeds]
    while True:
        orders = torch.from_numpy(np.stack([generator.permutation(examples) for generator in generators]))
        for start in range(0, examples - batch_size + 1, batch_size):
            yield orders[:, start : start + batch_size]


def accuracy(network: MLPEnsemble, x: Float[Tensor, "N F"], y: Int[Tensor, "N"]) -> Float[np.ndarray, "S"]:
    """Share of inputs that each member classifies rightly, in inference mode; a member at NaN scores 0."""
    network.eval()
    with torch.no_grad():
        logits = network(x.expand(len(network.seeds), *x.shape))
    right = (logits.argmax(dim=1) == y) & logits.isfinite().all(dim=1)
    return np.asarray(right.double().mean(dim=1).numpy())
