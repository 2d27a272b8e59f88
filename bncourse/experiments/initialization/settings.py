"""The settings of the experiment."""

import math
from dataclasses import dataclass

import numpy as np

from bncourse.experiments.design import check_rising, check_seeds


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's.

    Attributes
    ----------
    hidden : widths of the hidden layers.
    gains : of the hidden weights, rising by one constant factor; 1 is among them.
    rates : for the sweep of gains, in rising order.
    small : what the tuned rate is multiplied by for the second rate.
    spread_data, spread_rates : for the spread over initializations.
    tuning_initializations, initializations : networks for each seed of the spread, in tuning and in testing.
    target_accuracy : what "works" refers to.
    """

    hidden: tuple[int, ...] = (64, 64, 64, 64, 64)
    gains: tuple[float, ...] = tuple(10 ** (exponent / 3) for exponent in range(-6, 4))
    rates: tuple[float, ...] = tuple(4.0**exponent for exponent in range(-11, 1))
    small: float = 1 / 4
    spread_data: tuple[str, ...] = ("digits", "clusters")
    spread_rates: tuple[float, ...] = tuple(2.0**exponent for exponent in range(-7, 0))
    tuning_seeds: tuple[int, ...] = tuple(range(1500, 1504))
    test_seeds: tuple[int, ...] = tuple(range(1600, 1624))
    tuning_initializations: int = 2
    initializations: int = 10
    steps: int = 200
    batch_size: int = 50
    momentum: float = 0.9
    target_accuracy: float = 0.9

    def __post_init__(self) -> None:
        if len(self.gains) < 2 or not np.allclose(np.diff(np.log10(self.gains)), self.decades) or 1 not in self.gains:
            raise ValueError(f"expected gains that rise by a constant factor, 1 among them, got {self.gains}")
        check_rising(self, "rates", "spread_rates")
        check_seeds(self)
        if self.initializations < 2:
            raise ValueError(f"expected two initializations at least, for a spread, got {self.initializations}")

    @property
    def decades(self) -> float:
        """From one gain to the next."""
        return math.log10(self.gains[1] / self.gains[0])
