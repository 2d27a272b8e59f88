"""Training of many networks: which differ in gain and rates, and which in their seeds."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from bncourse.experiments.design import ARMS
from bncourse.experiments.ensembles import final_accuracy, portions
from bncourse.experiments.initialization.settings import Settings
from bncourse.lab import MLPEnsemble, clusters, digits, train

DATA = {"digits": digits, "clusters": clusters}
CLASSES = 10


@dataclass(frozen=True)
class Network:
    """A network and the way it is trained, all but its seeds."""

    data: str
    arm: str
    gain: float
    rate: float
    hidden_rate: float

    @classmethod
    def at(cls, data: str, arm: str, rate: float, gain: float = 1.0, rescaled: bool = False) -> "Network":
        """With the rate for all parameters; or rescaled, with the gain's square times the rate for hidden weights."""
        return cls(data, arm, gain, rate, rate * gain**2 if rescaled else rate)


@dataclass(frozen=True)
class Replicate:
    """What chance decides: the seed of the initial weights, and that of the order of the batches."""

    weights: int
    batches: int


@dataclass(frozen=True)
class Cell:
    """The members of one ensemble, and the part of the data that they are scored on in the end."""

    data: str
    arm: str
    gains: tuple[float, ...]
    rates: tuple[float, ...]
    hidden_rates: tuple[float, ...]
    weight_seeds: tuple[int, ...]
    batch_seeds: tuple[int, ...]
    hidden: tuple[int, ...]
    steps: int
    batch_size: int
    momentum: float
    part: str


Scores = dict[Network, Float[np.ndarray, "S"]]
RunAll = Callable[[Callable[[Cell], dict[str, Any]], list[Cell]], list[dict[str, Any]]]


class Score(Protocol):
    """:func:`final_accuracies` for given settings, and a given way of running cells."""

    def __call__(self, networks: Iterable[Network], replicates: Sequence[Replicate], part: str, /) -> Scores: ...


def one_of_each(seeds: Sequence[int]) -> list[Replicate]:
    """For each seed one network, with weights and batches of its own."""
    return [Replicate(seed, seed) for seed in seeds]


def many_of_each(seeds: Sequence[int], count: int) -> list[Replicate]:
    """For each seed as many networks, which see the same batches and start from different weights."""
    return [Replicate(1000 * seed + number, seed) for seed in seeds for number in range(count)]


def final_accuracies(
    settings: Settings, run_all: RunAll, networks: Iterable[Network], replicates: Sequence[Replicate], part: str
) -> Scores:
    """Train every network with every replicate, each once, and score it on the validation or the test part.

    Returns
    -------
    For each network (S,), in the order of the replicates.
    """
    asked = sorted(dict.fromkeys(networks), key=_kind)
    cells = []
    for _, alike in groupby(asked, key=_kind):
        members = [(network, replicate) for network in alike for replicate in replicates]
        cells += [_cell(settings, some, part) for some in portions(members)]
    found = [each["accuracy"] for each in run_all(train_members, cells)]
    values = np.concatenate([np.empty(0), *found]).reshape(len(asked), len(replicates))
    return dict(zip(asked, values, strict=True))


def _kind(network: Network) -> tuple[str, str]:
    """What the members of an ensemble have in common."""
    return network.data, network.arm


def _cell(settings: Settings, members: Sequence[tuple[Network, Replicate]], part: str) -> Cell:
    first = members[0][0]
    return Cell(
        data=first.data,
        arm=first.arm,
        gains=tuple(network.gain for network, _ in members),
        rates=tuple(network.rate for network, _ in members),
        hidden_rates=tuple(network.hidden_rate for network, _ in members),
        weight_seeds=tuple(replicate.weights for _, replicate in members),
        batch_seeds=tuple(replicate.batches for _, replicate in members),
        hidden=settings.hidden,
        steps=settings.steps,
        batch_size=settings.batch_size,
        momentum=settings.momentum,
        part=part,
    )


def train_members(cell: Cell) -> dict[str, Float[np.ndarray, "S"]]:
    """Train an ensemble, and score its members on the part that the cell names, and on no other."""
    data = DATA[cell.data]()
    widths = (data.train_x.shape[1], *cell.hidden, CLASSES)
    network = MLPEnsemble(widths, cell.weight_seeds, ARMS[cell.arm], gain=cell.gains)
    # From here on the seeds decide about the batches alone.
    network.seeds = cell.batch_seeds
    history = train(
        network,
        data,
        cell.rates,
        cell.steps,
        cell.batch_size,
        cell.momentum,
        evaluate_every=cell.steps,
        hidden_rates=cell.hidden_rates,
    )
    return {"accuracy": final_accuracy(network, history, data, cell.part)}


def recorded_values(accuracies: Float[np.ndarray, "S"]) -> list[float]:
    """Five decimals, which are exact for accuracies on these data; estimates are made of these."""
    return [round(value, 5) for value in accuracies.tolist()]


def lists(values: dict[str, dict[str, Float[np.ndarray, "..."]]]) -> dict[str, dict[str, list[Any]]]:
    """Arrays as plain values."""
    return {outer: {inner: array.tolist() for inner, array in arrays.items()} for outer, arrays in values.items()}
