"""The settings of the experiment, and the networks that it compares."""

from collections.abc import Sequence
from dataclasses import dataclass

from bncourse.experiments.design import check_rising, check_seeds
from bncourse.lab import ConvEnsemble, MLPEnsemble, RecurrentEnsemble, TransformerEnsemble
from bncourse.lab.ensemble import Ensemble

CLAIMED = ("fully connected", "convolutional", "recurrent")
"""The architectures that the claim names."""

NORMS: dict[str, dict[str, tuple[str | None, ...]]] = {
    "fully connected": {"none": (None,), "batch_norm": ("batch",)},
    "convolutional": {"none": (None,), "batch_norm": ("batch",)},
    "recurrent": {"none": (None,), "batch_norm": ("input", "per_step")},
    "transformer": {"none": (None,), "batch_norm": ("batch",), "layer_norm": ("layer",)},
}
"""Arms of each architecture, and the norms that an arm chooses from when it is tuned."""


def network(architecture: str, norm: str | None, seeds: Sequence[int]) -> Ensemble:
    """Networks of an architecture for the digits, with one of its norms."""
    if architecture == "fully connected":
        return MLPEnsemble((64, 32, 32, 32, 32, 10), seeds, norm == "batch")
    if architecture == "convolutional":
        return ConvEnsemble((1, 8, 8, 8), 10, seeds, norm == "batch")
    if architecture == "recurrent":
        return RecurrentEnsemble((8, 32, 10), seeds, norm)
    return TransformerEnsemble((8, 16, 10), seeds, norm)


@dataclass(frozen=True)
class Cell:
    """An architecture, a batch size and a number of training examples, at which arms are compared."""

    architecture: str
    batch_size: int
    examples: int

    @property
    def name(self) -> str:
        """Its key in the outcome, such as ``recurrent, batches of 4, 2000 examples``."""
        return f"{self.architecture}, batches of {self.batch_size}, {self.examples} examples"

    @property
    def steps(self) -> int:
        """As many whole batches as the examples fill."""
        return self.examples // self.batch_size


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's.

    Attributes
    ----------
    architectures : of those of ``NORMS``, the claimed ones first.
    recurrent_norms : that the recurrent network's batch norm is chosen from.
    batch_sizes : the small one and the large one.
    budgets : numbers of training examples, an image counted each time that it is seen; the rule rests on the first.
    rates : learning rates of batches of one, in rising order; batches of B have B times the rate.
    """

    architectures: tuple[str, ...] = tuple(NORMS)
    recurrent_norms: tuple[str, ...] = ("input", "per_step")
    batch_sizes: tuple[int, int] = (4, 64)
    budgets: tuple[int, ...] = (2000, 6000)
    rates: tuple[float, ...] = tuple(2.0**exponent for exponent in range(-12, -5))
    tuning_seeds: tuple[int, ...] = (10100, 10101, 10102)
    test_seeds: tuple[int, ...] = tuple(range(10200, 10248))
    momentum: float = 0.9

    def __post_init__(self) -> None:
        check_rising(self, "batch_sizes", "budgets", "rates")
        check_seeds(self)
        if self.architectures[: len(CLAIMED)] != CLAIMED or not set(self.architectures) <= set(NORMS):
            raise ValueError(f"expected architectures to begin with {', '.join(CLAIMED)}, got {self.architectures}")

    def cells(self) -> list[Cell]:
        """All cells."""
        return [
            Cell(architecture, batch_size, examples)
            for examples in self.budgets
            for architecture in self.architectures
            for batch_size in self.batch_sizes
        ]

    def norms(self, architecture: str) -> dict[str, tuple[str | None, ...]]:
        """The arms of an architecture, and the norms that each is tuned over."""
        arms = NORMS[architecture]
        return {**arms, "batch_norm": self.recurrent_norms} if architecture == "recurrent" else arms
