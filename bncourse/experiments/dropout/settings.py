"""The settings of the experiment, and the networks that it compares."""

from collections.abc import Sequence
from dataclasses import dataclass

from bncourse.experiments.design import check_rising, check_seeds
from bncourse.lab import MLPEnsemble

ALONE = ("batch_norm", "dropout")
ORDERS = ("before", "after", "last")
ARMS = ("none", *ALONE, *ORDERS)


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's.

    Attributes
    ----------
    hidden : widths of the hidden layers.
    arms : those of ``ARMS`` that are compared; the rule rests on all but "none".
    rates, shares : the grid, each in rising order; arms without dropout have the share 0 alone.
    shift_hidden : widths of the hidden layers of the networks whose variances are read.
    shift_rate, shift_shares : with which these are trained.
    """

    hidden: tuple[int, ...] = (64, 64, 64)
    arms: tuple[str, ...] = ARMS
    rates: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)
    shares: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.8)
    steps: int = 600
    batch_size: int = 64
    momentum: float = 0.9
    tuning_seeds: tuple[int, ...] = tuple(range(6800, 6804))
    test_seeds: tuple[int, ...] = tuple(range(6900, 6932))
    shift_hidden: tuple[int, ...] = (64,) * 6
    shift_rate: float = 0.1
    shift_shares: tuple[float, ...] = (0.1, 0.3)

    def __post_init__(self) -> None:
        if not {*ALONE, *ORDERS} <= set(self.arms) <= set(ARMS):
            raise ValueError(f"expected arms {', '.join((*ALONE, *ORDERS))}, and none or not, got {self.arms}")
        check_rising(self, "rates", "shares")
        check_rising(self, "shift_shares", least=0)
        if self.shares[0] <= 0:
            raise ValueError(f"expected shares above 0, as an arm without dropout has none, got {self.shares}")
        check_seeds(self)

    def shares_of(self, arm: str) -> tuple[float, ...]:
        """What the share of one of ``ARMS`` is chosen from."""
        return (0.0,) if arm in ("none", "batch_norm") else self.shares


def build(arm: str, share: float, widths: Sequence[int], seeds: Sequence[int]) -> MLPEnsemble:
    """Networks of one of ``ARMS``.

    In the order "before" the linear layers have no bias, as in the other orders: batch norm would take its mean away,
    and dropout would make noise of it.
    """
    hidden = len(widths) - 2
    return MLPEnsemble(
        widths,
        seeds,
        arm not in ("none", "dropout"),
        order=("dropout", "norm", "activation") if arm == "before" else ("norm", "activation", "dropout"),
        dropout=(0.0,) * (hidden - 1) + (share,) if arm == "last" else share,
        bias=arm in ("none", "dropout"),
    )
