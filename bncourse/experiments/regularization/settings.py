"""The settings of the experiment, its data sets and its arms."""

from dataclasses import dataclass

from bncourse.experiments.design import check_rising, check_seeds

NOISE_TASKS = ("clusters", "noisy digits")
"""The data sets of C9."""

TASKS = (*NOISE_TASKS, "digits")
"""The data sets of C18."""


@dataclass(frozen=True)
class Arm:
    """Where the statistics come from.

    Attributes
    ----------
    kind : "none" without batch norm; "ghosts", from ghost batches; "full", from the whole training part; "noise", from
        the whole training part, with the noise of ghost batches put back.
    size : of the ghost batches; 0 where there are none. Of the optimizer's batch it is ordinary batch norm.
    """

    kind: str
    size: int = 0

    @property
    def name(self) -> str:
        """Its key in the outcome, such as ``ghosts of 8``."""
        return f"{self.kind} of {self.size}" if self.size else self.kind


@dataclass(frozen=True)
class Choice:
    """The best rate and number of steps of an arm, and the mean validation accuracy that it was chosen for."""

    rate: float
    steps: int
    accuracy: float


NONE, FULL = Arm("none"), Arm("full")


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's.

    Attributes
    ----------
    hidden : widths of the hidden layers.
    examples : training points of clusters, and training images of the noisy digits.
    clean_digits : training images of the digits.
    noisy_labels : share of the labels of the noisy digits that are drawn anew.
    sizes : of the ghost batches, in rising order; the last is the optimizer's batch.
    rates : the grid of all arms, in rising order.
    steps : the longest training.
    evaluate_every : steps from one number of steps that can be chosen to the next.
    batch_size, momentum : of the optimizer.
    tuning_seeds, test_seeds : none in common.
    """

    hidden: tuple[int, ...] = (64, 64, 64)
    examples: int = 512
    clean_digits: int = 250
    noisy_labels: float = 0.2
    sizes: tuple[int, ...] = (4, 8, 16, 32, 64)
    rates: tuple[float, ...] = tuple(2.0**exponent for exponent in range(-10, 1))
    steps: int = 600
    evaluate_every: int = 20
    batch_size: int = 64
    momentum: float = 0.9
    tuning_seeds: tuple[int, ...] = tuple(range(5200, 5203))
    test_seeds: tuple[int, ...] = tuple(range(5300, 5332))

    def __post_init__(self) -> None:
        check_rising(self, "sizes", "rates")
        check_seeds(self)
        if self.sizes[-1] != self.batch_size:
            raise ValueError(f"expected the last of sizes to be the batch of {self.batch_size}, got {self.sizes}")
        unfit = [size for size in self.sizes if size < 4 or self.batch_size % size or self.examples % size]
        if unfit:
            raise ValueError(
                f"expected sizes of 4 at least that divide the batch of {self.batch_size} and the {self.examples} "
                f"examples, got {unfit}"
            )

    @property
    def batch(self) -> Arm:
        """Ordinary batch norm."""
        return Arm("ghosts", self.batch_size)

    def arms(self, task: str) -> list[Arm]:
        """Those that are tuned first on a data set; the noise that is put back depends on what they show."""
        if task not in NOISE_TASKS:
            return [NONE, self.batch]
        return [NONE, FULL, *(Arm("ghosts", size) for size in self.sizes)]
