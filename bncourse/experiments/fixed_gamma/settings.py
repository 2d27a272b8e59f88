"""The settings of the experiment."""

from dataclasses import dataclass

from bncourse.experiments.design import check_rising, check_seeds

COMPARED = {
    "relu": {"below 1": (0.1, 1.0), "above 1": (1.0, 10.0)},
    "tanh": {"below 1": (0.3, 1.0), "above 1": (1.0, 10.0)},
}
"""The smaller and the larger gamma of each fall."""


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's.

    Attributes
    ----------
    hidden : widths of the hidden layers.
    gammas : in rising order, those of ``COMPARED`` among them.
    rates : in rising order.
    """

    hidden: tuple[int, ...] = (64, 64, 64)
    gammas: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0)
    rates: tuple[float, ...] = tuple(2.0**exponent for exponent in range(-7, 2))
    tuning_seeds: tuple[int, ...] = (7100, 7101, 7102, 7103)
    test_seeds: tuple[int, ...] = tuple(range(7200, 7232))
    steps: int = 1200
    batch_size: int = 64
    momentum: float = 0.9

    def __post_init__(self) -> None:
        check_rising(self, "gammas", "rates")
        needed = {gamma for falls in COMPARED.values() for pair in falls.values() for gamma in pair}
        if not needed <= set(self.gammas):
            raise ValueError(f"expected gammas to hold those that the rule compares, got {self.gammas}")
        check_seeds(self)
