"""The settings of the experiment, the networks, and the norms that they are given."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bncourse.experiments.design import check_seeds

NETWORKS = {"RNN": ("tanh", 32), "LSTM": ("lstm", 16)}
"""Cell and hidden units of each network. With half as many units, an LSTM has about as many weights."""

ARMS: dict[str, tuple[str | None, float]] = {
    "none": (None, 1.0),
    "input": ("input", 1.0),
    "shared": ("shared", 1.0),
    "per_step": ("per_step", 1.0),
    "small_gamma": ("per_step", 0.1),
    "layer": ("layer", 1.0),
}
"""Norm of each arm, and the gamma that it starts from; see :class:`bncourse.lab.RecurrentEnsemble`."""

BATCH_NORMS = ("input", "shared", "per_step", "small_gamma")
"""The arms that are batch norm, of which the best is chosen."""

SCORES = ("steps", "accuracy")


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's.

    Attributes
    ----------
    inputs : pixels that a network reads in one step.
    arms : of ``ARMS``, with "none" and at least one of ``BATCH_NORMS`` among them.
    rates : {network: in rising order}; those of its arms.
    steps : of training.
    target : validation accuracy to which they are counted.
    evaluate_every : steps from one evaluation to the next.
    """

    inputs: int = 4
    arms: tuple[str, ...] = tuple(ARMS)
    rates: Mapping[str, tuple[float, ...]] = field(
        default_factory=lambda: {
            "RNN": tuple(2.0**exponent for exponent in range(-7, 0)),
            "LSTM": tuple(2.0**exponent for exponent in range(-6, 1)),
        }
    )
    tuning_seeds: tuple[int, ...] = (10500, 10501, 10502)
    test_seeds: tuple[int, ...] = tuple(range(10600, 10624))
    steps: int = 200
    batch_size: int = 50
    momentum: float = 0.9
    target: float = 0.8
    evaluate_every: int = 5

    def __post_init__(self) -> None:
        check_seeds(self)
        grids = [self.rates.get(network, ()) for network in NETWORKS]
        if any(not grid or list(grid) != sorted(set(grid)) for grid in grids):
            raise ValueError(f"expected rates of each network in rising order, got {self.rates}")
        if "none" not in self.arms or not self.batch_norms:
            raise ValueError(f"expected none and a batch norm among the arms, got {self.arms}")

    @property
    def batch_norms(self) -> tuple[str, ...]:
        """Those of the arms."""
        return tuple(arm for arm in self.arms if arm in BATCH_NORMS)
