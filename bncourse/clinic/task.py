"""What a patient is given: digits, split anew for every seed, and the network that most of them train."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from bncourse.lab.data import digit_images

VALIDATION = 300


@dataclass(frozen=True, eq=False)
class Images:
    """Images of digits and what they show.

    Attributes
    ----------
    x : (N, P) float32, the pixels.
    y : (N,) the digits.
    """

    x: Float[Tensor, "N P"]
    y: Int[Tensor, "N"]

    def __len__(self) -> int:
        return len(self.y)

    def dataset(self) -> TensorDataset:
        """The images as PyTorch's loader takes them."""
        return TensorDataset(self.x, self.y)


@dataclass(frozen=True, eq=False)
class Draw:
    """One split of the 1797 digits. Pixels are centred and scaled with statistics of the training part.

    Attributes
    ----------
    seed : of the split.
    train : what the run may learn from.
    validation : 300 images, for the curves.
    held_out : the rest, which only the check sees.
    raw_mean, raw_scale : a pixel between 0 and 16 is ``raw_mean + raw_scale * x``.
    """

    seed: int
    train: Images
    validation: Images
    held_out: Images
    raw_mean: Float[Tensor, "P"]
    raw_scale: float


@dataclass(frozen=True, eq=False)
class Task:
    """What most runs are given.

    Attributes
    ----------
    train : pairs of image and digit.
    validation : for the curves.
    """

    train: TensorDataset
    validation: Images


def plain_task(seed: int, train: int = 800) -> Task:
    """So many digits to train on, and 300 for the curves."""
    split = draw(seed, train)
    return Task(split.train.dataset(), split.validation)


@lru_cache(maxsize=4)
def draw(seed: int, train: int = 800) -> Draw:
    """Split the digits at random: so many to train on, 300 for validation, the rest held out."""
    digits = digit_images()
    pixels, labels = digits.pixels, digits.labels
    order = np.random.default_rng([seed, 7]).permutation(len(labels))
    mean = pixels[order[:train]].mean(axis=0)
    scale = float(np.sqrt(np.mean((pixels[order[:train]] - mean) ** 2)))

    def images(rows: Int[np.ndarray, "R"]) -> Images:
        x = ((pixels[rows] - mean) / scale).astype(np.float32)
        return Images(torch.from_numpy(x), torch.from_numpy(labels[rows]))

    return Draw(
        seed,
        images(order[:train]),
        images(order[train : train + VALIDATION]),
        images(order[train + VALIDATION :]),
        torch.from_numpy(mean.astype(np.float32)),
        scale,
    )


def mlp(inputs: int = 64, width: int = 64, depth: int = 2, outputs: int = 10, **batch_norm: Any) -> nn.Sequential:
    """So many hidden layers, each linear, batch norm and ReLU, and a linear one to the logits.

    Parameters
    ----------
    inputs, width, outputs : sizes of the layers.
    depth : number of hidden layers.
    **batch_norm : passed to each ``BatchNorm1d``, as ``momentum`` or ``eps``.
    """
    layers: list[nn.Module] = []
    for layer in range(depth):
        layers += [nn.Linear(width if layer else inputs, width), nn.BatchNorm1d(width, **batch_norm), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))
