"""The settings of the experiment, the two places and the scores by which they are compared."""

from dataclasses import dataclass

from bncourse.experiments.design import check_rising, check_seeds

PLACES = ("before", "after")
"""Where batch norm stands in each hidden layer: before the activation, or after it."""

BOTH_ENDS = "before, and last"
"""A third network: before the activation, and once more in front of the output."""

SCORES = ("steps", "accuracy")
"""What the places are compared by: steps to the target on the digits, and accuracy on clusters."""


@dataclass(frozen=True)
class Architecture:
    """An activation and a number of hidden layers, with which both places are compared."""

    activation: str
    depth: int

    @property
    def name(self) -> str:
        """Its key in the outcome, such as ``relu 2``."""
        return f"{self.activation} {self.depth}"

    @property
    def saturates(self) -> bool:
        """Whether its activation is flat on both sides."""
        return self.activation in ("tanh", "sigmoid")


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's.

    Attributes
    ----------
    places : ``PLACES``, and ``BOTH_ENDS`` if it is to be run beside them.
    rates : in rising order.
    digits_steps, clusters_steps : of training on each data set.
    target : validation accuracy on the digits, to which steps are counted.
    evaluate_every : steps from one evaluation to the next, where steps are counted.
    """

    activations: tuple[str, ...] = ("relu", "tanh", "sigmoid")
    depths: tuple[int, ...] = (2, 6)
    width: int = 32
    places: tuple[str, ...] = (*PLACES, BOTH_ENDS)
    rates: tuple[float, ...] = tuple(2.0**exponent for exponent in range(-8, 2))
    tuning_seeds: tuple[int, ...] = tuple(range(6100, 6106))
    test_seeds: tuple[int, ...] = tuple(range(6200, 6264))
    digits_steps: int = 80
    clusters_steps: int = 200
    batch_size: int = 50
    momentum: float = 0.9
    target: float = 0.9
    evaluate_every: int = 4

    def __post_init__(self) -> None:
        check_rising(self, "depths", "rates")
        check_seeds(self)

    def architectures(self) -> list[Architecture]:
        """All combinations of activation and depth."""
        return [Architecture(activation, depth) for activation in self.activations for depth in self.depths]
