"""Variances that batch norm stores and meets in trained networks, and what it costs: the part without a verdict."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from bncourse.experiments.dropout.settings import ORDERS, Settings, build
from bncourse.experiments.dropout.shift import shifts
from bncourse.lab import (
    accuracy,
    clusters,
    difference_of_means,
    geometric_mean_interval,
    mean_interval,
    paired_interval,
    take_statistics,
    train,
)


@dataclass(frozen=True)
class Trained:
    """Networks of one order and share, trained at one rate."""

    order: str
    share: float
    rate: float
    seeds: tuple[int, ...]
    hidden: tuple[int, ...]
    steps: int
    batch_size: int
    momentum: float


def measure_variances(settings: Settings, spread_out: Callable[..., list[dict[str, Any]]]) -> dict[str, Any]:
    """The parts of the outcome that are about variances."""
    cells = [
        Trained(
            order=order,
            share=share,
            rate=settings.shift_rate,
            seeds=settings.test_seeds,
            hidden=settings.shift_hidden,
            steps=settings.steps,
            batch_size=settings.batch_size,
            momentum=settings.momentum,
        )
        for order in ORDERS
        for share in settings.shift_shares
    ]
    found = iter(spread_out(read_trained, cells))
    rows = {order: [next(found) for _ in settings.shift_shares] for order in ORDERS}
    return {
        "shift": {
            order: {
                name: [[geometric_mean_interval(layer) for layer in each[name].T] for each in row]
                for name in ("measured", "own")
            }
            for order, row in rows.items()
        },
        "reestimated": {
            order: {
                "running": [mean_interval(each["running"]) for each in row],
                "anew": [mean_interval(each["anew"]) for each in row],
                "cost": [paired_interval(each["anew"], each["running"], difference_of_means) for each in row],
            }
            for order, row in rows.items()
        },
    }


def read_trained(cell: Trained) -> dict[str, Float[np.ndarray, "S ..."]]:
    """Train, read every batch norm, and score with the running statistics and with those taken anew.

    Returns
    -------
    measured, own : (S, L), geometric means over the units; the second once the statistics are taken anew.
    running, anew : (S,), validation accuracies.
    """
    data = clusters()
    network = build(cell.order, cell.share, (data.train_x.shape[1], *cell.hidden, 10), cell.seeds)
    rates = (cell.rate,) * len(cell.seeds)
    history = train(network, data, rates, cell.steps, cell.batch_size, cell.momentum, evaluate_every=cell.steps)
    measured = [layer.measured for layer in shifts(network, data.train_x)]
    take_statistics(network, data.train_x)
    own = [layer.own for layer in shifts(network, data.train_x)]
    return {
        "measured": np.exp(np.log(measured).mean(axis=2)).T,
        "own": np.exp(np.log(own).mean(axis=2)).T,
        "running": history.validation_accuracy[:, -1],
        "anew": accuracy(network, data.validation_x, data.validation_y),
    }
