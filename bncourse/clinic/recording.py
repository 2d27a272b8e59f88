"""What is seen of a run: its curves, and the batches that its batch norm layers met."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import register_module_forward_pre_hook

from bncourse.clinic.task import Images

Measure = Callable[[Any, Any, int], Mapping[str, float]]


def accuracy(model: nn.Module, images: Images, *, training: bool = False) -> float:
    """Share of the images that a copy of ``model`` reads, in inference mode or with the statistics of these images."""
    model = copy.deepcopy(model).train(training)
    with torch.no_grad():
        return float((model(images.x).argmax(dim=1) == images.y).float().mean())


def misfit(model: nn.Module, x: Tensor) -> float:
    """By which factor running variances differ from those of what these images make of a layer's input.

    It is that of the worst layer: 1 is a fit, and infinite is a layer that keeps no statistics or no finite ones.
    """
    met: list[tuple[_BatchNorm, Tensor]] = []
    model = copy.deepcopy(model).eval()
    for layer in model.modules():
        if isinstance(layer, _BatchNorm):
            layer.register_forward_pre_hook(lambda norm, inputs: met.append((norm, inputs[0].float())))
    with torch.no_grad():
        model(x)
    worst = 1.0
    for norm, inputs in met:
        kept = torch.nan if norm.running_var is None else norm.running_var.float().mean()
        factor = float(kept / inputs.var(dim=0).mean())
        worst = max(worst, factor, 1 / factor) if 0 < factor < float("inf") else float("inf")
    return worst


def both_modes(model: nn.Module, task: Any, _step: int) -> dict[str, float]:
    """Validation accuracy in inference mode, and with the statistics of the validation images."""
    return {mode: accuracy(model, task.validation, training=mode == "training") for mode in ("inference", "training")}


@dataclass
class Batch:
    """What a batch norm layer met in one call in training mode.

    Attributes
    ----------
    size : number of examples.
    constant : whether all of them are equal, or so nearly that their variance is less than a hundredth of their mean
        square.
    mean : (C,) of the input.
    running_mean : (C,) of the layer before the call, where it keeps one.
    """

    size: int
    constant: bool
    mean: Float[Tensor, "C"]
    running_mean: Float[Tensor, "C"] | None


@dataclass
class Watch:
    """Counts and keeps what the layers of every network meet, while it is on.

    Attributes
    ----------
    batches : by batch norm layer, each of its calls in training mode.
    linear_calls : calls of linear layers in training mode, or for a gradient.
    largest : the largest number of examples in one of these.
    """

    batches: dict[_BatchNorm, list[Batch]] = field(default_factory=dict)
    linear_calls: int = 0
    largest: int = 0
    paused: bool = False

    @contextmanager
    def on(self) -> Iterator["Watch"]:
        """Watch all modules in this process."""
        handle = register_module_forward_pre_hook(self._see)
        try:
            yield self
        finally:
            handle.remove()

    def _see(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self.paused or not inputs or not isinstance(inputs[0], Tensor):
            return
        x = inputs[0].detach()
        if isinstance(module, nn.Linear) and (module.training or torch.is_grad_enabled()):
            self.linear_calls += 1
            self.largest = max(self.largest, len(x))
        elif isinstance(module, _BatchNorm) and module.training:
            constant = bool(x.var(dim=0, correction=0).mean() < 0.01 * x.square().mean())
            before = None if module.running_mean is None else module.running_mean.clone()
            self.batches.setdefault(module, []).append(Batch(len(x), constant, x.float().mean(dim=0), before))


@dataclass
class Record:
    """Keeps a run's curves: call it once after every step, with what would be handed over if the run ended here.

    Attributes
    ----------
    rows : by the name of the quantity, its value at each recorded step.
    steps : the recorded steps.
    """

    task: Any
    measure: Measure
    every: int = 5
    watch: Watch | None = None
    steps: list[int] = field(default_factory=list)
    rows: dict[str, list[float]] = field(default_factory=dict)
    step: int = 0

    def __call__(self, handed_over: Any, loss: Tensor | float) -> None:
        self.step += 1
        if self.step % self.every and self.step > 1:
            return
        if self.watch is not None:
            self.watch.paused = True
        try:
            values = self.measure(handed_over, self.task, self.step)
        finally:
            if self.watch is not None:
                self.watch.paused = False
        self.steps.append(self.step)
        if isinstance(loss, Tensor):
            loss = loss.detach()
        for name, value in {"loss": loss, **values}.items():
            self.rows.setdefault(name, []).append(float(value))
