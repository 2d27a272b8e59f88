"""The settings of the experiment, and the networks that it compares."""

from dataclasses import dataclass
from typing import Any

from bncourse.experiments.design import check_rising, check_seeds

NORMALIZED = ("post", "post zero gamma", "pre")
NETWORKS = (*NORMALIZED, "shrunk sums", "shrunk branches", "SkipInit")


def options(network: str, depth: int) -> dict[str, Any]:
    """What makes one of ``NETWORKS`` of so many hidden layers, as :class:`bncourse.lab.MLPEnsemble` takes it."""
    kinds: dict[str, dict[str, Any]] = {
        "post": {"residual": "post"},
        "post zero gamma": {"residual": "post", "zero_last_gamma": True},
        "pre": {"residual": "pre"},
        "shrunk sums": {"residual": "pre", "sum_scale": 0.5**0.5},
        "shrunk branches": {"residual": "pre", "branch_scale": (depth - 1) ** -0.5},
        "SkipInit": {"residual": "pre", "branch_scale": 0.0},
    }
    return {"batch_norm": network in NORMALIZED, **kinds[network]}


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's.

    Attributes
    ----------
    depths : numbers of hidden layers, in rising order.
    rates_depth : that of the networks whose largest rate is found.
    width : of the hidden layers.
    rates : in rising order.
    target_accuracy : what "works" refers to.
    """

    depths: tuple[int, ...] = (8, 16, 32, 64)
    rates_depth: int = 32
    width: int = 32
    rates: tuple[float, ...] = tuple(2.0**exponent for exponent in range(-8, 1))
    tuning_seeds: tuple[int, ...] = (9500, 9501)
    test_seeds: tuple[int, ...] = tuple(range(9600, 9624))
    steps: int = 150
    batch_size: int = 50
    momentum: float = 0.9
    target_accuracy: float = 0.9

    def __post_init__(self) -> None:
        check_rising(self, "depths", "rates", least=2)
        check_seeds(self)
