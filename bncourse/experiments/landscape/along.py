"""The loss along the steps of networks that train: as it is, and in units of the weights."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bncourse.experiments.landscape.relative import RelativeLandscape
from bncourse.experiments.landscape.settings import Settings, Variant
from bncourse.lab import Landscape, MLPEnsemble, digits, train


@dataclass(frozen=True)
class AlongCell:
    """Networks of one kind, at one rate."""

    activation: str
    depth: int
    width: int
    variant: Variant
    rate: float
    seeds: tuple[int, ...]
    steps: int
    every: int
    batch_size: int
    momentum: float
    multiples: tuple[float, ...]
    lengths: tuple[float, ...]


def along_cells(settings: Settings) -> list[AlongCell]:
    """Every variant of every activation, on the test seeds."""
    along = settings.along
    return [
        AlongCell(
            activation=activation,
            depth=along.depth,
            width=along.width,
            variant=variant,
            rate=along.rate,
            seeds=settings.test_seeds,
            steps=along.steps,
            every=along.every,
            batch_size=settings.batch_size,
            momentum=settings.momentum,
            multiples=along.multiples,
            lengths=along.lengths,
        )
        for activation in along.activations
        for variant in along.variants
    ]


def measure_along(cell: AlongCell) -> dict[str, Any]:
    """Train, and measure the loss of the batch along its gradient at every so many steps.

    Returns
    -------
    loss : (S, K), before the step.
    lowest, highest : (S, K), over the multiples, less the loss.
    smoothness : (S, K), its largest value over the multiples.
    relative_change, relative_smoothness, falls : (S, K, R), at the lengths; see :class:`RelativeLandscape`.
    """
    widths = (digits().train_x.shape[1], *(cell.width,) * cell.depth, 10)
    network = MLPEnsemble(
        widths, cell.seeds, cell.variant.batch_norm, activation=cell.activation, gain=cell.variant.gain
    )
    history = train(
        network,
        digits(),
        (cell.rate,) * len(cell.seeds),
        cell.steps,
        cell.batch_size,
        cell.momentum,
        evaluate_every=cell.steps,
        probes=[Landscape(cell.every, cell.multiples), RelativeLandscape(cell.every, cell.lengths)],
    )
    traces = history.traces
    loss = history.batch_loss[:, traces["loss_along"].steps - 1]
    change = traces["loss_along"].values - loss[:, :, None]
    found = {name: traces[name].values for name in ("relative_change", "relative_smoothness", "falls")}
    return {
        "loss": loss,
        "lowest": change.min(axis=2),
        "highest": change.max(axis=2),
        "smoothness": np.asarray(traces["smoothness"].values.max(axis=2)),
        **found,
    }
