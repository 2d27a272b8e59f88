"""Momentum misread: 0.99 from another library weighs the new statistic here."""

# The runs are as people write them, without annotations.
# mypy: allow-untyped-defs, allow-untyped-calls

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from bncourse.clinic.case import Case, Diagnosis
from bncourse.clinic.checking import Finding, at_least
from bncourse.clinic.recording import Batch, Watch, accuracy
from bncourse.clinic.task import draw, mlp, plain_task


def broken(task, record):
    model = mlp(momentum=0.99)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(4):
        for x, y in DataLoader(task.train, batch_size=4, shuffle=True):
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record(model, loss)
    return model


def fixed(task, record):
    model = mlp(momentum=0.01)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(4):
        for x, y in DataLoader(task.train, batch_size=4, shuffle=True):
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record(model, loss)
    return model


def examine(model: Any, seed: int, watch: Watch) -> Sequence[Finding]:
    """Reads the held-out digits, after a run whose batches were no larger than memory allows."""
    weight = max((_weight_of_last(norm, batches[-1]) for norm, batches in watch.batches.items()), default=1.0)
    largest = max((batch.size for batches in watch.batches.values() for batch in batches), default=0)
    return [
        at_least(
            "held-out accuracy in inference mode",
            accuracy(model, draw(seed).held_out),
            0.9,
            "In inference mode the network still does not read what it reads in training mode.",
        ),
        Finding(
            "weight of the last batch in the running means",
            f"{weight:.2f}",
            "0.5 at most",
            weight <= 0.5,
            "The running means are mostly those of the last batch.",
        ),
        Finding(
            "largest training batch",
            str(largest),
            "4 at most, and batch norm",
            0 < largest <= 4,
            "Batches stay at 4 images, which is what fits into memory, and the network keeps its batch norm.",
        ),
    ]


def _weight_of_last(norm: _BatchNorm, last: Batch) -> float:
    """By which part of the way to the last batch's mean the running mean has gone with it."""
    if norm.running_mean is None or last.running_mean is None:
        return 1.0
    way, gone = last.mean - last.running_mean, norm.running_mean - last.running_mean
    return float(way @ gone / way.square().sum())


CASE = Case(
    id="ported_network",
    title="Momentum misread",
    complaint=(
        "I ported a network from Keras, layer by layer, with all its settings. Images are large, so a batch has 4. It "
        "trains as well as the original. But validation accuracy jumps up and down from one measurement to the next, "
        "and never comes near what I get in training mode. I have tried half the rate."
    ),
    known=(
        "the same 0.99 in torchvision's MaxViT ([pytorch/vision "
        "#8312](https://github.com/pytorch/vision/pull/8312)), and 0.999 in another port "
        "([kazuto1011/deeplab-pytorch #79](https://github.com/kazuto1011/deeplab-pytorch/issues/79))."
    ),
    broken=broken,
    fixed=fixed,
    prepare=plain_task,
    examine=examine,
    goal="90 % of the held-out digits are read in inference mode, by statistics that are averaged over batches, "
    "with batches of 4.",
    diagnoses=(
        Diagnosis(
            "The rate is too high, and the weights jump about",
            "Then the curve in training mode would jump as well: both modes have the same weights. What differs "
            "between them is only the statistics.",
        ),
        Diagnosis(
            "The running statistics are those of the last batch",
            "In Keras `momentum=0.99` weighs the old value; in PyTorch it weighs the new one. After each step the "
            "running statistics are those of four images, and the curve shows which four came last.",
            right=True,
        ),
        Diagnosis(
            "Batches of 4 are too small for batch norm",
            "They are small, and the batch statistics are noisy. But the network trains well with them, and an average "
            "over many such batches has little noise. Here nothing is averaged.",
        ),
        Diagnosis(
            "It overfits",
            "The curve in training mode is of the same validation images. A network that overfits is bad at them in "
            "both modes.",
        ),
    ),
    hints=(
        "The two curves have the same weights and the same images. What else goes into a batch norm layer's output?",
        "Print `model[1].running_mean` after two successive steps. How much of it is old?",
    ),
    explanation=(
        "PyTorch's momentum is the weight of the new statistic: what Keras calls 0.99 is 0.01 here. The default, 0.1, "
        "does as well, and so does estimating the statistics anew at the end."
    ),
)
