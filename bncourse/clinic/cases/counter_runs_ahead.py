"""Checkpointing: what is computed again in the backward pass updates the running statistics again."""

# The runs are as people write them, without annotations.
# mypy: allow-untyped-defs, allow-untyped-calls, disable-error-code=union-attr

from collections.abc import Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader

from bncourse.clinic.case import Case, Diagnosis
from bncourse.clinic.checking import Finding, at_least
from bncourse.clinic.recording import Batch, Watch, accuracy, both_modes
from bncourse.clinic.task import Task, draw, mlp, plain_task


def broken(task, record):
    model = mlp(depth=4)
    body, head = model[:-1], model[-1]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(6):
        for x, y in DataLoader(task.train, batch_size=16, shuffle=True):
            features = checkpoint(body, x, use_reentrant=False)
            loss = functional.cross_entropy(head(features), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record(model, loss)
    return model


def fixed(task, record):
    model = mlp(depth=4)
    body, head = model[:-1], model[-1]

    @contextmanager
    def without_updates():
        norms = [m for m in body.modules() if isinstance(m, nn.BatchNorm1d)]
        for norm in norms:
            norm.momentum = 0.0
            norm.num_batches_tracked.sub_(1)
        try:
            yield
        finally:  # PyTorch ends the recomputation early, with an exception
            for norm in norms:
                norm.momentum = 0.1

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(6):
        for x, y in DataLoader(task.train, batch_size=16, shuffle=True):
            features = checkpoint(
                body,
                x,
                use_reentrant=False,
                context_fn=lambda: (nullcontext(), without_updates()),
            )
            loss = functional.cross_entropy(head(features), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record(model, loss)
    return model


def measure(model: Any, task: Task, step: int) -> dict[str, float]:
    """Accuracy, and how often the layers think that they have been updated in a step."""
    (first, *_) = (layer for layer in model if isinstance(layer, _BatchNorm))
    return {**both_modes(model, task, step), "updates per step": int(first.num_batches_tracked or 0) / step}


def examine(model: Any, seed: int, watch: Watch) -> Sequence[Finding]:
    """Computes the running means that one update with 0.1 for each batch would give, and compares."""
    off, steps = [], 0
    for norm, batches in watch.batches.items():
        once = [each for each, before in zip(batches, [None, *batches], strict=False) if not _again(each, before)]
        expected = torch.zeros(norm.num_features)
        for batch in once:
            expected.lerp_(batch.mean, 0.1)
        assert norm.running_mean is not None
        off.append(float((norm.running_mean - expected).abs().max() / expected.square().mean().sqrt()))
        steps = len(once)
    again = watch.linear_calls / (5 * steps) if steps else 0.0
    worst = max(off, default=float("inf"))
    return [
        Finding(
            "running means, against one update for each batch",
            f"off by {worst:.1%}" if off else "no batch norm",
            "off by 0.1% at most",
            worst < 1e-3,
            "The running statistics are not those of one update with 0.1 for each batch.",
        ),
        Finding(
            "calls of each linear layer in a step",
            f"{again:.1f}",
            "1.4 at least",
            again >= 1.4,
            "The hidden layers keep their activations: memory is what checkpointing is for, and it has to stay.",
        ),
        at_least("held-out accuracy in inference mode", accuracy(model, draw(seed).held_out), 0.9),
    ]


def _again(batch: Batch, before: Batch | None) -> bool:
    """Whether a layer meets a batch once more."""
    return before is not None and batch.size == before.size and bool(torch.equal(batch.mean, before.mean))


CASE = Case(
    id="counter_runs_ahead",
    title="Checkpointing updates twice",
    complaint=(
        "To save memory I have put the hidden layers into `torch.utils.checkpoint`. Loss and accuracy are what they "
        "were. But my checkpoint no longer agrees with the old one: the weights are equal, the running statistics are "
        "not, and `num_batches_tracked` is 600 after 300 steps. Should I care?"
    ),
    known=(
        "[pytorch/pytorch #96136](https://github.com/pytorch/pytorch/issues/96136), open, and [pytorch/pytorch "
        "#62471](https://github.com/pytorch/pytorch/issues/62471); [pfnet/pytorch-pfn-extras "
        "#117](https://github.com/pfnet/pytorch-pfn-extras/pull/117) changes the momentum instead."
    ),
    broken=broken,
    fixed=fixed,
    prepare=plain_task,
    examine=examine,
    goal="The running statistics are those of one update with weight 0.1 for each batch, and the hidden layers are "
    "still recomputed.",
    diagnoses=(
        Diagnosis(
            "The recomputation draws other random numbers",
            "There are none to draw in this network, and `checkpoint` restores the random state where there are. If "
            "the recomputed activations were others, the weights would be others too.",
        ),
        Diagnosis(
            "The layers are called twice for each batch, and update twice",
            "Once forward, and once more when the backward pass needs the activations. The output is the same, so are "
            "the gradients, and the average is moved twice: 0.1 acts as 0.19. Its noise grows by a factor of about "
            "1.4.",
            right=True,
        ),
        Diagnosis(
            "Only the counter is wrong, and nobody reads it",
            "With `momentum=None` the layer itself reads it. And the running statistics are others, which the counter "
            "cannot cause.",
        ),
    ),
    hints=(
        "When does `checkpoint` call the layers, and in which mode are they then?",
        "`checkpoint` takes a `context_fn`, which gives two context managers: one for the forward pass and one for the "
        "recomputation.",
        "With a momentum of 0 an update changes no average. Or choose one of which two updates come to one with 0.1.",
    ),
    explanation=(
        "In the recomputation the layers normalize with the batch, as before, and move the averages by nothing. "
        "(`track_running_stats = False` would be simpler, but then they save fewer tensors than in the forward pass, "
        "and `checkpoint` refuses.) A momentum of 1 - sqrt(0.9), of which two updates come to one with 0.1, gives the "
        "same averages, but not the same counter."
    ),
    measure=measure,
    curves=("updates per step",),
)
