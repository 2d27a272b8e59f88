"""The settings of the experiment, and the networks that it trains."""

import math
from dataclasses import dataclass

from bncourse.experiments.design import check_rising, check_seeds

EXAMINED = ("sigmoid", "tanh", "narrow relu")
"""Cases in which runs that stall without batch norm are examined."""


@dataclass(frozen=True)
class Case:
    """A plain network on the digits, to be trained with and without batch norm.

    Attributes
    ----------
    name : its key in the outcome.
    activation, depth, width : of the hidden layers.
    gain : factor of their initial weights.
    rates : to search, in rising order.
    """

    name: str
    activation: str
    depth: int
    width: int
    gain: float
    rates: tuple[float, ...]


def powers_of_four(first: int, last: int) -> tuple[float, ...]:
    """Rates from one power of four to another."""
    return tuple(4.0**exponent for exponent in range(first, last + 1))


CASES = (
    Case("sigmoid", "sigmoid", depth=5, width=32, gain=1.0, rates=powers_of_four(-5, 1)),
    Case("tanh", "tanh", depth=10, width=32, gain=8.0, rates=powers_of_four(-6, 0)),
    Case("narrow relu", "relu", depth=10, width=6, gain=1.0, rates=powers_of_four(-5, 0)),
    Case("deep relu", "relu", depth=40, width=32, gain=1.0, rates=powers_of_four(-6, -1)),
)


@dataclass(frozen=True)
class Variant:
    """A network whose loss is measured along its steps: with or without batch norm, at some gain of initial weights."""

    batch_norm: bool
    gain: float = 1.0

    @property
    def name(self) -> str:
        """Its key in the outcome: ``none``, ``batch_norm``, or ``batch_norm gain 4``."""
        return ("batch_norm" if self.batch_norm else "none") + (f" gain {self.gain:g}" if self.gain != 1 else "")


@dataclass(frozen=True)
class Along:
    """How the loss is measured along the steps of a network that trains.

    Attributes
    ----------
    activations, depth, width : of networks.
    variants : of each.
    rate : the learning rate that all share.
    steps, every : of training, and from one measurement to the next.
    multiples : distances along the gradient, in steps of that rate.
    lengths : distances along the gradient, relative to the weights.
    """

    activations: tuple[str, ...] = ("relu", "tanh")
    depth: int = 5
    width: int = 64
    variants: tuple[Variant, ...] = (Variant(False), Variant(True), Variant(True, 0.25), Variant(True, 4.0))
    rate: float = 2.0**-6
    steps: int = 101
    every: int = 20
    multiples: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    lengths: tuple[float, ...] = (0.03, 0.1, 0.3)


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's.

    Attributes
    ----------
    cases : networks that may stall.
    along : how the loss is measured along steps.
    target_loss : a run whose training loss ends above it has stalled; half of what guessing gives.
    examined : of the runs that stall without batch norm, how many of each case are looked at.
    iterations : of the search for a way down.
    """

    cases: tuple[Case, ...] = CASES
    along: Along = Along()
    tuning_seeds: tuple[int, ...] = tuple(range(2600, 2604))
    test_seeds: tuple[int, ...] = tuple(range(2700, 2732))
    steps: int = 600
    batch_size: int = 50
    momentum: float = 0.9
    target_loss: float = math.log(10) / 2
    examined: int = 10
    iterations: int = 100

    def __post_init__(self) -> None:
        check_seeds(self)
        for case in self.cases:
            check_rising(case, "rates")

    def case(self, name: str) -> Case:
        """The case of this name."""
        return next(case for case in self.cases if case.name == name)
