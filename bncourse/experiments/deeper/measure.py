"""The run: the rate of each network at each depth tuned on seeds of its own, then test accuracy on others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float

from bncourse.experiments.deeper.outcome import Outcome
from bncourse.experiments.deeper.settings import NETWORKS, Settings
from bncourse.experiments.ensembles import final_accuracy, side_by_side
from bncourse.lab import (
    MLPEnsemble,
    digits,
    geometric_mean_interval,
    mean_interval,
    paired_interval,
    ratio_of_geometric_means,
    run_all,
    train,
)

Value = TypeVar("Value")

RATIOS = {
    "plain ratio": ("plain batch_norm", "plain none"),
    "residual ratio": ("residual batch_norm", "residual none"),
    "skip_init ratio": ("residual batch_norm", "residual skip_init"),
    "branches ratio": ("residual batch_norm", "plain batch_norm"),
}
"""Numerator and denominator of each estimate."""


@dataclass(frozen=True)
class Cell:
    """Members of one network at one depth, each with its rate and seed, and the part that they are scored on."""

    network: str
    depth: int
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    width: int
    steps: int
    batch_size: int
    momentum: float
    part: str


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Tune each network at each depth on the tuning seeds, and score it on the test seeds."""
    spread_out = partial(run_all, jobs=jobs, cache=cache, progress=progress)
    places = [(network, depth) for network in NETWORKS for depth in settings.depths(network)]
    tuning = [_cell(settings, *place, settings.rates, settings.tuning_seeds, "validation") for place in places]
    scores = [
        found["accuracy"].reshape(len(settings.rates), -1).mean(axis=1) for found in spread_out(train_members, tuning)
    ]
    rates = [settings.rates[int(np.argmax(score))] for score in scores]
    final = [
        _cell(settings, *place, (rate,), settings.test_seeds, "test") for place, rate in zip(places, rates, strict=True)
    ]
    tested = [found["accuracy"] for found in spread_out(train_members, final)]
    return _summarize(settings, _by_network(places, scores), _by_network(places, rates), _by_network(places, tested))


def train_members(cell: Cell) -> dict[str, Float[np.ndarray, "S"]]:
    """Train an ensemble, and score its members on the part that the cell names, and on no other."""
    data = digits()
    kind = NETWORKS[cell.network]
    network = MLPEnsemble(
        (data.train_x.shape[1], *(cell.width,) * cell.depth, 10),
        cell.seeds,
        kind.batch_norm,
        residual="pre" if kind.residual else None,
        branch_scale=0.0 if kind.skip_init else None,
    )
    history = train(network, data, cell.rates, cell.steps, cell.batch_size, cell.momentum, evaluate_every=cell.steps)
    return {"accuracy": final_accuracy(network, history, data, cell.part)}


def largest_depth(depths: Sequence[int], works: Bool[np.ndarray, "D S"]) -> Float[np.ndarray, "S"]:
    """The largest depth at which each seed works; the smallest of all for a seed that works at none."""
    sweep = np.asarray(depths, dtype=float)[:, None]
    return np.asarray(np.where(works, sweep, sweep.min()).max(axis=0))


def _cell(
    settings: Settings, network: str, depth: int, rates: tuple[float, ...], seeds: tuple[int, ...], part: str
) -> Cell:
    """Every seed at every rate, side by side."""
    each_rate, each_seed = side_by_side(rates, seeds)
    return Cell(
        network=network,
        depth=depth,
        rates=each_rate,
        seeds=each_seed,
        width=settings.width,
        steps=settings.steps,
        batch_size=settings.batch_size,
        momentum=settings.momentum,
        part=part,
    )


def _by_network(places: Sequence[tuple[str, int]], values: Sequence[Value]) -> dict[str, list[Value]]:
    found: dict[str, list[Value]] = {network: [] for network in NETWORKS}
    for (network, _), value in zip(places, values, strict=True):
        found[network].append(value)
    return found


def _summarize(
    settings: Settings,
    scores: Mapping[str, Sequence[Float[np.ndarray, "R"]]],
    tuned: dict[str, list[float]],
    tested: Mapping[str, Sequence[Float[np.ndarray, "S"]]],
) -> Outcome:
    test = {network: np.round(rows, 4) for network, rows in tested.items()}
    largest = {
        network: largest_depth(settings.depths(network), rows >= settings.target_accuracy)
        for network, rows in test.items()
    }
    return Outcome(
        seeds=len(settings.test_seeds),
        target_accuracy=settings.target_accuracy,
        rates=list(settings.rates),
        depths={network: list(settings.depths(network)) for network in NETWORKS},
        tuning_accuracy={network: np.round(rows, 4).tolist() for network, rows in scores.items()},
        tuned=tuned,
        test_accuracy={network: rows.tolist() for network, rows in test.items()},
        mean_accuracy={network: [mean_interval(row) for row in rows] for network, rows in test.items()},
        largest={network: values.tolist() for network, values in largest.items()},
        reached={network: geometric_mean_interval(values) for network, values in largest.items()},
        estimates={
            name: paired_interval(largest[first], largest[second], ratio_of_geometric_means)
            for name, (first, second) in RATIOS.items()
        },
    )
