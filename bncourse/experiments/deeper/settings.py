"""The settings of the experiment, and the networks that it compares."""

from dataclasses import dataclass

from bncourse.experiments.design import check_rising, check_seeds


@dataclass(frozen=True)
class Network:
    """What a network has beside its linear layers and ReLU.

    Attributes
    ----------
    residual : whether it has a pre-activation branch around each hidden layer but the first.
    batch_norm : whether its hidden layers normalize.
    skip_init : whether each branch is multiplied by a learned number that starts at 0.
    """

    residual: bool
    batch_norm: bool = False
    skip_init: bool = False


NETWORKS = {
    "plain none": Network(residual=False),
    "plain batch_norm": Network(residual=False, batch_norm=True),
    "residual none": Network(residual=True),
    "residual batch_norm": Network(residual=True, batch_norm=True),
    "residual skip_init": Network(residual=True, skip_init=True),
}
"""By their keys in the outcome."""


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's.

    Attributes
    ----------
    plain_depths, residual_depths : numbers of hidden layers, in rising order.
    width : of the hidden layers.
    rates : in rising order.
    target_accuracy : what "works" refers to.
    """

    plain_depths: tuple[int, ...] = (4, 5, 6, 7, 8, 10, 12, 14, 17, 20, 28, 40)
    residual_depths: tuple[int, ...] = (4, 6, 8, 11, 16, 32, 64)
    width: int = 32
    rates: tuple[float, ...] = tuple(2.0**exponent for exponent in range(-13, 0))
    tuning_seeds: tuple[int, ...] = (3000, 3001, 3002)
    test_seeds: tuple[int, ...] = tuple(range(3100, 3132))
    steps: int = 150
    batch_size: int = 50
    momentum: float = 0.9
    target_accuracy: float = 0.9

    def __post_init__(self) -> None:
        check_rising(self, "plain_depths", "residual_depths", "rates", least=2)
        check_seeds(self)

    def depths(self, network: str) -> tuple[int, ...]:
        """The sweep of one of ``NETWORKS``."""
        return self.residual_depths if NETWORKS[network].residual else self.plain_depths
