"""The settings of the experiment, and the arms that it compares."""

from dataclasses import dataclass

from bncourse.experiments.design import check_rising, check_seeds
from bncourse.lab import Perturbation


@dataclass(frozen=True)
class Arm:
    """One of the networks that are compared.

    Attributes
    ----------
    batch_norm : whether its hidden layers normalize.
    noise : after batch norm, "jumping", "swinging" or "frozen"; None if there is none.
    size : of the noise.
    """

    batch_norm: bool
    noise: str | None = None
    size: float = 0.0

    @property
    def name(self) -> str:
        """Its key in the outcome: ``none``, ``batch_norm``, or kind and size of the noise as in ``jumping 0.5``."""
        if self.noise:
            return f"{self.noise} {self.size:g}"
        return "batch_norm" if self.batch_norm else "none"

    @property
    def perturbation(self) -> Perturbation:
        """The noise: the size is how far it shifts at most."""
        return Perturbation(self.size, LARGEST_SCALE)


LARGEST_SCALE = 1.25
"""By which noise of any size multiplies at most."""

NONE, BATCH_NORM = Arm(False), Arm(True)
SHARED = "batch_norm shared"
"""Key of the network with batch norm at the rate tuned without it."""


@dataclass(frozen=True)
class Case:
    """An architecture, and what is searched for it.

    Attributes
    ----------
    activation, depth : of the hidden layers.
    steps : of training.
    rates : in rising order.
    jumping, swinging : sizes of the noise in rising order; frozen noise has the sizes of the swinging one.
    """

    activation: str
    depth: int
    steps: int
    rates: tuple[float, ...]
    jumping: tuple[float, ...]
    swinging: tuple[float, ...]

    def __post_init__(self) -> None:
        check_rising(self, "rates", "jumping", "swinging")

    @property
    def name(self) -> str:
        """Its key in the outcome, such as ``relu 5``."""
        return f"{self.activation} {self.depth}"

    @property
    def choices(self) -> int:
        """What tuning has to choose from: the largest number of rates, or of sizes of one noise."""
        return max(len(self.rates), len(self.jumping), len(self.swinging))

    def noisy(self, kind: str) -> list[Arm]:
        """The arms with one kind of noise, in the order of its size."""
        return [Arm(True, kind, size) for size in (self.jumping if kind == "jumping" else self.swinging)]

    def arms(self) -> list[Arm]:
        """All that are tuned and compared."""
        return [NONE, BATCH_NORM, *self.noisy("jumping"), *self.noisy("swinging"), *self.noisy("frozen")]


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's.

    Attributes
    ----------
    cases : the architectures.
    width : of the hidden layers.
    period : of the swinging noise, in steps.
    target_loss : the mean loss of 10 batches that counts as having learned.
    lags : over how many steps drift is measured.
    margin : by which factor noise must exceed the drift without batch norm on the tuning seeds.
    images : of the training part, on which drift is measured.
    probe_every : steps from one measurement of gradient change to the next.
    curve_steps, curve_every : of the learning curves that are kept.
    """

    cases: tuple[Case, ...] = (
        Case(
            "relu",
            5,
            steps=150,
            rates=tuple(2.0**exponent for exponent in range(-7, 0)),
            jumping=(0.125, 0.25, 0.5, 1.0),
            swinging=(0.5, 0.7, 0.85, 1.0, 1.25),
        ),
        Case(
            "sigmoid",
            3,
            steps=250,
            rates=tuple(2.0**exponent for exponent in range(-5, 2)),
            jumping=(0.125, 0.25, 0.5, 1.0),
            swinging=(1.0, 1.5, 2.0, 2.25, 2.5),
        ),
    )
    width: int = 64
    period: int = 40
    tuning_seeds: tuple[int, ...] = tuple(range(2100, 2108))
    test_seeds: tuple[int, ...] = tuple(range(2200, 2232))
    batch_size: int = 50
    momentum: float = 0.9
    target_loss: float = 0.3
    lags: tuple[int, ...] = (1, 10)
    margin: float = 1.1
    images: int = 64
    probe_every: int = 4
    curve_steps: int = 100
    curve_every: int = 5

    def __post_init__(self) -> None:
        check_seeds(self)
