"""What every ensemble is: S networks of one architecture in one module, from which members can be taken."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bncourse.lab.noise import Randomness
from bncourse.lab.stacked import StackedConv2d, StackedLinear

INITIAL_VARIANCE = {"relu": 2.0, "tanh": 1.0, "sigmoid": 1.0, "linear": 1.0}


class Activation(nn.Module):
    """An elementwise function by its name: relu, tanh, sigmoid or linear, which is none.

    Raises
    ------
    ValueError : if the name is another.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        if name not in INITIAL_VARIANCE:
            raise ValueError(f"expected activation to be one of {', '.join(INITIAL_VARIANCE)}, got {name!r}")
        self.name = name

    def forward(self, h: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return h if self.name == "linear" else getattr(torch, self.name)(h)

    @property
    def initial_variance(self) -> float:
        """Of the weights that feed it, times their number of inputs."""
        return INITIAL_VARIANCE[self.name]


class Ensemble(nn.Module):
    """S networks side by side. They share nothing: one that diverges to NaN leaves the others as they are.

    Attributes
    ----------
    seeds : one for each member.
    layers : the hidden layers; what each returns is (S, F, B), or (S, F, B, H, W) for images.
    head : what comes between the last hidden layer and the output; often nothing.
    output : the last linear layer.
    """

    seeds: tuple[int, ...]
    layers: nn.ModuleList
    head: nn.Module
    output: StackedLinear

    def forward(self, x: Float[Tensor, "S B F"]) -> Float[Tensor, "S classes B"]:
        """Logits of each member on its own batch; the batch is the last axis of the result."""
        h = self.enter(x)
        for layer in self.layers:
            h = layer(h)
        logits: Tensor = self.output(self.head(h))
        return logits

    def enter(self, x: Float[Tensor, "S B F"]) -> Float[Tensor, "S F B *image"]:
        """The batch in the form that the first layer takes."""
        return x.transpose(1, 2)

    @property
    def weights(self) -> list[nn.Parameter]:
        """Weight matrices or kernels, from the first layer to the output: (S, out, in, ...)."""
        return [linear.weight for linear in self._linears()]

    @property
    def biases(self) -> list[nn.Parameter]:
        """Biases of those layers that have one: (S, out, 1)."""
        return [linear.bias for linear in self._linears() if linear.bias is not None]

    def _linears(self) -> list[StackedLinear | StackedConv2d]:
        return [module for module in self.modules() if isinstance(module, StackedLinear | StackedConv2d)]

    def depth_of_parameters(self) -> list[int]:
        """For each of ``parameters()``, the layer that it belongs to: 0 for the first, the head's and output's last."""
        depth = {id(parameter): number for number, layer in enumerate(self.layers) for parameter in layer.parameters()}
        return [depth.get(id(parameter), len(self.layers)) for parameter in self.parameters()]

    def subset(self, members: Sequence[int]) -> Self:
        """A copy of some of the members, in this order, with the random numbers that they would draw next."""
        chosen = deepcopy(self)
        index = torch.as_tensor(members)
        chosen.seeds = tuple(self.seeds[member] for member in members)
        for module in chosen.modules():
            for name, parameter in module.named_parameters(recurse=False):
                setattr(module, name, nn.Parameter(parameter.detach()[index]))
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, buffer[index])
            if isinstance(module, Randomness):
                module.generators = [module.generators[member] for member in members]
        return chosen

    def assign(self, members: Sequence[int], other: Self) -> None:
        """Let members become those of another ensemble of the same architecture, which has just as many."""
        index = torch.as_tensor(members)
        with torch.no_grad():
            for mine, theirs in zip(self._tensors(), other._tensors(), strict=True):
                mine[index] = theirs
        for module, replacement in zip(self.modules(), other.modules(), strict=True):
            if isinstance(module, Randomness) and isinstance(replacement, Randomness):
                for member, generator in zip(members, replacement.generators, strict=True):
                    module.generators[member] = deepcopy(generator)

    def random_state(self) -> list[Any]:
        """The states of all generators, for :meth:`set_random_state`."""
        return [generator.bit_generator.state for module in self._random() for generator in module.generators]

    def set_random_state(self, state: list[Any]) -> None:
        """Let the next draws be those that followed ``random_state()``."""
        generators = [generator for module in self._random() for generator in module.generators]
        for generator, its_state in zip(generators, state, strict=True):
            generator.bit_generator.state = its_state

    def _random(self) -> list[Randomness]:
        return [module for module in self.modules() if isinstance(module, Randomness)]

    def _tensors(self) -> list[Tensor]:
        return [*self.parameters(), *self.buffers()]

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Afterwards, parameters, running statistics, random states and the mode are what they were before."""
        tensors = self._tensors()
        values = [tensor.detach().clone() for tensor in tensors]
        state, training = self.random_state(), self.training
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, value in zip(tensors, values, strict=True):
                    tensor.copy_(value)
            self.set_random_state(state)
            self.train(training)
