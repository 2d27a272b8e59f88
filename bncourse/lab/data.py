"""The handwritten digits that scikit-learn ships, split once and for all."""

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

PARTS = {"test": 500, "validation": 297, "train": 1000}


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs and labels of the three parts of a data set.

    Attributes
    ----------
    train_x, validation_x, test_x : (N, F), float32, standardized with the training part's statistics.
    train_y, validation_y, test_y : (N,), integers.
    """

    train_x: Float[Tensor, "N F"]
    train_y: Int[Tensor, "N"]
    validation_x: Float[Tensor, "V F"]
    validation_y: Int[Tensor, "V"]
    test_x: Float[Tensor, "T F"]
    test_y: Int[Tensor, "T"]


@cache
def digits() -> Split:
    """The 1797 digits of 8 x 8 pixels, split into 1000 for training, 297 for validation and 500 for testing.

    Each pixel is centred by its mean over the training images. All are then divided by one number, the root mean
    square of what remains: a pixel that is almost always empty would be blown up by a divisor of its own.

    The images come from 13 writers, all of whom appear in every part: a score on the test part says how well
    these writers' other digits are read, not a stranger's.

    Raises
    ------
    ImportError : if scikit-learn is not installed; the message says how to install it.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "the digits come with scikit-learn, which is not installed: pip install 'bncourse[lab]'"
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    part = split_indices(labels)
    training_pixels = pixels[part["train"]]
    mean = training_pixels.mean(axis=0)
    scale = np.sqrt(np.mean((training_pixels - mean) ** 2))

    def tensors(name: str) -> tuple[Tensor, Tensor]:
        rows = part[name]
        return torch.from_numpy(((pixels[rows] - mean) / scale).astype(np.float32)), torch.from_numpy(labels[rows])

    return Split(*tensors("train"), *tensors("validation"), *tensors("test"))


def split_indices(labels: Int[np.ndarray, "N"]) -> dict[str, Any]:
    """Rows of each part: the same on every machine, and with every class in its share.

    Within a class, images are ordered by a hash of their row number, which needs no random generator. An image at place
    r of the n in its class then gets the position (r + 1/2) / n. Sorted by position, every stretch of the whole
    holds the classes in proportion, and the parts are consecutive stretches.

    Parameters
    ----------
    labels : (N,), with N the sum of ``PARTS``.

    Raises
    ------
    ValueError : if there are not as many labels as the parts need.
    """
    labels = np.asarray(labels)
    if len(labels) != sum(PARTS.values()):
        raise ValueError(f"expected {sum(PARTS.values())} labels, one for each digit, got {len(labels)}")
    order = np.array([hashlib.sha256(str(row).encode()).hexdigest() for row in range(len(labels))])
    position = np.empty(len(labels))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.argsort(order[rows])]
        position[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    ranked = np.lexsort((labels, position))
    ends = np.cumsum(list(PARTS.values()))
    return {name: np.sort(rows) for name, rows in zip(PARTS, np.split(ranked, ends[:-1]), strict=True)}
