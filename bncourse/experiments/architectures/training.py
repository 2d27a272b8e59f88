"""One arm in one cell: its networks' accuracy, and over how many values they take a mean."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from bncourse.experiments.architectures.settings import Cell, network
from bncourse.experiments.ensembles import final_accuracy
from bncourse.lab import digits, train
from bncourse.lab.recurrent import StepNorm
from bncourse.lab.stacked import StackedBatchNorm


@dataclass(frozen=True)
class Members:
    """Networks of one cell with one norm, each with its rate and seed, and the part that they are scored on."""

    cell: Cell
    norm: str | None
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    part: str
    momentum: float


def train_members(members: Members) -> dict[str, Float[np.ndarray, "S"]]:
    """Train them together; ``accuracy`` (S,) on their part in the end, 0 for one that has diverged."""
    data, cell = digits(), members.cell
    trained = network(cell.architecture, members.norm, members.seeds)
    history = train(
        trained, data, members.rates, cell.steps, cell.batch_size, members.momentum, evaluate_every=cell.steps
    )
    return {"accuracy": final_accuracy(trained, history, data, members.part)}


def values_per_statistic(architecture: str, norm: str | None, batch_size: int) -> list[int]:
    """Over how many values the batch norms of a network average, each number once, in the order of the layers.

    In a recurrent network's norm these values lie along the last axis, in others along all after that of the features.
    """
    counts: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        shape = inputs[0].shape
        counts.append(shape[-1] if isinstance(module, StepNorm) else shape[2:].numel())

    normalized = network(architecture, norm, [0])
    for module in normalized.modules():
        if isinstance(module, StackedBatchNorm | StepNorm):
            module.register_forward_pre_hook(count)
    normalized(torch.zeros(1, batch_size, 64))
    return list(dict.fromkeys(counts))
