"""From the arrays of all cells to the outcome and its estimates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from bncourse.experiments.landscape.outcome import Outcome, Values
from bncourse.experiments.landscape.places import PATH_EVERY
from bncourse.experiments.landscape.settings import EXAMINED, Settings
from bncourse.experiments.landscape.shares import difference_of_shares, share
from bncourse.experiments.shared import finite, six_digits
from bncourse.lab import Interval, geometric_mean_interval, mean_interval, paired_interval, ratio_of_geometric_means

LOWERED = 0.9
RISE = 0.01
STUCK = ("saturated", "minimum")
LOOKED_AT = (
    "initial_gradient",
    "gradient",
    "smallest_curvature",
    "largest_curvature",
    "lowest",
    "rise",
    "reset",
    "same_function",
    "fixed_gamma",
)

Along = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True, eq=False)
class Stalls:
    """One arm of a case: its tuned rate, the scores (R,) that chose it, and the test seeds' final losses (S,)."""

    rate: float
    scores: Float[np.ndarray, "R"]
    loss: Float[np.ndarray, "S"]
    stalled: Bool[np.ndarray, "S"]


@dataclass(frozen=True, eq=False)
class Examined:
    """How many stalled runs were to be examined, and what was read of those that had not diverged.

    The readings are those of :func:`~bncourse.experiments.landscape.places.train_and_examine`.
    """

    count: int
    readings: Mapping[str, Any]

    def kinds(self) -> list[str]:
        """Where each of them sits; those that had diverged come last."""
        found = self.readings
        seen = [
            kind(found["loss"][member], found["lowest"][place], found["rise"][place], found["saturated"][place])
            for place, member in enumerate(found["examined"])
        ]
        return seen + ["diverged"] * (self.count - len(seen))


def kind(loss: float, lowest: float, rise: float, saturated: Float[np.ndarray, "L"]) -> str:
    """Where a stalled run sits.

    - "saturated": more than half of all hidden values are saturated on average over layers, or all of some layer's.
    - "minimum": else, if no way down was found: none that lowers the loss by a tenth without ever leading above its
      beginning by more than a hundredth of the loss there.
    - "way down": else.
    """
    if saturated.mean() > 0.5 or saturated.max() >= 1:
        return "saturated"
    return "way down" if lowest <= LOWERED * loss and rise <= RISE * loss else "minimum"


def summarize(
    settings: Settings, stalls: Mapping[str, Mapping[str, Stalls]], examined: Mapping[str, Examined], along: Along
) -> Outcome:
    """Everything that the outcome holds, from the cells' arrays."""
    read = {name: each.readings for name, each in examined.items() if len(each.readings["examined"])}
    kinds = {name: each.kinds() for name, each in examined.items()}
    lengths = [f"{length:g}" for length in settings.along.lengths]
    return Outcome(
        seeds=len(settings.test_seeds),
        target_loss=settings.target_loss,
        rates={case.name: list(case.rates) for case in settings.cases},
        tuning_loss={
            case: {arm: each.scores.round(4).tolist() for arm, each in a.items()} for case, a in stalls.items()
        },
        tuned={case: {arm: each.rate for arm, each in arms.items()} for case, arms in stalls.items()},
        final_loss={case: {arm: _recorded(each.loss) for arm, each in arms.items()} for case, arms in stalls.items()},
        stalled={case: {arm: share(each.stalled) for arm, each in arms.items()} for case, arms in stalls.items()},
        kinds=kinds,
        places={
            name: {quantity: _recorded(found[quantity]) for quantity in LOOKED_AT}
            | {
                "loss": _recorded(found["loss"][found["examined"]]),
                "saturated": _recorded(found["saturated"].mean(axis=1)),
            }
            for name, found in read.items()
        },
        paths={name: [_recorded(path) for path in found["path"]] for name, found in read.items()},
        path_every=PATH_EVERY,
        trained_on={
            name: {
                f"{rate:g}": _recorded(row)
                for rate, row in zip(settings.case(name).rates, found["trained_on"], strict=True)
            }
            for name, found in read.items()
        },
        along_steps=list(range(1, settings.along.steps + 1, settings.along.every)),
        along={
            activation: {
                variant: {quantity: _means(quantity, found[quantity]) for quantity in _RAW}
                for variant, found in variants.items()
            }
            for activation, variants in along.items()
        },
        relative={
            activation: {
                variant: {
                    length: {quantity: _means(quantity, found[quantity][:, :, place]) for quantity in _RELATIVE}
                    for place, length in enumerate(lengths)
                }
                for variant, found in variants.items()
            }
            for activation, variants in along.items()
        },
        estimates=estimates(settings, stalls, kinds, along),
    )


_RAW = ("loss", "lowest", "highest", "smoothness")
_RELATIVE = ("relative_change", "relative_smoothness", "falls")
_POSITIVE = ("smoothness", "relative_change", "relative_smoothness")


def estimates(
    settings: Settings, stalls: Mapping[str, Mapping[str, Stalls]], kinds: Mapping[str, list[str]], along: Along
) -> dict[str, Interval]:
    """The numbers that the rule rests on, and ratios of smoothness none / batch norm."""
    found = {
        f"{case} difference": difference_of_shares(arms["none"].stalled, arms["batch_norm"].stalled)
        for case, arms in stalls.items()
    }
    for name in EXAMINED:
        found[f"{name} stuck"] = share(np.array([each in STUCK for each in kinds[name]], dtype=bool))
    for activation, variants in along.items():
        for moment, steps in (("initial", slice(0, 1)), ("trained", slice(1, None))):

            def ratio(quantity: str, *place: int, steps: slice = steps, variants: Any = variants) -> Interval:
                """Of the geometric means over steps and seeds."""
                values = [
                    np.exp(np.log(variants[arm][quantity][(slice(None), steps, *place)]).mean(axis=1))
                    for arm in ("none", "batch_norm")
                ]
                return paired_interval(values[0], values[1], ratio_of_geometric_means)

            found[f"{activation} smoothness {moment}"] = ratio("smoothness")
            for place, length in enumerate(settings.along.lengths):
                for quantity in ("smoothness", "change"):
                    name = f"{activation} relative {quantity} {moment} {length:g}"
                    found[name] = ratio(f"relative_{quantity}", place)
    return found


def _means(quantity: str, values: Float[np.ndarray, "S K"]) -> list[Interval]:
    return [geometric_mean_interval(column) if quantity in _POSITIVE else mean_interval(column) for column in values.T]


def _recorded(values: Float[np.ndarray, "S"]) -> Values:
    """Six digits of each; None where a run has none."""
    return finite(six_digits(values))
