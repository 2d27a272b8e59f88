"""Frozen by requires_grad only: the weights stay, the running statistics follow the new images."""

# The runs are as people write them, without annotations.
# mypy: allow-untyped-defs, allow-untyped-calls

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from bncourse.clinic.case import Case, Diagnosis
from bncourse.clinic.checking import Finding, at_least
from bncourse.clinic.recording import Watch, accuracy
from bncourse.clinic.task import Images, draw, mlp


@dataclass(frozen=True, eq=False)
class BorrowedTask:
    """A trained backbone with its head for the ten digits, and images of a second scanner: is the digit odd?"""

    backbone: nn.Module
    old_head: nn.Module
    train: TensorDataset
    validation: Images
    old_validation: Images


def broken(task, record):
    for parameter in task.backbone.parameters():
        parameter.requires_grad = False
    model = nn.Sequential(task.backbone, nn.Linear(64, 2))
    optimizer = torch.optim.SGD(model[1].parameters(), lr=0.1)
    for _ in range(6):
        model.train()
        for x, y in DataLoader(task.train, batch_size=32, shuffle=True):
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record(model, loss)
    return model


def fixed(task, record):
    for parameter in task.backbone.parameters():
        parameter.requires_grad = False
    model = nn.Sequential(task.backbone, nn.Linear(64, 2))
    optimizer = torch.optim.SGD(model[1].parameters(), lr=0.1)
    for _ in range(6):
        model.train()
        task.backbone.eval()
        for x, y in DataLoader(task.train, batch_size=32, shuffle=True):
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record(model, loss)
    return model


def prepare(seed: int) -> BorrowedTask:
    """Trains the backbone on the first scanner's images."""
    split = draw(seed)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(6):
        for x, y in DataLoader(split.train.dataset(), batch_size=32, shuffle=True):
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    validation = Images(second_scanner(split.validation.x), split.validation.y % 2)
    return BorrowedTask(
        backbone=model[:-1],
        old_head=model[-1],
        train=TensorDataset(second_scanner(split.train.x), split.train.y % 2),
        validation=validation,
        old_validation=split.validation,
    )


def second_scanner(x: Float[Tensor, "N 64"]) -> Float[Tensor, "N 64"]:
    """The images in twice the contrast, and lighter."""
    return 2 * x + 2


def measure(model: Any, task: BorrowedTask, _step: int) -> dict[str, float]:
    """Validation accuracy of the new network, and of the old one with the same backbone."""
    old = nn.Sequential(task.backbone, task.old_head)
    return {"new task": accuracy(model, task.validation), "old task": accuracy(old, task.old_validation)}


def examine(model: Any, seed: int, watch: Watch) -> Sequence[Finding]:
    """Compares the backbone with what it was, on the old images, and reads the new ones."""
    images = draw(seed).held_out
    torch.manual_seed(seed)  # as when the run was prepared: the backbone as it was
    before = prepare(seed).backbone.eval()
    after = copy.deepcopy(model[0]).eval()
    with torch.no_grad():
        expected, found = before(images.x), after(images.x)
    change = float((found - expected).norm() / expected.norm())
    return [
        Finding(
            "features of old images, against before",
            f"changed by {change:.1%}",
            "unchanged",
            change < 1e-4,
            "The backbone computes other features than it did. Compare its whole state_dict with that of before.",
        ),
        at_least(
            "held-out accuracy of the new head",
            accuracy(model, Images(second_scanner(images.x), images.y % 2)),
            0.88,
            "The new head has not learned its task on the features as they are.",
        ),
    ]


CASE = Case(
    id="borrowed_backbone",
    title="Frozen by requires_grad only",
    complaint=(
        "My head for a new scanner sits on the backbone that production uses. I have frozen the backbone: no parameter "
        "has a gradient, and a comparison shows that none has changed. The new task works well. But since I share my "
        "checkpoint, the old task gets worse, and everybody says that it is my doing."
    ),
    known=(
        "[pytorch/pytorch #9046](https://github.com/pytorch/pytorch/issues/9046) and [pytorch/pytorch "
        "#86590](https://github.com/pytorch/pytorch/issues/86590), both open, ask for a way to freeze a layer."
    ),
    broken=broken,
    fixed=fixed,
    prepare=prepare,
    examine=examine,
    goal="The features of old images are what they were, and the new head reads 88 % of its held-out images.",
    diagnoses=(
        Diagnosis(
            "Weight decay shrinks the frozen weights",
            "The optimizer has the head's parameters only, and no decay. And the comparison shows that no parameter "
            "has changed.",
        ),
        Diagnosis(
            "The running statistics follow the new images",
            "They are buffers, not parameters: `requires_grad` says nothing about them. `model.train()` puts the "
            "backbone into training mode as well, and each batch of the second scanner moves them.",
            right=True,
        ),
        Diagnosis(
            "The network forgets the old task while it learns the new one",
            "That is what happens to weights that learn. These did not change.",
        ),
    ),
    hints=(
        "What is in a checkpoint beside the parameters?",
        "Which mode is the backbone in while the head learns? Which call sees to that?",
        "`model.train()` comes again in each epoch: what you set before it does not last.",
    ),
    explanation=(
        "eval() for the backbone after each train() of the whole. The head then learns on the features that inference "
        "will give it, which is an advantage of its own. To compute the features once, in inference mode, does as well."
    ),
    measure=measure,
    curves=("new task", "old task"),
)
