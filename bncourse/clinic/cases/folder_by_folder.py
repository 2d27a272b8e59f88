"""Eval forgotten: predictions depend on the batch in which an image is asked about."""

# The runs are as people write them, without annotations.
# mypy: allow-untyped-defs, allow-untyped-calls

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from bncourse.clinic.case import Case, Diagnosis
from bncourse.clinic.checking import Finding, at_least
from bncourse.clinic.recording import Watch
from bncourse.clinic.task import Images, Task, draw, mlp, plain_task

Predict = Callable[[Tensor], Tensor]


def broken(task, record):
    model = mlp()

    def predict(images):
        with torch.no_grad():
            return model(images).argmax(dim=1)

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(8):
        for x, y in DataLoader(task.train, batch_size=32, shuffle=True):
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record(predict, loss)
    return predict


def fixed(task, record):
    model = mlp()

    def predict(images):
        model.eval()
        with torch.no_grad():
            answers = model(images).argmax(dim=1)
        model.train()
        return answers

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(8):
        for x, y in DataLoader(task.train, batch_size=32, shuffle=True):
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record(predict, loss)
    return predict


def measure(predict: Any, task: Task, _step: int) -> dict[str, float]:
    """Validation accuracy where the images come shuffled, and where they come sorted by class."""
    return {"shuffled": _shuffled(predict, task.validation), "sorted": _sorted(predict, task.validation)}


def examine(predict: Any, seed: int, watch: Watch) -> Sequence[Finding]:
    """Asks about the held-out digits all together, class by class, and one at a time."""
    images = draw(seed).held_out
    by_class = _sorted(predict, images)
    some = range(40)
    try:
        alone = [int(predict(images.x[row : row + 1])) for row in some]
        together = predict(images.x).tolist()
        changed = sum(alone[row] != together[row] for row in some)
        lonely = Finding(
            "of 40 answers, changed by the company",
            str(changed),
            "0",
            changed == 0,
            "What is said about an image depends on the images that are asked about with it.",
        )
    except ValueError as error:
        lonely = Finding("a single image", str(error).split(".")[0], "an answer", False, "It cannot read one image.")
    why = "Asked class by class, it reads few digits: it is in training mode, or was when it should have learned."
    steps = min((len(batches) for batches in watch.batches.values()), default=0)
    learning = Finding(
        "training steps with the statistics of the batch",
        str(steps),
        "100 at least",
        steps >= 100,
        "Hardly a step of its training uses the statistics of its batch: either batch norm is gone, or eval() has been "
        "called and train() has not, and training goes on with statistics that nobody updates.",
    )
    return [at_least("held-out accuracy, class by class", by_class, 0.92, why), lonely, learning]


def _shuffled(predict: Predict, images: Images) -> float:
    return float((predict(images.x) == images.y).float().mean())


def _sorted(predict: Predict, images: Images) -> float:
    """In batches of up to 16 images of one class."""
    right = 0
    for digit in range(10):
        for batch in images.x[images.y == digit].split(16):
            # A single one left over goes in twice, since in training mode it could not be asked about.
            right += int((predict(batch if len(batch) > 1 else batch.repeat(2, 1)) == digit)[: len(batch)].sum())
    return right / len(images)


CASE = Case(
    id="folder_by_folder",
    title="Eval forgotten",
    complaint=(
        "Validation images lie in ten folders, one for each digit, and are read folder by folder. Hardly "
        "any is read. Before, I had shuffled them, and nearly all were. They are the same images! And for a single one "
        "I get an error."
    ),
    known=(
        "[pytorch/pytorch #5406](https://github.com/pytorch/pytorch/issues/5406) and [pytorch/pytorch "
        "#4741](https://github.com/pytorch/pytorch/issues/4741): the modes differ, which is what they are for."
    ),
    broken=broken,
    fixed=fixed,
    prepare=plain_task,
    examine=examine,
    goal="92 % of the held-out digits are read class by class, a single image gets the same answer as in company, and "
    "training uses the statistics of its batches.",
    diagnoses=(
        Diagnosis(
            "The folders are mixed up, so that the labels are wrong",
            "Then shuffling would not help: each image keeps its label.",
        ),
        Diagnosis(
            "The network predicts in training mode",
            "Each batch is normalized with its own statistics. What all its images have in common, and in a folder "
            "that is the digit, is subtracted. And each prediction moves the running statistics.",
            right=True,
        ),
        Diagnosis(
            "The running statistics are bad",
            "They may be, by now: each prediction has moved them. But nobody has read them so far, or a single image "
            "would get an answer and the order would not matter.",
        ),
        Diagnosis(
            "The network has learned the classes in other proportions",
            "The accuracy over all folders is an average over the same images as the shuffled one.",
        ),
    ),
    hints=(
        "Which statistics does a layer use that can be asked about several images, and not about one?",
        "`predict` is called during training too: what it changes has to be changed back.",
    ),
    explanation=(
        "eval() before predicting, and train() after it, or the rest of the training would go on with frozen "
        "statistics: the second half of this fault is at least as frequent as the first."
    ),
    measure=measure,
    curves=("shuffled", "sorted"),
)
