"""The settings of the experiment, its run, and what it measures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from bncourse.experiments.design import ARMS, check_seeds
from bncourse.experiments.ensembles import portions, side_by_side
from bncourse.experiments.shared import finite
from bncourse.lab import (
    Interval,
    MLPEnsemble,
    accuracy,
    difference_of_means,
    digits,
    fast_rates,
    largest_rate,
    mean_interval,
    paired_interval,
    ratio_of_geometric_means,
    ratio_of_means,
    restricted_mean,
    run_all,
    steps_to_accuracy,
    steps_to_loss,
    train,
)


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's.

    ``rates`` rise by one constant factor, as the widths in decades suppose. At the ``pictured_rates``, which are
    among them, the learning curves are kept as well.
    """

    widths: tuple[int, ...] = (64, 64, 64, 64, 64, 64, 10)
    rates: tuple[float, ...] = tuple(2 ** (exponent / 2) for exponent in range(-22, 5))
    pictured_rates: tuple[float, ...] = (2**-8, 2**-3)
    tuning_seeds: tuple[int, ...] = tuple(range(100, 116))
    test_seeds: tuple[int, ...] = tuple(range(200, 232))
    steps: int = 300
    batch_size: int = 50
    momentum: float = 0.9
    target_accuracy: float = 0.9
    target_loss: float = 0.3

    def __post_init__(self) -> None:
        if len(self.rates) < 2 or not np.allclose(np.diff(np.log(self.rates)), math.log(self.factor)):
            raise ValueError(f"expected rates that rise by a constant factor, got {self.rates}")
        if not set(self.pictured_rates) <= set(self.rates):
            raise ValueError(f"expected pictured_rates to be among rates, got {self.pictured_rates}")
        check_seeds(self)

    @property
    def factor(self) -> float:
        """From one rate to the next."""
        return float(self.rates[1] / self.rates[0])


@dataclass(frozen=True)
class Outcome:
    """What the experiment measured: values of each arm by rate and test seed, and the estimates made of them.

    Attributes
    ----------
    rates : (R,).
    seeds : how many test seeds.
    horizon : H, the number of steps.
    target_accuracy : what "steps" and "works" refer to.
    steps, loss_steps : {arm: (R, S)}, ``None`` where the target was not reached.
    final_accuracy : {arm: (R, S)}, on the validation part after the last step.
    mean_steps : {arm: (R,)}, restricted means with their intervals.
    shared_ratio : (R,), the ratio of steps with both arms at that rate.
    tuned : {"steps" or "loss_steps" or "accuracy": {arm: the rate chosen on the tuning seeds}}.
    curves : {rate as text: {arm: one interval of the validation accuracy each ``curve_every`` steps}}.
    test_accuracy : {arm: (S,)}.
    estimates : the paired comparisons of the package's docstring, by name.
    """

    rates: list[float]
    seeds: int
    horizon: int
    target_accuracy: float
    steps: dict[str, list[list[float | None]]]
    loss_steps: dict[str, list[list[float | None]]]
    final_accuracy: dict[str, list[list[float]]]
    mean_steps: dict[str, list[Interval]]
    shared_ratio: list[Interval]
    tuned: dict[str, dict[str, float]]
    curve_every: int
    curves: dict[str, dict[str, list[Interval]]]
    test_accuracy: dict[str, list[float]]
    estimates: dict[str, Interval]


@dataclass(frozen=True)
class _Cell:
    """One arm: what an ensemble's training depends on, and what to read from it afterwards.

    Each member has its rate and seed. Of the members ``pictured`` the curves are kept, of those ``tested`` the test
    part is read.
    """

    arm: str
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    widths: tuple[int, ...]
    steps: int
    batch_size: int
    momentum: float
    target_accuracy: float
    target_loss: float
    pictured: tuple[int, ...]
    tested: tuple[int, ...]


@dataclass(eq=False)
class _Sweep:
    """One arm at every rate: (R, S) arrays, the curves (S, K) at the pictured rates, test accuracy at one rate."""

    steps: Float[np.ndarray, "R S"]
    loss_steps: Float[np.ndarray, "R S"]
    final_accuracy: Float[np.ndarray, "R S"]
    pictured: dict[float, Float[np.ndarray, "S K"]]
    test_accuracy: Float[np.ndarray, "S"]


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Tune both arms on the tuning seeds, then measure both on the test seeds."""

    def sweeps(seeds: tuple[int, ...], read_test_at: dict[str, float]) -> dict[str, _Sweep]:
        members = list(zip(*side_by_side(settings.rates, seeds), strict=True))
        cells = [_cell(settings, arm, some, read_test_at.get(arm)) for arm in ARMS for some in portions(members)]
        found = run_all(train_members, cells, jobs=jobs, cache=cache, progress=progress)
        of_arm = {arm: [each for cell, each in zip(cells, found, strict=True) if cell.arm == arm] for arm in ARMS}
        return {arm: _gather(settings, seeds, each) for arm, each in of_arm.items()}

    tuning = sweeps(settings.tuning_seeds, read_test_at={})
    tuned = {
        "steps": {arm: _fewest(settings, sweep.steps) for arm, sweep in tuning.items()},
        "loss_steps": {arm: _fewest(settings, sweep.loss_steps) for arm, sweep in tuning.items()},
        "accuracy": {
            arm: settings.rates[int(np.argmax(sweep.final_accuracy.mean(axis=1)))] for arm, sweep in tuning.items()
        },
    }
    return _summarize(settings, tuned, sweeps(settings.test_seeds, tuned["accuracy"]))


def _cell(settings: Settings, arm: str, members: Sequence[tuple[float, int]], read_test_at: float | None) -> _Cell:
    rates, seeds = zip(*members, strict=True)
    shared = ("widths", "steps", "batch_size", "momentum", "target_accuracy", "target_loss")
    return _Cell(
        arm=arm,
        rates=rates,
        seeds=seeds,
        pictured=tuple(place for place, rate in enumerate(rates) if rate in settings.pictured_rates),
        tested=tuple(place for place, rate in enumerate(rates) if rate == read_test_at),
        **{name: getattr(settings, name) for name in shared},
    )


def train_members(cell: _Cell) -> dict[str, Any]:
    """Train members of one arm, and read from them what the cell asks for."""
    data = digits()
    network = MLPEnsemble(cell.widths, cell.seeds, batch_norm=ARMS[cell.arm])
    history = train(network, data, cell.rates, cell.steps, cell.batch_size, cell.momentum)
    tested = accuracy(network.subset(cell.tested), data.test_x, data.test_y) if cell.tested else np.zeros(0)
    return {
        "steps": steps_to_accuracy(history, cell.target_accuracy),
        "loss_steps": steps_to_loss(history, cell.target_loss),
        "final_accuracy": history.validation_accuracy[:, -1],
        "curve": history.validation_accuracy[list(cell.pictured)],
        "test_accuracy": tested,
    }


def _gather(settings: Settings, seeds: tuple[int, ...], found: list[dict[str, Any]]) -> _Sweep:
    """What the portions of one arm gave, rate by rate."""
    whole = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    rows = {name: whole[name].reshape(-1, len(seeds)) for name in ("steps", "loss_steps", "final_accuracy")}
    pictured = [rate for rate in settings.rates if rate in settings.pictured_rates]
    curves = whole["curve"].reshape(len(pictured), len(seeds), settings.steps)
    return _Sweep(**rows, pictured=dict(zip(pictured, curves, strict=True)), test_accuracy=whole["test_accuracy"])


def _fewest(settings: Settings, steps: Float[np.ndarray, "R S"]) -> float:
    return settings.rates[int(np.argmin(restricted_mean(steps, settings.steps)))]


def _summarize(settings: Settings, tuned: dict[str, dict[str, float]], test: dict[str, _Sweep]) -> Outcome:
    horizon = settings.steps
    none, batch_norm = test["none"], test["batch_norm"]

    def tuned_row(name: str, arm: str) -> Float[np.ndarray, "S"]:
        row = settings.rates.index(tuned[name][arm])
        return np.asarray(np.minimum(getattr(test[arm], name)[row], horizon))

    def ratio(name: str) -> Interval:
        return paired_interval(tuned_row(name, "none"), tuned_row(name, "batch_norm"), ratio_of_means)

    works = {arm: sweep.final_accuracy >= settings.target_accuracy for arm, sweep in test.items()}
    largest = {arm: largest_rate(settings.rates, worked) for arm, worked in works.items()}
    decades = math.log10(settings.factor)
    working = {arm: worked.sum(axis=0) * decades for arm, worked in works.items()}
    fast = {arm: fast_rates(sweep.steps).sum(axis=0) * decades for arm, sweep in test.items()}
    every = 5
    return Outcome(
        rates=list(settings.rates),
        seeds=len(settings.test_seeds),
        horizon=horizon,
        target_accuracy=settings.target_accuracy,
        steps={arm: [finite(row) for row in sweep.steps.tolist()] for arm, sweep in test.items()},
        loss_steps={arm: [finite(row) for row in sweep.loss_steps.tolist()] for arm, sweep in test.items()},
        final_accuracy={arm: sweep.final_accuracy.round(4).tolist() for arm, sweep in test.items()},
        mean_steps={
            arm: [mean_interval(np.minimum(row, horizon)) for row in sweep.steps] for arm, sweep in test.items()
        },
        shared_ratio=[
            paired_interval(np.minimum(first, horizon), np.minimum(second, horizon), ratio_of_means)
            for first, second in zip(none.steps, batch_norm.steps, strict=True)
        ],
        tuned=tuned,
        curve_every=every,
        curves={
            f"{rate:g}": {
                arm: [mean_interval(column) for column in sweep.pictured[rate][:, every - 1 :: every].T]
                for arm, sweep in test.items()
            }
            for rate in settings.pictured_rates
        },
        test_accuracy={
            "none": none.test_accuracy.round(4).tolist(),
            "batch_norm": batch_norm.test_accuracy.round(4).tolist(),
        },
        estimates={
            "steps_ratio": ratio("steps"),
            "loss_steps_ratio": ratio("loss_steps"),
            "largest_rate_ratio": paired_interval(largest["batch_norm"], largest["none"], ratio_of_geometric_means),
            "working_width_difference": paired_interval(working["batch_norm"], working["none"], difference_of_means),
            "fast_width_difference": paired_interval(fast["batch_norm"], fast["none"], difference_of_means),
            "test_accuracy_difference": paired_interval(
                batch_norm.test_accuracy, none.test_accuracy, difference_of_means
            ),
        },
    )
