"""The settings of the experiment, and the sizes that it varies."""

from dataclasses import dataclass, replace

from bncourse.experiments.design import check_rising, check_seeds

SIZES = ("depth", "width", "digits", "clusters")
"""What is varied: layers, units, training images of the digits, and training points of clusters."""


@dataclass(frozen=True)
class Setting:
    """A data set and an architecture, on which both arms are compared."""

    data: str
    examples: int
    depth: int
    width: int

    @property
    def name(self) -> str:
        """Its key in the outcome, such as ``digits 1000, 4 x 32``."""
        return f"{self.data} {self.examples}, {self.depth} x {self.width}"


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's.

    Attributes
    ----------
    depths, widths, digits, clusters : the values of each size, in rising order.
    depth, width, examples : of the common setting, on the digits; those that are not varied.
    rates : in rising order.
    target_share : of the accuracy that networks without batch norm end with, which is the target of both arms.
    other_shares : for the comparison with other targets.
    evaluate_every : steps from one evaluation to the next.
    """

    depths: tuple[int, ...] = (2, 4, 8, 16)
    widths: tuple[int, ...] = (16, 32, 64, 128)
    digits: tuple[int, ...] = (125, 250, 500, 1000)
    clusters: tuple[int, ...] = (128, 512, 2048, 8192)
    depth: int = 4
    width: int = 32
    examples: int = 1000
    rates: tuple[float, ...] = tuple(2.0**exponent for exponent in range(-9, 1))
    tuning_seeds: tuple[int, ...] = (3500, 3501, 3502)
    test_seeds: tuple[int, ...] = tuple(range(3600, 3624))
    steps: int = 300
    batch_size: int = 50
    momentum: float = 0.9
    target_share: float = 0.95
    other_shares: tuple[float, ...] = (0.9, 0.98)
    evaluate_every: int = 3

    def __post_init__(self) -> None:
        check_rising(self, "depths", "widths", "digits", "clusters", "rates", least=2)
        check_seeds(self)

    def values(self, size: str) -> tuple[int, ...]:
        """What one of ``SIZES`` runs over."""
        return {"depth": self.depths, "width": self.widths, "digits": self.digits, "clusters": self.clusters}[size]

    def sweep(self, size: str) -> list[Setting]:
        """The settings that differ in one of ``SIZES``."""
        common = Setting("digits", self.examples, self.depth, self.width)
        if size == "depth":
            return [replace(common, depth=value) for value in self.depths]
        if size == "width":
            return [replace(common, width=value) for value in self.widths]
        return [replace(common, data=size, examples=value) for value in self.values(size)]

    def all(self) -> list[Setting]:
        """Every setting, each once."""
        return list(dict.fromkeys(setting for size in SIZES for setting in self.sweep(size)))
