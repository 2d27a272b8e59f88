"""Trains the small networks of the exercise :mod:`choose_placement <bncourse.exercises.tasks.choose_placement>`.

A network is one block of layers, repeated, and a linear layer to the logits. What is to be chosen is after which layers
of the block batch norm comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import numpy as np

from bncourse.reference.network import SGD, BatchNorm, Layer, Linear, Network, ReLU
from bncourse.reference.plain import batch_norm_plain, batch_norm_plain_closed

FEATURES, CLASSES, CLUSTERS = 24, 5, 3
TRAINED_ON, TESTED_ON = 1000, 500
SPREAD = 0.4
MOMENTUM = 0.9
MEMORY = 0.1  # the weight of a new batch in running statistics

_one_at_a_time = Lock()


@dataclass(frozen=True)
class GivenNetwork:
    """A network without batch norm, and how it is trained.

    Attributes
    ----------
    name : what it is.
    block : the names of its layers: linear, relu, sigmoid, branch where a branch leaves the stream, and add where it
        comes back.
    blocks : how often the block stands in the network.
    batch : examples in a batch.
    rate, steps : of SGD with momentum.
    """

    name: str
    block: tuple[str, ...]
    blocks: int
    batch: int
    rate: float
    steps: int


NETWORKS = (
    GivenNetwork("sigmoid units", ("linear", "sigmoid"), blocks=8, batch=50, rate=0.05, steps=80),
    GivenNetwork("ReLU after the sum", ("branch", "linear", "add", "relu"), blocks=40, batch=50, rate=0.01, steps=40),
    GivenNetwork("ReLU in the branch", ("branch", "relu", "linear", "add"), blocks=40, batch=50, rate=0.01, steps=40),
    GivenNetwork("batches of two", ("linear", "relu"), blocks=2, batch=2, rate=0.003, steps=400),
)


class QuickBatchNorm(BatchNorm):
    """The same layer by functions that check nothing: on arrays as small as these, checks are most of the work."""

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        if not training:
            return super().forward(x, training)
        y, self._plain = batch_norm_plain(x, self.parameters["gamma"], self.parameters["beta"], self.eps)
        mean = x[0] - self._plain.centred[0]
        unbiased = (self._plain.inv_std[0] ** -2 - self.eps) * len(x) / (len(x) - 1)
        self.running.mean = (1 - MEMORY) * self.running.mean + MEMORY * mean
        self.running.var = (1 - MEMORY) * self.running.var + MEMORY * unbiased
        return y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dx, dgamma, dbeta = batch_norm_plain_closed(dy, self._plain)
        self.gradients = {"gamma": dgamma, "beta": dbeta}
        return dx


class Sigmoid:
    """1 / (1 + exp(-x))."""

    def __init__(self) -> None:
        self.parameters: dict[str, np.ndarray] = {}
        self.gradients: dict[str, np.ndarray] = {}
        self._y = np.empty(0)

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        self._y = 1 / (1 + np.exp(-x))
        return self._y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dx: np.ndarray = dy * self._y * (1 - self._y)
        return dx


class Branch:
    """Where a branch leaves the stream: forward nothing happens, backward the gradients of both are added."""

    def __init__(self) -> None:
        self.parameters: dict[str, np.ndarray] = {}
        self.gradients: dict[str, np.ndarray] = {}
        self.stream = self.stream_gradient = np.empty(0)

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        self.stream = x
        return x

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dx: np.ndarray = self.stream_gradient + dy
        return dx


class Add:
    """Where ``branch`` comes back: what it holds is added to the stream."""

    def __init__(self, branch: Branch) -> None:
        self.parameters: dict[str, np.ndarray] = {}
        self.gradients: dict[str, np.ndarray] = {}
        self._branch = branch

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        y: np.ndarray = self._branch.stream + x
        return y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        self._branch.stream_gradient = dy
        return dy


def accuracy(network: GivenNetwork, places: Sequence[float] | np.ndarray, seed: int) -> float:
    """Test accuracy in inference mode after training; 0 if the loss left the range of numbers.

    Parameters
    ----------
    network : one of :data:`NETWORKS`.
    places : for each layer of the block, 1 if batch norm comes right after it, else 0.
    seed : draws data, weights and batches.

    Raises
    ------
    ValueError : if ``places`` are not as many as the layers, or hold another number than 0 and 1.
    """
    chosen = tuple(np.asarray(places, dtype=float).ravel().tolist())
    if len(chosen) != len(network.block) or not set(chosen) <= {0.0, 1.0}:
        raise ValueError(f"expected places to hold 0 or 1 for each of {', '.join(network.block)}, got {places}")
    # Submissions are graded side by side, and ask for the same runs: who comes later waits, and finds them made.
    with _one_at_a_time:
        return _accuracy(network, chosen, seed)


@lru_cache(maxsize=1024)
def _accuracy(network: GivenNetwork, places: tuple[float, ...], seed: int) -> float:
    rng = np.random.default_rng(seed)
    x, labels = _clusters(rng)
    built = Network([*_layers(network, places, rng), Linear(FEATURES, CLASSES, rng)])
    optimizer = SGD(built, network.rate, MOMENTUM)
    with np.errstate(all="ignore"):
        for _ in range(network.steps):
            batch = rng.integers(TRAINED_ON, size=network.batch)
            if not np.isfinite(built.loss_and_gradients(x[batch], labels[batch])):
                return 0.0
            optimizer.step()
        return built.accuracy(x[TRAINED_ON:], labels[TRAINED_ON:])


def _layers(network: GivenNetwork, places: tuple[float, ...], rng: np.random.Generator) -> Iterator[Layer]:
    branch = Branch()
    for name, normalized in zip(network.block * network.blocks, places * network.blocks, strict=True):
        if name == "linear":
            yield Linear(FEATURES, FEATURES, rng)
        elif name == "branch":
            branch = Branch()
            yield branch
        elif name == "add":
            yield Add(branch)
        else:
            yield ReLU() if name == "relu" else Sigmoid()
        if normalized:
            yield QuickBatchNorm(FEATURES)


def _clusters(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Standardized examples, and their labels: each class is several clusters, far from each other."""
    centres = rng.normal(size=(CLASSES * CLUSTERS, FEATURES))
    cluster = rng.integers(len(centres), size=TRAINED_ON + TESTED_ON)
    x = centres[cluster] + SPREAD * rng.normal(size=(len(cluster), FEATURES))
    return (x - x.mean(axis=0)) / x.std(axis=0), cluster % CLASSES
