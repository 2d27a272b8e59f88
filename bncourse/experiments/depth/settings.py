"""The settings of the experiment, and the networks that it trains."""

from dataclasses import dataclass

from bncourse.experiments.design import check_rising, check_seeds


@dataclass(frozen=True)
class Case:
    """A plain network on the digits, to be trained with and without batch norm."""

    activation: str
    depth: int
    gain: float = 1.0

    @property
    def name(self) -> str:
        """Its key in the outcome: ``tanh 20``, or ``tanh 20 gain 2`` if the gain is not 1."""
        return f"{self.activation} {self.depth}" + (f" gain {self.gain:g}" if self.gain != 1 else "")


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's.

    The estimands are those of networks with ``depth`` hidden layers. On normal inputs, where the growth of gradients is
    measured, they are those of the last of ``normal_widths`` and of ``normal_batches``.

    Attributes
    ----------
    depth : hidden layers, one of ``depths`` and of ``trained_depths``.
    depths : at which gradients are measured at initialization.
    trained_depths : of the sigmoid and tanh networks that are trained.
    width : of the hidden layers of networks on the digits.
    large_gain : of the hidden weights, where units are to saturate.
    normal_widths, normal_batches, normal_gains : sweeps on normal inputs.
    rates : in rising order.
    """

    depth: int = 20
    depths: tuple[int, ...] = (2, 5, 10, 20, 30, 40)
    trained_depths: tuple[int, ...] = (5, 10, 20)
    width: int = 64
    large_gain: float = 2.0
    normal_widths: tuple[int, ...] = (32, 128)
    normal_batches: tuple[int, ...] = (8, 32, 128)
    normal_gains: tuple[float, ...] = (0.5, 1.0, 2.0)
    rates: tuple[float, ...] = tuple(4.0**exponent for exponent in range(-6, 1))
    tuning_seeds: tuple[int, ...] = tuple(range(1000, 1004))
    test_seeds: tuple[int, ...] = tuple(range(1100, 1132))
    steps: int = 200
    batch_size: int = 50
    momentum: float = 0.9

    def __post_init__(self) -> None:
        check_seeds(self)
        for name in ("depths", "trained_depths"):
            if self.depth not in getattr(self, name):
                raise ValueError(f"expected depth {self.depth} among {name}, got {getattr(self, name)}")
        check_rising(self, "rates")

    def case(self, activation: str, gain: float = 1.0) -> Case:
        """The network of ``depth`` layers, on which estimands rest."""
        return Case(activation, self.depth, gain)

    def cases(self) -> list[Case]:
        """All networks that are trained."""
        plain = [Case(activation, depth) for activation in ("sigmoid", "tanh") for depth in self.trained_depths]
        return [*plain, self.case("tanh", self.large_gain), self.case("relu")]
