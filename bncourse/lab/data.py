"""The handwritten digits that scikit-learn ships, and a harder synthetic set, each split once and for all."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
def digits(noisy_labels: float = 0.0) -> Split:
    """The 1797 digits of 8 x 8 pixels, split into 1000 for training, 297 for validation and 500 for testing.

    Each pixel is centred by its mean over the training images. All are then divided by one number, the root mean
    square of what remains: a pixel that is almost always empty would be blown up by a divisor of its own.

    The images come from 13 writers, all of whom appear in every part: a score on the test part says how well
    these writers' other digits are read, not a stranger's.

    Parameters
    ----------
    noisy_labels : share of the training labels to draw anew, see :func:`with_noisy_labels`.

    Raises
    ------
    ImportError : if scikit-learn is not installed; the message says how to install it.
    ValueError : if ``noisy_labels`` is no share.

    Examples
    --------
    >>> from bncourse.lab import digits
    >>> data = digits()
    >>> data.train_x.shape, data.test_x.shape
    (torch.Size([1000, 64]), torch.Size([500, 64]))
    """
    if noisy_labels:
        return with_noisy_labels(digits(), noisy_labels)
    return digit_images().split()


@dataclass(frozen=True, eq=False)
class DigitImages:
    """The digits as they come, before they are centred and scaled.

    Attributes
    ----------
    pixels : (1797, 64), from 0 for an empty pixel to 16, in rows of 8 from the top.
    labels : (1797,).
    rows : of each part.
    """

    pixels: Float[np.ndarray, "N 64"]
    labels: Int[np.ndarray, "N"]
    rows: Mapping[str, Int[np.ndarray, "M"]]

    def split(self, pixels: Float[np.ndarray, "N 64"] | None = None) -> Split:
        """The three parts of :func:`digits`; of other pixels if some are given, by the mean and scale of these."""
        training_pixels = self.pixels[self.rows["train"]]
        mean = training_pixels.mean(axis=0)
        scale = np.sqrt(np.mean((training_pixels - mean) ** 2))
        standardized = ((self.pixels if pixels is None else pixels) - mean) / scale
        tensors = [
            torch.from_numpy(values[self.rows[name]])
            for name in ("train", "validation", "test")
            for values in (standardized.astype(np.float32), self.labels)
        ]
        return Split(*tensors)


@cache
def digit_images() -> DigitImages:
    """The digits before :func:`digits` standardizes them, for who wants to change the images.

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
    return DigitImages(pixels, labels, split_indices(labels))


@cache
def clusters(examples: int = 512, noisy_labels: float = 0.0, seed: int = 0) -> Split:
    r"""Points around 60 centres in 20 dimensions, six centres to each of 10 classes: small and hard to generalize.

    .. math:: x = c_k + 0.45\,\frac{\sqrt{20}}{2}\,\epsilon, \qquad y = k \bmod 10, \qquad
              c_k, \epsilon \sim \mathcal N(0, I), \quad k \sim \mathcal U\{0, \dots, 59\}

    The points of validation (1000) and test (4000) do not depend on the number for training, and a smaller training
    part is the beginning of a larger one. Features are standardized with the training part's means and deviations.

    Parameters
    ----------
    examples : points for training.
    noisy_labels : share of the training labels to draw anew, see :func:`with_noisy_labels`.
    seed : of the centres and the points: another seed, another task of the same kind.

    Raises
    ------
    ValueError : if there are fewer than two examples, or ``noisy_labels`` is no share.
    """
    if examples < 2:
        raise ValueError(f"expected at least two examples, got {examples}")
    # Four numbers: NumPy takes missing ones for zeros, and a network's batches are drawn from (seed, 1).
    centres = np.random.default_rng([seed, 0, 0, 1]).standard_normal((60, 20))

    def points(part: int, count: int) -> tuple[Float[np.ndarray, "N 20"], Int[np.ndarray, "N"]]:
        nearest = np.random.default_rng([seed, part, 0, 1]).integers(60, size=count)
        noise = np.random.default_rng([seed, part, 1, 1]).standard_normal((count, 20))
        return centres[nearest] + 0.45 * np.sqrt(20) / 2 * noise, nearest % 10

    parts = [points(1, examples), points(2, 1000), points(3, 4000)]
    mean, deviation = parts[0][0].mean(axis=0), parts[0][0].std(axis=0)
    tensors = [
        torch.from_numpy(values)
        for x, y in parts
        for values in (((x - mean) / deviation).astype(np.float32), y.astype(np.int64))
    ]
    data = Split(*tensors)
    return with_noisy_labels(data, noisy_labels) if noisy_labels else data


def with_noisy_labels(data: Split, share: float) -> Split:
    """The same data, with a share of the training labels drawn anew from all classes; validation and test stay clean.

    A label that is drawn anew is wrong with probability 1 - 1/classes only. Which rows are drawn, and what they
    get, is fixed: a larger share keeps the labels that a smaller one changed.

    Parameters
    ----------
    data : with clean labels.
    share : of the training labels, 0 to 1.

    Raises
    ------
    ValueError : if ``share`` lies outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"expected a share of noisy labels between 0 and 1, got {share}")
    count = len(data.train_y)
    generator = np.random.default_rng([0, 0, 0, 2])
    rows = generator.permutation(count)[: round(share * count)]
    drawn = generator.integers(int(data.train_y.max()) + 1, size=count)
    labels = data.train_y.clone()
    labels[rows] = torch.from_numpy(drawn)[rows]
    return replace(data, train_y=labels)


def split_indices(labels: Int[np.ndarray, "N"], parts: Mapping[str, int] = PARTS) -> dict[str, Any]:
    """Rows of each part: the same on every machine, and with every class in its share.

    Within a class, images are ordered by a hash of their row number, which needs no random generator. An image at place
    r of the n in its class then gets the position (r + 1/2) / n. Sorted by position, every stretch of the whole
    holds the classes in proportion, and the parts are consecutive stretches.

    Parameters
    ----------
    labels : (N,).
    parts : how many rows each part gets; N together. Those of the digits by default.

    Raises
    ------
    ValueError : if there are not as many labels as the parts need.
    """
    labels = np.asarray(labels)
    if len(labels) != sum(parts.values()):
        raise ValueError(f"expected {sum(parts.values())} labels, one for each row of the parts, got {len(labels)}")
    order = np.array([hashlib.sha256(str(row).encode()).hexdigest() for row in range(len(labels))])
    position = np.empty(len(labels))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.argsort(order[rows])]
        position[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    ranked = np.lexsort((labels, position))
    ends = np.cumsum(list(parts.values()))
    return {name: np.sort(rows) for name, rows in zip(parts, np.split(ranked, ends[:-1]), strict=True)}
