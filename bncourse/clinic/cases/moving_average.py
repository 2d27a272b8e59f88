"""Weights averaged without their statistics."""

# The runs are as people write them, without annotations.
# mypy: allow-untyped-defs, allow-untyped-calls

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from bncourse.clinic.case import Case, Diagnosis
from bncourse.clinic.checking import Finding, at_least, fitting
from bncourse.clinic.recording import Watch, accuracy, misfit
from bncourse.clinic.task import draw, mlp, plain_task


def broken(task, record):
    model = mlp(depth=4)
    average = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(8):
        for x, y in DataLoader(task.train, batch_size=32, shuffle=True):
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            pairs = zip(average.parameters(), model.parameters(), strict=True)
            with torch.no_grad():
                for mean, new in pairs:
                    mean.lerp_(new, 0.1)
            record(average, loss)
    return average


def fixed(task, record):
    model = mlp(depth=4)
    average = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(8):
        for x, y in DataLoader(task.train, batch_size=32, shuffle=True):
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            pairs = zip(average.parameters(), model.parameters(), strict=True)
            buffers = zip(average.buffers(), model.buffers(), strict=True)
            with torch.no_grad():
                for mean, new in pairs:
                    mean.lerp_(new, 0.1)
                for kept, last in buffers:
                    kept.copy_(last)
            record(average, loss)
    return average


def examine(model: Any, seed: int, watch: Watch) -> Sequence[Finding]:
    """Reads the held-out digits with what was handed over."""
    images = draw(seed).held_out
    last = _is_trained(model, watch)
    return [
        at_least(
            "held-out accuracy in inference mode",
            accuracy(model, images),
            0.92,
            "In inference mode the average still reads badly. Which statistics does it have?",
        ),
        Finding(
            "batch norm layers that keep statistics",
            str(_tracking(model)),
            "4",
            _tracking(model) == 4,
            "The network keeps its four batch norm layers.",
        ),
        Finding(
            "weights handed over",
            "those of the last step" if last else "an average",
            "an average",
            not last,
            "These are the last weights and not their average, which is what its owner wants to use.",
        ),
        fitting(misfit(model, images.x)),
    ]


def _is_trained(model: nn.Module, watch: Watch) -> bool:
    """Whether a layer has the very gamma of a layer that a gradient has reached."""
    trained = [norm.weight for norm in watch.batches if norm.weight is not None and norm.weight.grad is not None]
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm1d)]
    return any(torch.equal(norm.weight, gamma) for norm in norms for gamma in trained)


def _tracking(model: nn.Module) -> int:
    return sum(getattr(layer, "running_var", None) is not None for layer in model.modules())


CASE = Case(
    id="moving_average",
    title="Weights averaged without their statistics",
    complaint=(
        "I keep a moving average of the weights, which is known to be better than the last ones. Mine is far worse "
        "than the last ones. Three times as many steps hardly help, and a slower average does not help at all."
    ),
    known=(
        "[pytorch/pytorch #84053](https://github.com/pytorch/pytorch/issues/84053), in PyTorch's own "
        "`AveragedModel`, mended since. {cite:t}`izmailov2018averaging` make a pass over the data for the "
        "statistics of the average."
    ),
    broken=broken,
    fixed=fixed,
    prepare=plain_task,
    examine=examine,
    goal="92 % of the held-out digits are read in inference mode by the averaged network, with batch norm whose "
    "running statistics fit it.",
    diagnoses=(
        Diagnosis(
            "The average has the statistics of the first step",
            "`parameters()` gives weights, gamma and beta. The running means and variances are buffers, and those of "
            "the copy are 0 and 1, as when it was made. In training mode, where they are not used, it reads well.",
            right=True,
        ),
        Diagnosis(
            "The average is too slow, and lags behind",
            "With 0.1 it lags by about ten steps of two hundred. And in training mode, "
            "which has the same lag, it reads well.",
        ),
        Diagnosis(
            "Weights of a network cannot be averaged, since it is not linear",
            "Weights that lie on one path can: in training mode the average reads as well as the last ones, or better.",
        ),
    ),
    hints=(
        "Compare the average in both modes.",
        "What is in `state_dict()` and not in `parameters()`?",
        "The averaged network has activations of its own: the surest statistics are those of a pass over the data.",
    ),
    explanation=(
        "With the buffers of the last step the average reads well. Those are the statistics of the last weights, and "
        "the averaged network has activations of its own: where the two are far apart, make a pass over the data in "
        "training mode, as torch.optim.swa_utils.update_bn does."
    ),
)
