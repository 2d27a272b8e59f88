"""Unequal ranks: one has a batch more, and waits for the others in its statistics."""

# The runs are as people write them, without annotations.
# mypy: allow-untyped-defs, allow-untyped-calls

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from bncourse.clinic.case import Case, Diagnosis
from bncourse.clinic.checking import Finding, at_least
from bncourse.clinic.ranks import SyncBatchNorm, run_ranks
from bncourse.clinic.recording import Watch, accuracy
from bncourse.clinic.task import Task, draw, mlp, plain_task

IMAGES = 801


def broken(task, record):
    start = mlp()
    x, y = task.train.tensors

    def worker(rank):
        model = copy.deepcopy(start)
        model[1], model[4] = SyncBatchNorm(64, rank), SyncBatchNorm(64, rank)
        mine = TensorDataset(x[rank.index :: rank.size], y[rank.index :: rank.size])
        order = torch.Generator().manual_seed(rank.index)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(6):
            total = torch.zeros(())
            for a, b in DataLoader(mine, batch_size=16, shuffle=True, generator=order):
                loss = functional.cross_entropy(model(a), b)
                optimizer.zero_grad()
                loss.backward()
                for p in model.parameters():
                    p.grad = rank.all_reduce(p.grad) / rank.size
                optimizer.step()
                total += loss.detach()
                if rank.index == 0:
                    record(model, loss)
            total = rank.all_reduce(total)  # for the log
        return copy.deepcopy(model)

    return run_ranks(worker)[0]


def fixed(task, record):
    start = mlp()
    x, y = task.train.tensors

    def worker(rank):
        model = copy.deepcopy(start)
        model[1], model[4] = SyncBatchNorm(64, rank), SyncBatchNorm(64, rank)
        mine = TensorDataset(x[rank.index :: rank.size], y[rank.index :: rank.size])
        order = torch.Generator().manual_seed(rank.index)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(6):
            total = torch.zeros(())
            loader = DataLoader(
                mine,
                batch_size=16,
                shuffle=True,
                drop_last=True,
                generator=order,
            )
            for a, b in loader:
                loss = functional.cross_entropy(model(a), b)
                optimizer.zero_grad()
                loss.backward()
                for p in model.parameters():
                    p.grad = rank.all_reduce(p.grad) / rank.size
                optimizer.step()
                total += loss.detach()
                if rank.index == 0:
                    record(model, loss)
            total = rank.all_reduce(total)  # for the log
        return copy.deepcopy(model)

    return run_ranks(worker)[0]


def prepare(seed: int) -> Task:
    """801 images: 401 for one rank, 400 for the other."""
    return plain_task(seed, IMAGES)


def examine(model: Any, seed: int, watch: Watch) -> Sequence[Finding]:
    """Reads the held-out digits, after a run in which both ranks trained."""
    return [
        at_least("held-out accuracy in inference mode", accuracy(model, draw(seed, IMAGES).held_out), 0.85),
        Finding(
            "ranks that train",
            str(len(watch.batches) // 2),
            "2, with batch norm",
            len(watch.batches) >= 4,
            "Both ranks train, with batch norm in their networks.",
        ),
    ]


CASE = Case(
    id="stops_at_the_epoch",
    title="Unequal ranks",
    complaint=(
        "With two machines and synchronized batch norm the run stops at the end of the first epoch. No error, for half "
        "an hour, then a timeout. With 800 images it worked; last week somebody added one. I have set the timeout to "
        "three hours."
    ),
    known=(
        "[pytorch/pytorch #38174](https://github.com/pytorch/pytorch/issues/38174), which led to `Join`; and "
        "[pytorch/pytorch #57448](https://github.com/pytorch/pytorch/pull/57448): `Join` does not know of the "
        "collectives of synchronized batch norm, and with them has to end all ranks when the first is done."
    ),
    broken=broken,
    fixed=fixed,
    prepare=prepare,
    examine=examine,
    goal="The run comes to its end on both ranks, and 85 % of the held-out digits are read.",
    diagnoses=(
        Diagnosis(
            "The connection between the machines breaks down",
            "It would not do so always at the end of the first epoch, and it did not with 800 images.",
        ),
        Diagnosis(
            "The last batch has one image, and batch norm cannot have that",
            "It has one image on rank 0. But synchronized batch norm counts the images of all ranks; and one value "
            "would be an error at once, not silence.",
        ),
        Diagnosis(
            "Rank 0 has one batch more, and waits in it for rank 1",
            "401 images are 26 batches of 16, 400 are 25. In the 26th rank 0 asks for everybody's statistics, while "
            "rank 1 is adding up the losses of its epoch. Each waits for an answer to another question.",
            right=True,
        ),
    ),
    hints=(
        "How many batches has each rank?",
        "A collective is a meeting: all ranks have to come to the same ones, in the same order.",
        "Give all ranks the same number of batches, or let a rank without images take part with an empty batch.",
    ),
    explanation=(
        "drop_last=True leaves both with 25 batches. PyTorch's DistributedSampler repeats an image instead. A layer "
        "that counts (chapter 7.2) can go on with an empty batch, if the loop still calls it."
    ),
)
