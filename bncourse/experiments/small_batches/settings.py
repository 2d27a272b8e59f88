"""The settings of the experiment, and the arms that it compares."""

from dataclasses import dataclass

from bncourse.experiments.design import check_rising, check_seeds
from bncourse.lab import Norm


@dataclass(frozen=True)
class Arm:
    """Norms of which one is chosen when the rate is, and the statistics that inference has.

    Attributes
    ----------
    norms : at least one; None is no norm.
    reading : "running", or "retaken" for those of the training part; the same where there are none.
    """

    norms: tuple[Norm | None, ...]
    reading: str = "running"


ARMS = {
    "none": Arm((None,)),
    "batch": Arm((Norm("batch"),)),
    "batch, retaken": Arm((Norm("batch"),), "retaken"),
    "batch renorm": Arm((Norm("batch renorm", momentum=0.1), Norm("batch renorm", momentum=0.01))),
    "group": Arm((Norm("group", groups=2),)),
    "layer": Arm((Norm("layer"),)),
    "instance": Arm((Norm("instance"),)),
    "RMS": Arm((Norm("RMS"),)),
    "filter response": Arm((Norm("filter response"),)),
}
READ_THREE_WAYS = ("batch", "batch renorm")
"""Arms whose networks, and whose norms' kind, have batch statistics."""


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's.

    Attributes
    ----------
    examples : that each network sees in training, an image counted each time.
    channels : of the input and of the hidden layers.
    rates : learning rates of batches of one, in rising order; batches of B have B times the rate.
    """

    batch_sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 64)
    examples: int = 2000
    channels: tuple[int, ...] = (1, 8, 8, 8)
    rates: tuple[float, ...] = tuple(2.0**exponent for exponent in range(-11, -5))
    tuning_seeds: tuple[int, ...] = (10900, 10901, 10902)
    test_seeds: tuple[int, ...] = tuple(range(11000, 11032))
    momentum: float = 0.9

    def __post_init__(self) -> None:
        check_rising(self, "batch_sizes", "rates")
        check_seeds(self)
