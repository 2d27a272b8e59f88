"""Leakage in pairs: positives in one batch, negatives in another, and the batch gives the answer away."""

# The runs are as people write them, without annotations.
# mypy: allow-untyped-defs, allow-untyped-calls

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from bncourse.clinic.case import Case, Diagnosis
from bncourse.clinic.checking import Finding, at_least
from bncourse.clinic.recording import Watch
from bncourse.clinic.task import Images, draw

PAIRS = 3200


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of images of the same digit, and of different ones; each with its label."""

    same: TensorDataset
    different: TensorDataset
    validation: tuple[Tensor, Tensor, Tensor]

    def network(self) -> nn.Module:
        """Embeds both images, and judges by the square of the difference."""
        return Comparison()


class Comparison(nn.Module):
    """The logit of "the same digit" for pairs of images."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32))
        self.judge = nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, first: Float[Tensor, "N 64"], second: Float[Tensor, "N 64"]) -> Float[Tensor, "N"]:
        u, v = self.embed(torch.cat([first, second])).chunk(2)
        logits: Tensor = self.judge((u - v).square()).squeeze(1)
        return logits


def broken(task, record):
    model = task.network()
    error = functional.binary_cross_entropy_with_logits
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(3):
        same = DataLoader(task.same, batch_size=32, shuffle=True)
        different = DataLoader(task.different, batch_size=32, shuffle=True)
        for (a, b, yes), (c, d, no) in zip(same, different, strict=True):
            loss = error(model(a, b), yes)
            loss = loss + error(model(c, d), no)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record(model, loss)
    return model


def fixed(task, record):
    model = task.network()
    error = functional.binary_cross_entropy_with_logits
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(3):
        same = DataLoader(task.same, batch_size=32, shuffle=True)
        different = DataLoader(task.different, batch_size=32, shuffle=True)
        for (a, b, yes), (c, d, no) in zip(same, different, strict=True):
            logits = model(torch.cat([a, c]), torch.cat([b, d]))
            loss = 2 * error(logits, torch.cat([yes, no]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record(model, loss)
    return model


def prepare(seed: int) -> Pairs:
    """3200 pairs of each kind from the training images, 300 of each for the curves."""
    split = draw(seed)
    first, second = pairs(split.train, PAIRS, [seed, 11])
    ones = torch.ones(PAIRS)
    return Pairs(
        TensorDataset(*first, ones), TensorDataset(*second, 0 * ones), _mixed(*pairs(split.validation, 300, [seed, 12]))
    )


def pairs(images: Images, count: int, seed: Sequence[int]) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """So many pairs of the same digit, and of different ones."""
    import numpy as np

    drawn = torch.from_numpy(np.random.default_rng(list(seed)).integers(len(images), size=(2, 20 * count)))
    same = (images.y[drawn[0]] == images.y[drawn[1]]) & (drawn[0] != drawn[1])
    different = images.y[drawn[0]] != images.y[drawn[1]]

    def taken(chosen: Int[Tensor, "P"]) -> tuple[Tensor, Tensor]:
        rows = drawn[:, chosen][:, :count]
        return images.x[rows[0]], images.x[rows[1]]

    return taken(same), taken(different)


def _mixed(same: tuple[Tensor, Tensor], different: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    first, second = (torch.cat(both) for both in zip(same, different, strict=True))
    return first, second, torch.arange(len(first)) < len(same[0])


def _accuracy(model: nn.Module, mixed: tuple[Tensor, Tensor, Tensor]) -> float:
    first, second, same = mixed
    training = model.training
    model.eval()
    with torch.no_grad():
        right = ((model(first, second) > 0) == same).float().mean()
    model.train(training)
    return float(right)


def measure(model: Any, task: Pairs, _step: int) -> dict[str, float]:
    """Validation accuracy in inference mode, and in training mode with a batch of each kind, as in the run."""
    import copy

    copied = copy.deepcopy(model)
    first, second, same = task.validation
    with torch.no_grad():
        apart = torch.cat([copied(first[chosen], second[chosen]) for chosen in (same, ~same)])
    return {
        "inference": _accuracy(copied, task.validation),
        "kinds apart": float(((apart > 0) == same).float().mean()),
    }


def examine(model: Any, seed: int, watch: Watch) -> Sequence[Finding]:
    """Judges pairs of held-out images."""
    held_out = _mixed(*pairs(draw(seed).held_out, 500, [seed, 13]))
    return [
        at_least(
            "pairs of held-out images judged right in inference mode",
            _accuracy(model, held_out),
            0.88,
            "Pair by pair the network is still close to guessing. Where does it get its answers in training?",
        ),
        Finding(
            "calls of batch norm in training",
            str(sum(len(batches) for batches in watch.batches.values())),
            "some",
            bool(watch.batches),
            "The network trains with batch norm, in training mode.",
        ),
    ]


CASE = Case(
    id="same_digit",
    title="Leakage between the examples of a batch",
    complaint=(
        "Do two images show the same digit? I have a loader for pairs of the same digit and one for pairs of different "
        "ones, and each step takes a batch from each. After three epochs training is nearly perfect, better than "
        "anybody expected. In inference mode it is a coin toss, and for a batch in which the two kinds are mixed "
        "as well."
    ),
    known=(
        "{cite:t}`he2020momentum` shuffle the batch among machines against it ([facebookresearch/moco "
        "#46](https://github.com/facebookresearch/moco/issues/46)). In GANs, separate batches are a known trick "
        "([soumith/ganhacks #52](https://github.com/soumith/ganhacks/issues/52))."
    ),
    broken=broken,
    fixed=fixed,
    prepare=prepare,
    examine=examine,
    goal="88 % of the pairs of held-out images are judged right in inference mode, by a network that "
    "trains with batch norm.",
    diagnoses=(
        Diagnosis(
            "The network knows the training pairs by heart",
            "Then pairs of new images would be judged badly in any batch. In batches of one kind, new pairs are judged "
            "as well as old ones.",
        ),
        Diagnosis(
            "The running statistics are a mixture of the two kinds",
            "They are. But mixed batches fail in training mode as well, where no running statistics are used.",
        ),
        Diagnosis(
            "The batch gives the answer away",
            "All pairs of a batch have one label, and batch norm lets each of them see the others. The network learns "
            "to tell what kind of batch it is in, which is easier than to compare two images.",
            right=True,
        ),
        Diagnosis(
            "The rate is too high to compare images carefully",
            "A lower rate learns the same shortcut, more slowly.",
        ),
    ),
    hints=(
        "Compare new pairs of one kind with a mixed batch, both in training mode. What is the difference?",
        "In which batch would the other examples say nothing about the label?",
    ),
    explanation=(
        "One batch with both kinds. Each example still sees the others, and they no longer know its label. Without "
        "batch norm, or with layer norm in its place, no example would see another."
    ),
    measure=measure,
    curves=("kinds apart", "inference"),
)
