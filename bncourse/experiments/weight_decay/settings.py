"""The settings of the experiment."""

import math
from dataclasses import dataclass

from bncourse.experiments import design
from bncourse.experiments.design import check_rising, check_seeds


@dataclass(frozen=True)
class Equilibrium:
    r"""A momentum :math:`\mu`, a rate :math:`\eta` and a decay :math:`\lambda`, whose balance is looked at."""

    momentum: float
    rate: float
    decay: float

    @property
    def angle(self) -> float:
        r"""Predicted for each step, :math:`\sqrt{2 \eta \lambda / (1 + \mu)}` (equation ``eq-decay-angle``)."""
        return math.sqrt(2 * self.rate * self.decay / (1 + self.momentum))

    @property
    def name(self) -> str:
        return f"momentum {self.momentum:g}, rate {self.rate:g}, decay {self.decay:g}"


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's.

    Attributes
    ----------
    hidden : widths of the hidden layers.
    arms : of the first part; the rule reads the one with batch norm alone.
    rates, decays : the grid, each in rising order; no decay is searched besides.
    fixed_rate : of the first gain, one of ``rates``.
    momentum : of all but some of the ``equilibria``.
    equilibria : what the angle is measured at.
    followed_rate, followed_decay, followed_gains : of the trajectories, each gain with decay and without.
    growth_rates : {momentum: rate}, without decay.
    followed_seeds : how many of the test seeds the second part uses.
    equilibrium_steps, trajectory_steps, growth_steps, matched_steps : of the second part.
    """

    hidden: tuple[int, ...] = (64, 64, 64)
    arms: tuple[str, ...] = ("none", "batch_norm")
    rates: tuple[float, ...] = tuple(0.01 * 2.0**exponent for exponent in range(-4, 7))
    decays: tuple[float, ...] = tuple(0.001 * 4.0**exponent for exponent in range(7))
    fixed_rate: float = 0.01
    momentum: float = 0.9
    steps: int = 600
    batch_size: int = 64
    tuning_seeds: tuple[int, ...] = tuple(range(2500, 2505))
    test_seeds: tuple[int, ...] = tuple(range(2600, 2696))
    equilibria: tuple[Equilibrium, ...] = (
        Equilibrium(0.9, 0.02, 0.1),
        Equilibrium(0.9, 0.08, 0.025),
        Equilibrium(0.9, 0.02, 0.025),
        Equilibrium(0.0, 0.2, 0.1),
        Equilibrium(0.0, 0.8, 0.025),
        Equilibrium(0.0, 0.2, 0.025),
    )
    followed_rate: float = 0.02
    followed_decay: float = 0.1
    followed_gains: tuple[float, ...] = (0.1, 1.0, 4.0)
    growth_rates: tuple[tuple[float, float], ...] = ((0.0, 0.2), (0.9, 0.02))
    followed_seeds: int = 24
    equilibrium_steps: int = 1000
    trajectory_steps: int = 400
    growth_steps: int = 200
    matched_steps: int = 20
    read_every: int = 10

    def __post_init__(self) -> None:
        check_rising(self, "rates", "decays")
        if self.decays[0] <= 0:
            raise ValueError(f"expected decays above 0, as no decay is searched besides, got {self.decays}")
        if self.fixed_rate not in self.rates:
            raise ValueError(f"expected fixed_rate {self.fixed_rate:g} among the rates {self.rates}")
        check_seeds(self)
        if not 2 <= self.followed_seeds <= len(self.test_seeds):
            raise ValueError(f"expected followed_seeds between 2 and {len(self.test_seeds)}, got {self.followed_seeds}")


def with_seeds(settings: Settings, count: int) -> Settings:
    """The same settings with another number of test seeds; no more of them are followed than there are."""
    return design.with_seeds(settings, count, followed_seeds=min(settings.followed_seeds, count))
