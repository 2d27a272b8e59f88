"""A NaN batch: the step is skipped, the buffers are not."""

# The runs are as people write them, without annotations.
# mypy: allow-untyped-defs, allow-untyped-calls

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from bncourse.clinic.case import Case, Diagnosis
from bncourse.clinic.checking import Finding, at_least, fitting
from bncourse.clinic.recording import Watch, accuracy, misfit
from bncourse.clinic.task import Task, draw, mlp


def broken(task, record):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(8):
        for x, y in DataLoader(task.train, batch_size=32, shuffle=True):
            loss = functional.cross_entropy(model(x), y)
            if not torch.isfinite(loss):
                continue  # a bad batch: no step
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record(model, loss)
    return model


def fixed(task, record):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(8):
        for x, y in DataLoader(task.train, batch_size=32, shuffle=True):
            if not torch.isfinite(x).all():
                continue  # a bad batch: no step, and no statistics
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record(model, loss)
    return model


def prepare(seed: int) -> Task:
    """800 images, of which one has a pixel without a value."""
    split = draw(seed)
    x = split.train.x.clone()
    x[13, 20] = torch.nan
    return Task(TensorDataset(x, split.train.y), split.validation)


def examine(model: Any, seed: int, watch: Watch) -> Sequence[Finding]:
    """Reads the held-out digits, and looks into the buffers."""
    images = draw(seed).held_out
    buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    bad = sum(int((~torch.isfinite(buffer)).sum()) for buffer in buffers)
    return [
        Finding(
            "values in the buffers that are not finite",
            str(bad) if buffers else "no batch norm",
            "0",
            bool(buffers) and bad == 0,
            "The running statistics are not numbers, or gone. An average that has taken in a NaN never loses it.",
        ),
        at_least("held-out accuracy in inference mode", accuracy(model, images), 0.92),
        fitting(misfit(model, images.x)),
    ]


CASE = Case(
    id="dead_pixel",
    title="A NaN batch poisons the buffers",
    complaint=(
        "Now and then a batch has a loss that is NaN; a pixel of one of my images is broken. I skip the step, as "
        "everybody does, and the loss falls as it should. Validation is that of guessing from the first epoch on: "
        "each image is called a zero. The weights are all finite, I have looked."
    ),
    known=(
        "[pytorch/pytorch #88474](https://github.com/pytorch/pytorch/issues/88474): the loss scaler skips the "
        "step, and the buffers keep the NaN. From 2017: [pytorch/pytorch "
        "#1206](https://github.com/pytorch/pytorch/issues/1206)."
    ),
    broken=broken,
    fixed=fixed,
    prepare=prepare,
    examine=examine,
    goal="92 % of the held-out digits are read, and the running statistics are finite and fit the images.",
    diagnoses=(
        Diagnosis(
            "A NaN has reached the weights",
            "Then the loss would be NaN ever after, and the accuracy in training mode would be that of guessing too.",
        ),
        Diagnosis(
            "Gradients explode and should be clipped",
            "They are fine: the loss falls, step by step. And no gradient is taken of the bad batch at all.",
        ),
        Diagnosis(
            "The forward pass has put NaN into the running statistics",
            "They were updated before anybody looked at the loss. From then on each update takes nine tenths of a NaN. "
            "Training does not use them, so it goes on; inference has nothing else.",
            right=True,
        ),
        Diagnosis(
            "The network has collapsed to one class",
            "In training mode it reads nearly every digit. Among logits that are all NaN, `argmax` finds the first.",
        ),
    ),
    hints=(
        "What does a forward pass in training mode change, even if nothing follows it?",
        "Look at the input before the network does.",
    ),
    explanation=(
        "The batch must not reach the network: by the time its loss is seen, the buffers have it. Where only the loss "
        "can tell, keep a copy of the buffers and put it back, or estimate the statistics anew at the end."
    ),
)
