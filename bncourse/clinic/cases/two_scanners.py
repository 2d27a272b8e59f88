"""A shared layer on two domains: each batch is normalized as its own, and inference knows one mixture."""

# The runs are as people write them, without annotations.
# mypy: allow-untyped-defs, allow-untyped-calls

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from bncourse.clinic.case import Case, Diagnosis
from bncourse.clinic.checking import Finding, at_least, fitting
from bncourse.clinic.recording import Watch, accuracy, misfit
from bncourse.clinic.task import Images, draw, mlp


@dataclass(frozen=True, eq=False)
class TwoScanners:
    """Images of a good scanner, and of another whose images are faint."""

    good: TensorDataset
    faint: TensorDataset
    validation: dict[str, Images]


def broken(task, record):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(16):
        good = DataLoader(task.good, batch_size=32, shuffle=True)
        faint = DataLoader(task.faint, batch_size=32, shuffle=True)
        for (x, y), (u, v) in zip(good, faint, strict=True):
            loss = functional.cross_entropy(model(x), y)
            loss = loss + functional.cross_entropy(model(u), v)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record({"good": model, "faint": model}, loss)
    return {"good": model, "faint": model}


def fixed(task, record):
    model = mlp()
    other = nn.Sequential(  # the same linear layers, batch norm of its own
        *(nn.BatchNorm1d(64) if isinstance(layer, nn.BatchNorm1d) else layer for layer in model)
    )
    both = nn.ModuleList([model, other])
    optimizer = torch.optim.SGD(both.parameters(), lr=0.1)
    for _ in range(16):
        good = DataLoader(task.good, batch_size=32, shuffle=True)
        faint = DataLoader(task.faint, batch_size=32, shuffle=True)
        for (x, y), (u, v) in zip(good, faint, strict=True):
            loss = functional.cross_entropy(model(x), y)
            loss = loss + functional.cross_entropy(other(u), v)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record({"good": model, "faint": other}, loss)
    return {"good": model, "faint": other}


def prepare(seed: int) -> TwoScanners:
    """400 images of each scanner."""
    split = draw(seed)
    x, y = split.train.x, split.train.y
    return TwoScanners(
        TensorDataset(x[:400], y[:400]),
        TensorDataset(faint_scan(x[400:]), y[400:]),
        scanned(split.validation),
    )


def faint_scan(x: Float[Tensor, "N 64"]) -> Float[Tensor, "N 64"]:
    """The image with a tenth of its contrast."""
    return 0.1 * x


def scanned(images: Images) -> dict[str, Images]:
    """The same images from both scanners."""
    return {"good": images, "faint": Images(faint_scan(images.x), images.y)}


def measure(models: Any, task: TwoScanners, _step: int) -> dict[str, float]:
    """Validation accuracy on faint images in inference mode, and with their own statistics."""
    model, images = models["faint"], task.validation["faint"]
    return {mode: accuracy(model, images, training=mode == "training") for mode in ("inference", "training")}


def examine(models: Any, seed: int, watch: Watch) -> Sequence[Finding]:
    """Reads both scanners' images, and counts the weights."""
    images = scanned(draw(seed).held_out)
    findings = [
        at_least(
            f"held-out accuracy in inference mode, {scanner} images",
            accuracy(models[scanner], images[scanner]),
            0.85,
            f"In inference mode the {scanner} images are still not read.",
        )
        for scanner in ("good", "faint")
    ]
    matrices = {id(weight): weight for model in models.values() for weight in model.parameters() if weight.ndim == 2}
    count = sum(weight.numel() for weight in matrices.values())
    limit = sum(weight.numel() for weight in mlp().parameters() if weight.ndim == 2)
    one = Finding(
        "weights in linear layers, both networks together",
        str(count),
        f"{limit} at most",
        count <= limit,
        "Two networks are no answer: the linear layers have to be shared.",
    )
    both = torch.cat([each.x for each in images.values()])
    # Each scanner has statistics of its own, or both have those of the mixture.
    factor = max(min(misfit(models[scanner], images[scanner].x), misfit(models[scanner], both)) for scanner in images)
    kept = Finding(
        "calls of batch norm in training",
        str(sum(len(batches) for batches in watch.batches.values())),
        "some",
        bool(watch.batches),
        "The network trains with batch norm.",
    )
    return [*findings, one, kept, fitting(factor)]


CASE = Case(
    id="two_scanners",
    title="A shared layer on two domains",
    complaint=(
        "One network for two scanners, of which one gives faint images. Each step takes a batch from each. Both losses "
        "fall, both accuracies are excellent in training mode. In inference mode the good scanner is fine, and faint "
        "images are not read at all. Is inference mode broken?"
    ),
    known=(
        "one layer, several sets of statistics ([pytorch/pytorch "
        "#1738](https://github.com/pytorch/pytorch/issues/1738)); shared by two branches ([keras-team/keras "
        "#8794](https://github.com/keras-team/keras/issues/8794)). {cite:t}`chang2019domain` give each domain "
        "layers of its own on purpose."
    ),
    broken=broken,
    fixed=fixed,
    prepare=prepare,
    examine=examine,
    goal="85 % of the held-out images of each scanner are read in inference mode, by shared linear layers and batch "
    "norm, with the running statistics of that scanner or of both.",
    diagnoses=(
        Diagnosis(
            "The network is too small for two kinds of images",
            "In training mode it reads both.",
        ),
        Diagnosis(
            "Faint images have too little information",
            "They have the same, divided by ten, and are read in training mode.",
        ),
        Diagnosis(
            "Training normalizes each scanner by itself, inference both with one mixture",
            "In training a faint batch is divided by its own small deviation, and the network is never shown that it "
            "is faint. The running variance is that of both scanners together: for faint images seven times too large "
            "in its root.",
            right=True,
        ),
        Diagnosis(
            "The good scanner comes first in each step, and the faint one last",
            "The last one to come has the larger weight in the averages, which would be to the advantage of the faint "
            "images.",
        ),
    ),
    hints=(
        "What mean and variance does a faint batch have in the first layer, and what does the layer remember?",
        "Either inference knows the scanner, or training does not.",
        "Share the linear layers, not the batch norm layers; or put both batches into one.",
    ),
    explanation=(
        "Each scanner has batch norm layers of its own, with its own statistics, gamma and beta, and inference takes "
        "those of the image's scanner. Where the scanner is not known, concatenate the two batches: then training sees "
        "the mixture that inference will use, at some cost in accuracy."
    ),
    measure=measure,
)
