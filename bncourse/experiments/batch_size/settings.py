"""The settings of the experiment."""

from dataclasses import dataclass
from typing import Literal

from bncourse.experiments.design import check_rising, check_seeds

SMALL, LARGE = 20, 250
"""The batch sizes that are compared."""

EXAMPLES = 1000
"""Training images of the digits."""


@dataclass(frozen=True)
class Budget:
    """How long to train: for so many passes through the training part, or for so many updates."""

    amount: int
    unit: Literal["epochs", "updates"]

    @property
    def name(self) -> str:
        return f"{self.amount} {self.unit if self.amount > 1 else self.unit.removesuffix('s')}"

    def steps(self, batch_size: int) -> int:
        """Updates in batches of this size."""
        return self.amount if self.unit == "updates" else self.amount * (EXAMPLES // batch_size)


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's.

    Attributes
    ----------
    hidden : widths of the hidden layers.
    batch_sizes : in rising order; divisors of the number of training images.
    arms : the rule reads the one with batch norm alone.
    rates : in rising order.
    noise_budget, noise_batch_size : how the networks are trained whose noise is measured.
    draws : batches of each size over which it is measured.
    """

    hidden: tuple[int, ...] = (32, 32, 32)
    batch_sizes: tuple[int, ...] = (2, 5, 10, 20, 50, 100, 250)
    arms: tuple[str, ...] = ("none", "batch_norm")
    budgets: tuple[Budget, ...] = (
        Budget(1, "epochs"),
        Budget(4, "epochs"),
        Budget(20, "updates"),
        Budget(80, "updates"),
    )
    rates: tuple[float, ...] = tuple(2.0**exponent for exponent in range(-11, 4))
    momentum: float = 0.9
    noise_budget: Budget = Budget(4, "epochs")
    noise_batch_size: int = 50
    draws: int = 100
    tuning_seeds: tuple[int, ...] = (8100, 8101, 8102, 8103)
    test_seeds: tuple[int, ...] = tuple(range(8200, 8232))

    def __post_init__(self) -> None:
        check_rising(self, "batch_sizes", "rates")
        if not {SMALL, LARGE} <= set(self.batch_sizes) or any(EXAMPLES % size for size in self.batch_sizes):
            raise ValueError(
                f"expected batch_sizes that divide {EXAMPLES}, {SMALL} and {LARGE} among them, got {self.batch_sizes}"
            )
        if min(self.batch_sizes) < 2:
            raise ValueError(f"expected batch_sizes of 2 at least, for a variance to exist, got {self.batch_sizes}")
        check_seeds(self)
