"""A last batch of one, which someone has doubled to get rid of an error."""

# The runs are as people write them, without annotations.
# mypy: allow-untyped-defs, allow-untyped-calls

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import DataLoader

from bncourse.clinic.case import Case, Diagnosis
from bncourse.clinic.checking import Finding, at_least
from bncourse.clinic.recording import Watch, accuracy
from bncourse.clinic.task import Task, draw, mlp, plain_task

IMAGES = 801


def broken(task, record):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(6):
        for x, y in DataLoader(task.train, batch_size=32, shuffle=True):
            if len(x) == 1:  # or it raises "Expected more than 1 value per channel"
                x, y = x.repeat(2, 1), y.repeat(2)
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record(model, loss)
    return model


def fixed(task, record):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(6):
        for x, y in DataLoader(task.train, batch_size=32, shuffle=True, drop_last=True):
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record(model, loss)
    return model


def prepare(seed: int) -> Task:
    """801 images, which leave one over in batches of 32."""
    return plain_task(seed, IMAGES)


def examine(model: Any, seed: int, watch: Watch) -> Sequence[Finding]:
    """Looks for batches without a variance, and reads the held-out digits."""
    constant = sum(batch.constant for batches in watch.batches.values() for batch in batches)
    return [
        Finding(
            "calls of batch norm on a batch of (nearly) equal images",
            str(constant) if watch.batches else "no batch norm",
            "0",
            bool(watch.batches) and constant == 0,
            "Batch norm still meets batches whose variance is 0, or is gone altogether. From equal images it makes "
            "beta, whatever they show: the network is asked for a digit that it cannot see.",
        ),
        at_least(
            "held-out accuracy in inference mode",
            accuracy(model, draw(seed, IMAGES).held_out),
            0.92,
            "It has not learned as well as it would without its last batches.",
        ),
    ]


CASE = Case(
    id="loss_spikes",
    title="A last batch of one",
    complaint=(
        'My run used to die at the end of the first epoch: "Expected more than 1 value per channel when training". '
        "That was a batch with a single image, so I put it in twice. Now it runs, but the loss shoots up every "
        "26 steps, as high as at the first step. Are some of my labels wrong?"
    ),
    known=(
        "[pytorch/pytorch #4534](https://github.com/pytorch/pytorch/issues/4534), where the error is explained "
        "that was put in with PyTorch 0.3."
    ),
    broken=broken,
    fixed=fixed,
    prepare=prepare,
    examine=examine,
    goal="92 % of the held-out digits are read, and no batch norm layer is trained on a batch of equal or nearly "
    "equal images.",
    diagnoses=(
        Diagnosis(
            "A few labels are wrong, and the loss is high where they come up",
            "Batches are drawn anew in each epoch. A wrong label would come up at another step in each, and not every "
            "26 steps.",
        ),
        Diagnosis(
            "The rate is too high, and the loss diverges from time to time",
            "A divergence would stay for a while, and would not keep to a clock. The loss is back after one step.",
        ),
        Diagnosis(
            "The last batch has no variance, so that the network sees nothing of it",
            "26 steps are an epoch: 801 images are 25 batches of 32, and one. Twice the same image has variance 0, and "
            "batch norm returns beta for any image. The loss is that of guessing, and its gradient goes into the "
            "weights.",
            right=True,
        ),
    ),
    hints=(
        "How many batches has an epoch, and what is in the last one?",
        "What does batch norm return for two equal rows? And for one row and any other?",
        "`DataLoader` has an argument for what is left over.",
    ),
    explanation=(
        "drop_last=True leaves the odd image out; shuffling sees to it that it is another one in each epoch. To share "
        "it out among the other batches, or to skip the batch in the loop, does as well."
    ),
    every=1,
    curves=("loss",),
)
