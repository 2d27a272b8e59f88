"""``.half()`` on the statistics: a variance above 65504 becomes infinite."""

# The runs are as people write them, without annotations.
# mypy: allow-untyped-defs, allow-untyped-calls

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from bncourse.clinic.case import Case, Diagnosis
from bncourse.clinic.checking import Finding, at_least, fitting
from bncourse.clinic.recording import Watch, misfit
from bncourse.clinic.task import Images, draw, mlp


@dataclass(frozen=True, eq=False)
class RawTask:
    """Images as the camera gives them: 12 bits, from 0 to 4095."""

    train: TensorDataset
    validation: Images


def broken(task, record):
    model = mlp()  # batch norm takes care of the scale: images come as they are

    def deploy():
        return copy.deepcopy(model).half()

    optimizer = torch.optim.SGD(model.parameters(), lr=0.03)
    for _ in range(8):
        for x, y in DataLoader(task.train, batch_size=32, shuffle=True):
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record(deploy(), loss)
    return deploy()


def fixed(task, record):
    model = mlp()  # batch norm takes care of the scale: images come as they are

    def deploy():
        copied = copy.deepcopy(model)
        for layer in copied:
            if not isinstance(layer, nn.BatchNorm1d):
                layer.half()
        return copied

    optimizer = torch.optim.SGD(model.parameters(), lr=0.03)
    for _ in range(8):
        for x, y in DataLoader(task.train, batch_size=32, shuffle=True):
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record(deploy(), loss)
    return deploy()


def prepare(seed: int) -> RawTask:
    """800 raw images."""
    split = draw(seed)
    return RawTask(
        TensorDataset(_raw(seed, split.train.x), split.train.y),
        Images(_raw(seed, split.validation.x), split.validation.y),
    )


def measure(model: Any, task: RawTask, _step: int) -> dict[str, float]:
    """Accuracy of the deployed network on images in half precision."""
    return {mode: _accuracy(model, task.validation, mode == "training") for mode in ("inference", "training")}


def examine(model: Any, seed: int, watch: Watch) -> Sequence[Finding]:
    """Reads held-out images in half precision with weights in half precision."""
    images = Images(_raw(seed, draw(seed).held_out.x), draw(seed).held_out.y)
    half = {parameter.dtype for parameter in model.parameters() if parameter.ndim == 2} == {torch.float16}
    return [
        at_least(
            "accuracy on held-out raw images in half precision",
            _accuracy(model, images, False),
            0.92,
            "In half precision the network still does not read in inference mode.",
        ),
        Finding(
            "weights of the linear layers",
            "float16" if half else "not all float16",
            "float16",
            half,
            "Half the memory was the point: the weight matrices have to be float16.",
        ),
        fitting(misfit(model, images.x.half())),
    ]


def _raw(seed: int, x: Tensor) -> Tensor:
    split = draw(seed)
    return (split.raw_mean + split.raw_scale * x) * (4095 / 16)


def _accuracy(model: nn.Module, images: Images, training: bool) -> float:
    model = copy.deepcopy(model).train(training)
    with torch.no_grad():
        return float((model(images.x.half()).argmax(dim=1) == images.y).float().mean())


CASE = Case(
    id="half_the_memory",
    title="Statistics in half precision",
    complaint=(
        "The network is trained in float32 and deployed with `.half()`. In float32 it reads nearly "
        "all digits, in half precision it guesses. Three digits of precision should be enough for digits! The "
        "images come with 12 bits, "
        "from 0 to 4095; batch norm normalizes them anyway. In training mode it works, in half precision as well."
    ),
    known=(
        "a conversion that spares batch norm ([NVIDIA/apex #144](https://github.com/NVIDIA/apex/pull/144)), and "
        "variances above 65504 that became infinite ([apple/coreai-torch "
        "#54](https://github.com/apple/coreai-torch/pull/54))."
    ),
    broken=broken,
    fixed=fixed,
    prepare=prepare,
    examine=examine,
    goal="92 % of the held-out raw images are read in half precision, by weights in half precision, and "
    "running statistics, where there are any, fit the images.",
    diagnoses=(
        Diagnosis(
            "Weights with three digits are too coarse",
            "In training mode the same rounded weights read nearly every digit.",
        ),
        Diagnosis(
            "The activations overflow",
            "Sixty-four times 4095 would be too much, but weights are small and of both signs: the sums stay below "
            "65504. Infinite activations would fail in training mode too.",
        ),
        Diagnosis(
            "The running variance is infinite in float16",
            "A standard deviation of a thousand is a variance of a million, and float16 ends at 65504. Divided by "
            "infinity every feature is 0. In training mode the variance of the batch is computed in float32.",
            right=True,
        ),
    ),
    hints=(
        "Training mode works, in half precision. What does inference mode read that training mode does not?",
        "Print `model[1].running_var` before and after `.half()`.",
        "`.float()` does not bring back what `.half()` has lost: convert only what should be converted.",
    ),
    explanation=(
        "Weights in float16, batch norm in float32: PyTorch's layer takes half inputs with float32 statistics. Scaling "
        "the images inside the network, or folding batch norm into the linear layers first, does as well."
    ),
    measure=measure,
)
