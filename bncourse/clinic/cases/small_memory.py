"""Gradient accumulation: the gradient is that of 32 images, the statistics are those of 2."""

# The runs are as people write them, without annotations.
# mypy: allow-untyped-defs, allow-untyped-calls

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from bncourse.clinic.case import Case, Diagnosis
from bncourse.clinic.checking import Finding, at_least
from bncourse.clinic.recording import Watch, accuracy
from bncourse.clinic.task import draw, mlp, plain_task


def broken(task, record):
    model = mlp(depth=5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        for x, y in DataLoader(task.train, batch_size=32, shuffle=True):
            optimizer.zero_grad()
            total = 0.0
            for part, label in zip(x.split(2), y.split(2), strict=True):
                loss = functional.cross_entropy(model(part), label) / 16
                loss.backward()
                total += loss.item()
            optimizer.step()
            record(model, total)
    return model


def fixed(task, record):
    layers = mlp(depth=5)
    for i, layer in enumerate(layers):
        if isinstance(layer, nn.BatchNorm1d):
            layers[i] = nn.LayerNorm(64)
    model = layers
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        for x, y in DataLoader(task.train, batch_size=32, shuffle=True):
            optimizer.zero_grad()
            total = 0.0
            for part, label in zip(x.split(2), y.split(2), strict=True):
                loss = functional.cross_entropy(model(part), label) / 16
                loss.backward()
                total += loss.item()
            optimizer.step()
            record(model, total)
    return model


def examine(model: Any, seed: int, watch: Watch) -> Sequence[Finding]:
    """Reads the held-out digits, after a run in which no more images than fit went through the network at once."""
    return [
        at_least(
            "held-out accuracy in inference mode",
            accuracy(model, draw(seed).held_out),
            0.6,
            "The network does not learn the digits. What does each layer see of the 32 images?",
        ),
        Finding(
            "images at once in training",
            str(watch.largest),
            "2 at most",
            0 < watch.largest <= 2,
            "More than two images at once do not fit into memory.",
        ),
    ]


CASE = Case(
    id="small_memory",
    title="Accumulated gradients",
    complaint=(
        "Only two of my images fit into memory. So I add up the gradients of 16 pairs before each step: the same "
        "gradient as that of a batch of 32, I have checked the factor. On a larger machine batches of 32 work fine; "
        "mine hardly learns. Without batch norm neither does."
    ),
    known=(
        "[pytorch/pytorch #46516](https://github.com/pytorch/pytorch/issues/46516), open since 2020, asks for an "
        "accumulation that takes the statistics along."
    ),
    broken=broken,
    fixed=fixed,
    prepare=plain_task,
    examine=examine,
    goal="60 % of the held-out digits are read, with two images at once in memory.",
    diagnoses=(
        Diagnosis(
            "The accumulated gradient is scaled wrongly",
            "Each of the 16 parts is a mean over two images, and counts a sixteenth: the sum is the mean over all 32. "
            "That is right.",
        ),
        Diagnosis(
            "Batch norm normalizes each pair by itself",
            "The sum of gradients is of 32 images, and each was computed in a batch of two. There every feature is "
            "1 for one image and -1 for the other, or close to that, and hardly any gradient comes back through it.",
            right=True,
        ),
        Diagnosis(
            "The running statistics are updated 16 times as often",
            "They are, and with a smaller momentum they would be less noisy. But the accuracy in training mode, which "
            "does not use them, is as bad.",
        ),
        Diagnosis(
            "It needs more steps",
            "A batch of 32 on a larger machine makes as many steps, and works.",
        ),
    ),
    hints=(
        "Both modes are bad. So it is not the running statistics: the network has not learned.",
        "What are the two outputs of batch norm for a feature with the values 3 and 7? And with 3 and 700?",
        "Which normalization computes the same for an image, whatever else is in the batch?",
    ),
    explanation=(
        "No sum of gradients undoes what each pair's own statistics did. Layer norm and group norm do not look at the "
        "batch, and train here as in batches of 32. Batch norm can stay only if it does not use the pair's statistics."
    ),
)
