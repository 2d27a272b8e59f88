r"""Gradients at initialization: how their norm changes from the last hidden layer to the first."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bncourse.experiments.depth.settings import Settings
from bncourse.experiments.design import ARMS
from bncourse.lab import Gradients, MLPEnsemble, digits, measure
from bncourse.lab.training import batch_indices

CLASSES = 10
NETWORKS: dict[str, tuple[str, str | None]] = {
    "relu plain": ("relu", None),
    "relu pre": ("relu", "pre"),
    "relu post": ("relu", "post"),
    "linear plain": ("linear", None),
    "linear pre": ("linear", "pre"),
}
"""Activation and kind of branch of each network on normal inputs."""


@dataclass(frozen=True)
class InitialCell:
    """Networks of one kind, one for each seed, before any training.

    Attributes
    ----------
    inputs : "digits" for each seed's first batch of training; "normal" for independent normal values with random
        labels, as many features as a layer has units.
    residual : None for a plain network, or the kind of branch.
    """

    inputs: str
    activation: str
    batch_norm: bool
    residual: str | None
    gain: float
    width: int
    depth: int
    batch_size: int
    seeds: tuple[int, ...]


def gradient_norms(cell: InitialCell, dtype: torch.dtype = torch.float32) -> dict[str, Float[np.ndarray, "S L"]]:
    r"""``gradient``: :math:`\|g_l\|` of each seed and hidden layer, computed in the precision ``dtype``.

    On the way forward rounding errors grow as gradients do on the way back. In batches of four, behind twenty layers of
    512 units, those of float32 change the third digit from run to run; those of float64 do not show.
    """
    x, y = _first_batch(cell)
    network = MLPEnsemble(
        (x.shape[2], *(cell.width,) * cell.depth, CLASSES),
        cell.seeds,
        cell.batch_norm,
        activation=cell.activation,
        residual=cell.residual,
        gain=cell.gain,
    )
    return {"gradient": measure(Gradients(), network.to(dtype), x.to(dtype), y)["activation_gradient"]}


def first_to_last(gradient: Float[np.ndarray, "S L"]) -> Float[np.ndarray, "S"]:
    r""":math:`\|g_1\| / \|g_L\|`, below 1 where the gradient vanishes on its way to the input."""
    return np.asarray(gradient[:, 0] / gradient[:, -1])


def growth_per_layer(gradient: Float[np.ndarray, "S L"]) -> Float[np.ndarray, "S"]:
    r""":math:`(\|g_1\|^2 / \|g_L\|^2)^{1/(L-1)}`, of the squared norm, towards the input."""
    return np.asarray(first_to_last(gradient) ** (2 / (gradient.shape[1] - 1)))


def shortfall(ratio: Float[np.ndarray, "S"]) -> Float[np.ndarray, "S"]:
    """The ratio of first to last where that is below 1: a gradient that grows has not vanished, and counts as 1."""
    return np.asarray(np.minimum(ratio, 1.0))


def _first_batch(cell: InitialCell) -> tuple[Float[Tensor, "S B F"], Int[Tensor, "S B"]]:
    if cell.inputs == "digits":
        data = digits()
        rows = next(batch_indices(len(data.train_x), cell.batch_size, cell.seeds))
        return data.train_x[rows], data.train_y[rows]
    x, y = [], []
    for seed in cell.seeds:
        generator = np.random.default_rng([seed, 3])
        x.append(generator.standard_normal((cell.batch_size, cell.width), dtype=np.float32))
        y.append(generator.integers(CLASSES, size=cell.batch_size))
    return torch.from_numpy(np.stack(x)), torch.from_numpy(np.stack(y))


def initial_cells(settings: Settings) -> list[InitialCell]:
    """Every network that is measured at initialization, each once."""
    cells = [
        on_digits(settings, activation, depth, arm)
        for activation in ("sigmoid", "tanh")
        for depth in settings.depths
        for arm in ARMS
    ]
    cells += [on_normal(settings, network, arm) for network in NETWORKS for arm in ARMS]
    cells += [on_normal(settings, "relu plain", arm, gain=gain) for gain in settings.normal_gains for arm in ARMS]
    cells += [
        on_normal(settings, "relu plain", "batch_norm", width=width, batch_size=batch_size)
        for width in settings.normal_widths
        for batch_size in settings.normal_batches
    ]
    return list(dict.fromkeys(cells))


def on_digits(settings: Settings, activation: str, depth: int, arm: str) -> InitialCell:
    """A plain network of this depth on the digits."""
    return InitialCell(
        inputs="digits",
        activation=activation,
        batch_norm=ARMS[arm],
        residual=None,
        gain=1.0,
        width=settings.width,
        depth=depth,
        batch_size=settings.batch_size,
        seeds=settings.test_seeds,
    )


def on_normal(
    settings: Settings,
    network: str,
    arm: str,
    gain: float = 1.0,
    width: int | None = None,
    batch_size: int | None = None,
) -> InitialCell:
    """One of ``NETWORKS`` on normal inputs, of the width and batch size that estimands rest on if nothing is said."""
    activation, residual = NETWORKS[network]
    return InitialCell(
        inputs="normal",
        activation=activation,
        batch_norm=ARMS[arm],
        residual=residual,
        gain=gain,
        width=width or settings.normal_widths[-1],
        depth=settings.depth,
        batch_size=batch_size or settings.normal_batches[-1],
        seeds=settings.test_seeds,
    )
