"""The run: each network tuned at each depth and scored on other seeds, and the rates at which it works."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from bncourse.experiments.ensembles import final_accuracy, portions, side_by_side
from bncourse.experiments.residual.outcome import Outcome
from bncourse.experiments.residual.settings import NETWORKS, NORMALIZED, Settings, options
from bncourse.lab import (
    MLPEnsemble,
    difference_of_means,
    digits,
    largest_rate,
    mean_interval,
    paired_interval,
    ratio_of_geometric_means,
    run_all,
    train,
)

DIFFERENCES = {
    "last gamma": ("post zero gamma", "post"),
    "pre": ("pre", "post"),
    "shrunk branches": ("shrunk branches", "shrunk sums"),
}
"""Minuend and subtrahend."""

RATIOS = {
    "zero gamma / post": ("post zero gamma", "post"),
    "pre / post": ("pre", "post"),
    "pre / zero gamma": ("pre", "post zero gamma"),
}
"""Numerator and denominator."""


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
    """Tune each network at each depth, score it, and sweep the rates of those with batch norm at one depth."""
    spread_out = partial(run_all, jobs=jobs, cache=cache, progress=progress)

    def accuracies(cells: list[Cell]) -> list[Float[np.ndarray, "S"]]:
        return [found["accuracy"] for found in spread_out(train_members, cells)]

    grid = len(settings.rates)
    places = [(network, depth) for network in NETWORKS for depth in settings.depths]
    everywhere = side_by_side(settings.rates, settings.tuning_seeds)
    tuning = accuracies([_cell(settings, *place, *everywhere, "validation") for place in places])
    scores = [np.round(found.reshape(grid, -1).mean(axis=1), 4) for found in tuning]
    tuned = [settings.rates[int(np.argmax(score))] for score in scores]
    chosen = [side_by_side((rate,), settings.test_seeds) for rate in tuned]
    tested = accuracies(
        [_cell(settings, *place, *members, "test") for place, members in zip(places, chosen, strict=True)]
    )
    sweep = list(zip(*side_by_side(settings.rates, settings.test_seeds), strict=True))
    parts = [tuple(zip(*part, strict=True)) for part in portions(sweep)]
    cells = [
        _cell(settings, network, settings.rates_depth, rates, seeds, "validation")
        for network in NORMALIZED
        for rates, seeds in parts
    ]
    swept = np.concatenate(accuracies(cells)).reshape(len(NORMALIZED), grid, -1)
    by_network = (len(NETWORKS), len(settings.depths), -1)
    return _summarize(
        settings,
        dict(zip(NETWORKS, np.reshape(scores, by_network), strict=True)),
        dict(zip(NETWORKS, np.reshape(tuned, by_network[:2]), strict=True)),
        dict(zip(NETWORKS, np.reshape(np.round(tested, 4), by_network), strict=True)),
        dict(zip(NORMALIZED, np.round(swept, 4), strict=True)),
    )


def train_members(cell: Cell) -> dict[str, Float[np.ndarray, "S"]]:
    """Train an ensemble, and score its members on the part that the cell names, and on no other."""
    data = digits()
    widths = (data.train_x.shape[1], *(cell.width,) * cell.depth, 10)
    network = MLPEnsemble(widths, cell.seeds, **options(cell.network, cell.depth))
    history = train(network, data, cell.rates, cell.steps, cell.batch_size, cell.momentum, evaluate_every=cell.steps)
    return {"accuracy": final_accuracy(network, history, data, cell.part)}


def _cell(
    settings: Settings, network: str, depth: int, rates: tuple[float, ...], seeds: tuple[int, ...], part: str
) -> Cell:
    return Cell(
        network=network,
        depth=depth,
        rates=rates,
        seeds=seeds,
        width=settings.width,
        steps=settings.steps,
        batch_size=settings.batch_size,
        momentum=settings.momentum,
        part=part,
    )


def _summarize(
    settings: Settings,
    scores: Mapping[str, Float[np.ndarray, "D R"]],
    tuned: Mapping[str, Float[np.ndarray, " D"]],
    tested: Mapping[str, Float[np.ndarray, "D S"]],
    swept: Mapping[str, Float[np.ndarray, "R S"]],
) -> Outcome:
    target = settings.target_accuracy
    largest = {network: largest_rate(settings.rates, rows >= target) for network, rows in swept.items()}
    return Outcome(
        seeds=len(settings.test_seeds),
        target_accuracy=target,
        depths=list(settings.depths),
        rates=list(settings.rates),
        rates_depth=settings.rates_depth,
        tuning_accuracy={network: rows.tolist() for network, rows in scores.items()},
        tuned={network: row.tolist() for network, row in tuned.items()},
        test_accuracy={network: rows.tolist() for network, rows in tested.items()},
        mean_accuracy={network: [mean_interval(row) for row in rows] for network, rows in tested.items()},
        working={network: (rows >= target).sum(axis=1).tolist() for network, rows in tested.items()},
        differences={
            name: [
                paired_interval(*pair, difference_of_means) for pair in zip(tested[first], tested[second], strict=True)
            ]
            for name, (first, second) in DIFFERENCES.items()
        },
        accuracy_by_rate={network: rows.tolist() for network, rows in swept.items()},
        mean_by_rate={network: [mean_interval(row) for row in rows] for network, rows in swept.items()},
        largest_rate={network: values.tolist() for network, values in largest.items()},
        rate_ratios={
            name: paired_interval(largest[first], largest[second], ratio_of_geometric_means)
            for name, (first, second) in RATIOS.items()
        },
    )
