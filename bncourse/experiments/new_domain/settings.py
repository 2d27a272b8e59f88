"""The settings of the experiment."""

from collections.abc import Sequence
from dataclasses import dataclass

from bncourse.experiments.design import check_rising, check_seeds
from bncourse.lab import ConvEnsemble, MLPEnsemble
from bncourse.lab.corruptions import CORRUPTIONS

NETWORKS = ("MLP", "convolutional")
WAYS = ("frozen", "recalibrated", "affine", "batches", "batches, recalibrated")


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's.

    Attributes
    ----------
    widths : hidden units of the MLPs.
    channels : of the convolutional networks' hidden layers.
    steps, batch_size, momentum : of the training on clean digits; the momentum of fine-tuning as well.
    rates : for the clean digits, in rising order.
    domains : corruptions, by name.
    examples : to recalibrate with, in rising order.
    batch_sizes : at test time.
    sorted_batch_size : of the test images that come class by class.
    priors : in rising order.
    fine_tuning_domains : some of the domains.
    labelled : images to fine-tune on.
    epochs : over them.
    fine_tuning_batch_sizes : divisors of ``labelled``, in rising order.
    fine_tuning_rates : in rising order.
    """

    widths: tuple[int, ...] = (64, 64, 64)
    channels: tuple[int, ...] = (8, 16, 16)
    steps: int = 200
    batch_size: int = 50
    momentum: float = 0.9
    rates: tuple[float, ...] = tuple(2.0**exponent for exponent in range(-6, 1))
    domains: tuple[str, ...] = tuple(CORRUPTIONS)
    examples: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256)
    batch_sizes: tuple[int, ...] = (4, 20, 100)
    sorted_batch_size: int = 20
    priors: tuple[int, ...] = (0, 4, 16, 64, 256)
    fine_tuning_domains: tuple[str, ...] = ("haze", "noise", "move")
    labelled: int = 40
    epochs: int = 10
    fine_tuning_batch_sizes: tuple[int, ...] = (2, 4, 10, 40)
    fine_tuning_rates: tuple[float, ...] = tuple(2.0**exponent for exponent in range(-13, 1))
    tuning_seeds: tuple[int, ...] = (13500, 13501, 13502, 13503)
    test_seeds: tuple[int, ...] = tuple(range(13600, 13624))

    def __post_init__(self) -> None:
        check_rising(self, "rates", "examples", "priors", "fine_tuning_batch_sizes", "fine_tuning_rates")
        check_seeds(self)
        if any(self.labelled % size for size in self.fine_tuning_batch_sizes):
            raise ValueError(
                f"expected fine_tuning_batch_sizes to divide {self.labelled}, got {self.fine_tuning_batch_sizes}"
            )

    def ensemble(self, network: str, seeds: Sequence[int]) -> MLPEnsemble | ConvEnsemble:
        """New networks of one of the two kinds."""
        if network == "MLP":
            return MLPEnsemble((64, *self.widths, 10), seeds, batch_norm=True)
        return ConvEnsemble((1, *self.channels), 10, seeds, batch_norm=True)


REDUCED = Settings(
    steps=60,
    rates=(0.125,),
    domains=("haze", "negative", "noise", "move"),
    examples=(4, 32, 256),
    batch_sizes=(4, 100),
    priors=(0, 16),
    fine_tuning_domains=("haze",),
    epochs=2,
    fine_tuning_batch_sizes=(4, 40),
    fine_tuning_rates=(2.0**-7, 2.0**-5),
    tuning_seeds=(14500, 14501),
    test_seeds=tuple(range(14600, 14606)),
)
