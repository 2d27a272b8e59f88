"""Stale buffers across ranks: the checkpoint has the statistics of rank 0 alone."""

# The runs are as people write them, without annotations.
# mypy: allow-untyped-defs, allow-untyped-calls

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from bncourse.clinic.case import Case, Diagnosis
from bncourse.clinic.checking import Finding, at_least, fitting
from bncourse.clinic.ranks import run_ranks
from bncourse.clinic.recording import Watch, accuracy, both_modes, misfit
from bncourse.clinic.task import Images, draw, mlp


@dataclass(frozen=True, eq=False)
class Archive:
    """Images of two scanners, those of the second at the end."""

    train: TensorDataset
    validation: Images


def broken(task, record):
    start = mlp()
    x, y = task.train.tensors

    def worker(rank):
        model = copy.deepcopy(start)
        mine = TensorDataset(x.chunk(2)[rank.index], y.chunk(2)[rank.index])
        order = torch.Generator().manual_seed(rank.index)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(12):
            for a, b in DataLoader(mine, batch_size=16, shuffle=True, generator=order):
                loss = functional.cross_entropy(model(a), b)
                optimizer.zero_grad()
                loss.backward()
                for p in model.parameters():
                    p.grad = rank.all_reduce(p.grad) / rank.size
                optimizer.step()
                if rank.index == 0:
                    record(model, loss)
        return model

    return run_ranks(worker)  # any of them may save


def fixed(task, record):
    start = mlp()
    x, y = task.train.tensors

    def worker(rank):
        model = copy.deepcopy(start)
        mine = TensorDataset(x[rank.index :: rank.size], y[rank.index :: rank.size])
        order = torch.Generator().manual_seed(rank.index)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(12):
            for a, b in DataLoader(mine, batch_size=16, shuffle=True, generator=order):
                loss = functional.cross_entropy(model(a), b)
                optimizer.zero_grad()
                loss.backward()
                for p in model.parameters():
                    p.grad = rank.all_reduce(p.grad) / rank.size
                optimizer.step()
                if rank.index == 0:
                    record(model, loss)
        return model

    return run_ranks(worker)  # any of them may save


def prepare(seed: int) -> Archive:
    """800 images, the second half of them faint, and clear ones for validation."""
    split = draw(seed)
    x, y = split.train.x, split.train.y
    return Archive(TensorDataset(torch.cat([x[:400], 0.15 * x[400:]]), y), split.validation)


def faint(images: Images) -> Images:
    """The images with 0.15 of their contrast."""
    return Images(0.15 * images.x, images.y)


def measure(model: Any, task: Archive, step: int) -> dict[str, float]:
    """Validation accuracy on faint images, in inference mode and with their own statistics."""
    return both_modes(model, Archive(task.train, faint(task.validation)), step)


def examine(models: Any, seed: int, watch: Watch) -> Sequence[Finding]:
    """Reads held-out images of both kinds."""
    if isinstance(models, nn.Module):
        raise TypeError("expected the networks of both ranks, got one network")
    images = draw(seed).held_out
    both = torch.cat([images.x, faint(images).x])
    why = "In inference mode there is a rank whose network does not read all images."
    read = [(accuracy(model, images), accuracy(model, faint(images))) for model in models]
    return [
        at_least("held-out accuracy of the worse rank, clear images", min(clear for clear, _ in read), 0.88, why),
        at_least("held-out accuracy of the worse rank, faint images", min(dim for _, dim in read), 0.85, why),
        Finding(
            "ranks that train",
            str(len({id(norm) for norm in watch.batches}) // 2),
            "2, with batch norm",
            len(watch.batches) >= 4,
            "Both ranks train, with batch norm in their networks.",
        ),
        fitting(max(misfit(model, both) for model in models)),
    ]


CASE = Case(
    id="split_archive",
    title="The statistics of rank 0",
    complaint=(
        "Two machines train one network, each on its half of our archive. Gradients are averaged, so the weights are "
        "equal to the last bit. Both losses fall. But what rank 0 saves does not read the second half of the archive, "
        "and what rank 1 saves does. With the same weights!"
    ),
    known=(
        "[pytorch/pytorch #30718](https://github.com/pytorch/pytorch/issues/30718) and "
        "[huggingface/pytorch-image-models #110](https://github.com/huggingface/pytorch-image-models/issues/110). "
        "PyTorch's `DistributedDataParallel` sends the buffers of rank 0 to all before each forward pass: then all "
        "are equal, and know rank 0's data only."
    ),
    broken=broken,
    fixed=fixed,
    prepare=prepare,
    examine=examine,
    goal="Whichever rank saves: the network reads 88 % of the clear and 85 % of the faint held-out images, "
    "with running statistics of the whole archive.",
    diagnoses=(
        Diagnosis(
            "The gradients of rank 1 do not arrive",
            "Then its images would not be learned, and rank 1 would not read them either. The weights are equal, and "
            "it does.",
        ),
        Diagnosis(
            "Each rank has the running statistics of its own half",
            "Weights are synchronized through the gradients. Buffers have none. Rank 0 saves weights that have learned "
            "from both halves, and statistics that have only seen the first.",
            right=True,
        ),
        Diagnosis(
            "The statistics have to be averaged over the ranks before saving",
            "That would be enough if both halves were alike. Here each rank has learned with its own statistics, and "
            "nowhere with a mixture: with that, the faint images are not read.",
        ),
    ),
    hints=(
        "What does `all_reduce` see of the network, and what not?",
        "What would the statistics of rank 0 be if both ranks had images of both kinds?",
        "Deal the images out like cards; or normalize with the statistics of both ranks, with `SyncBatchNorm` of "
        "bncourse.clinic.ranks.",
    ),
    explanation=(
        "Dealt out in turn, or shuffled before they are split, the halves are alike, and so are their statistics. "
        "Synchronized batch norm does it for halves that are not. Either way training sees the mixture that inference "
        "will use."
    ),
    measure=measure,
)
