r"""How does the gradient change from layer to layer, with and without a norm? For the figure of chapter 6.2.

No claim rests on it: it lays side by side, in one setting, what the claims C6, C7 and C16 are about. New MLPs, before
any training, see the first batch of the digits that their seed draws. :math:`g_l` is the gradient of the loss with
respect to all outputs of hidden layer l of L. Kept is the mean over seeds of :math:`\log_{10}(\|g_l\| / \|g_L\|)` with
a 95 % interval, for every layer: level where every layer gets a gradient of one size, rising towards the input where
gradients explode, falling where they vanish.

Weights have variance 2 / fan-in for ReLU and 1 / fan-in else. All networks of a seed start from the same weights.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float

from bncourse import results
from bncourse.experiments.shared import Verdict, record_run
from bncourse.lab import Gradients, MLPEnsemble, digits, mean_interval, measure
from bncourse.lab.stacked import StackedBatchNorm, StackedLayerNorm
from bncourse.lab.training import batch_indices

CLASSES = 10
BEFORE, AFTER = ("norm", "activation", "dropout"), ("activation", "norm", "dropout")
NORMS = {
    "none": (None, BEFORE),
    "batch norm before": ("batch", BEFORE),
    "batch norm after": ("batch", AFTER),
    "layer norm before": ("layer", BEFORE),
    "layer norm after": ("layer", AFTER),
}
"""The norm, and its place at the activation."""

NETWORKS = {"plain": None, "residual, post-activation": "post", "residual, pre-activation": "pre"}
"""The kind of residual branch. Where there is one, the norm comes before the activation."""


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's."""

    activations: tuple[str, ...] = ("relu", "tanh", "sigmoid", "linear")
    depths: tuple[int, ...] = (5, 10, 20, 40)
    width: int = 64
    batch_size: int = 64
    seeds: tuple[int, ...] = tuple(range(9700, 9732))


@dataclass(frozen=True)
class Profile:
    """Decimal logarithms of a gradient's size by layer, that of the last layer being 0: means and their intervals.

    Attributes
    ----------
    network, norm, activation, depth : which network it is.
    mean, low, high : (L,), from the first hidden layer to the last.
    """

    network: str
    norm: str
    activation: str
    depth: int
    mean: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class Outcome:
    """What was measured: how many seeds, and a profile of every network."""

    seeds: int
    profiles: list[Profile]


@dataclass(frozen=True)
class Cell:
    """Networks of one kind, one for each seed."""

    network: str
    norm: str
    activation: str
    depth: int
    width: int
    batch_size: int
    seeds: tuple[int, ...]


def build(cell: Cell) -> MLPEnsemble:
    """The networks, before any training."""
    kind, order = NORMS[cell.norm]
    network = MLPEnsemble(
        (digits().train_x.shape[1], *(cell.width,) * cell.depth, CLASSES),
        cell.seeds,
        kind is not None,
        activation=cell.activation,
        order=order,
        residual=NETWORKS[cell.network],
    )
    if kind == "layer":
        for parent in list(network.modules()):
            for name, module in parent.named_children():
                if isinstance(module, StackedBatchNorm):
                    setattr(parent, name, StackedLayerNorm(cell.width, len(cell.seeds)))
    return network


def log_ratio(cell: Cell) -> Float[np.ndarray, "S L"]:
    r""":math:`\log_{10}(\|g_l\| / \|g_L\|)` of each seed and hidden layer."""
    data = digits()
    rows = next(batch_indices(len(data.train_x), cell.batch_size, cell.seeds))
    norms = measure(Gradients(), build(cell), data.train_x[rows], data.train_y[rows])["activation_gradient"]
    return np.asarray(np.log10(norms / norms[:, -1:]))


def run(settings: Settings) -> Outcome:
    """Measure every network before any training."""
    cells = [
        Cell(network, norm, activation, depth, settings.width, settings.batch_size, settings.seeds)
        for network, norm, activation, depth in product(NETWORKS, NORMS, settings.activations, settings.depths)
        if NETWORKS[network] is None or NORMS[norm][1] == BEFORE
    ]
    return Outcome(len(settings.seeds), [profile(cell) for cell in cells])


def profile(cell: Cell) -> Profile:
    """Means over the seeds of a cell."""
    means = [mean_interval(column) for column in log_ratio(cell).T]
    rounded = {name: [round(getattr(mean, name), 3) + 0.0 for mean in means] for name in ("estimate", "low", "high")}
    return Profile(
        cell.network, cell.norm, cell.activation, cell.depth, rounded["estimate"], rounded["low"], rounded["high"]
    )


def recorded() -> Outcome:
    """The outcome of the recorded run."""
    outcome = results.load("gradient_profiles").outcome
    return Outcome(outcome["seeds"], [Profile(**profile) for profile in outcome["profiles"]])


def verdicts(outcome: Outcome) -> list[Verdict]:
    """None: no claim rests on these numbers."""
    return []


if __name__ == "__main__":
    record_run("gradient_profiles", Settings(), run, verdicts)
