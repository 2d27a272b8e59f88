"""Batch normalization in NumPy with as few passes over memory, and as few operations on each value, as it takes.

For a batch of many examples nothing of the size of ``x`` is made but ``y`` and ``dx``: the cache keeps ``x`` itself and
a few numbers for each feature. Work is done in blocks that stay in a core's cache while several operations run over
them (chapter 2.6).
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bncourse.reference.validation import require_batch, require_data, require_eps, require_per_feature

BLOCK_BYTES = 2**20
"""What a block holds: with its result and a scratch copy it fits a core's second cache, or nearly."""

ROW_LENGTH = 2**13
"""Short rows are laid side by side until they are this long: each costs a loop of its own."""

MAP_SIZE = 2**10
"""From this many positions on, the maps of one channel are worked on together, and all others by rows."""

MAPS_SUMMED = 2**8
"""So many maps are added up in the precision of the data, and no more: a long sum in float32 is not exact."""

FAR_MEAN = 2.0
"""Means beyond this many standard deviations are subtracted first. Up to there, E[x²] - E[x]² loses under a digit."""


class LeanCache(NamedTuple):
    """What the lean backward pass needs.

    Attributes
    ----------
    x : the input itself if it is contiguous, not a copy: changing it between the passes makes the gradients wrong.
    shift : subtracted from ``x`` before anything else, of shape (C,), in the dtype of ``x``; None where none is needed.
    mean : of ``x - shift``, of shape (C,), float64.
    inv_std : ``1 / sqrt(var + eps)``, of shape (C,), float64.
    gamma : the scale, of shape (C,), float64.
    """

    x: Float[np.ndarray, "N C *spatial"]
    shift: Float[np.ndarray, " C"] | None
    mean: Float[np.ndarray, " C"]
    inv_std: Float[np.ndarray, " C"]
    gamma: Float[np.ndarray, " C"]


def batch_norm_lean(
    x: Float[np.ndarray, "N C *spatial"],
    gamma: Float[np.ndarray, " C"],
    beta: Float[np.ndarray, " C"],
    eps: float = 1e-5,
) -> tuple[Float[np.ndarray, "N C *spatial"], LeanCache]:
    r"""The transform of :func:`batch_norm`, as one multiplication and one addition for each value.

    .. math:: y = a x + b, \qquad a = \gamma / \sqrt{\sigma^2 + \epsilon}, \qquad b = \beta - a \mu

    Sums run in the precision of ``x`` within a block and in float64 from block to block. The variance is
    :math:`\overline{x^2} - \mu^2` where that loses less than a digit; where it would lose more, ``x`` is shifted by its
    mean before it is squared or scaled (chapter 2.6, equations ``eq-lean-forward`` and ``eq-shifted-variance``).

    Parameters
    ----------
    x : the batch, in float32 or float64, two values or more per feature.
    gamma, beta, eps : as in :func:`batch_norm`.

    Returns
    -------
    y : of the shape and dtype of ``x``.
    cache : for :func:`batch_norm_lean_backward`. It holds ``x`` itself, unless ``x`` is not contiguous.

    Raises
    ------
    TypeError : if ``x`` is neither float32 nor float64, or ``gamma`` or ``beta`` is not of a floating dtype.
    ValueError : as :func:`batch_norm`.

    Warns
    -----
    RuntimeWarning : if squared deviations overflow the dtype of ``x`` (in float32 from 1e19 on). ``y`` is beta then.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import batch_norm
    >>> from bncourse.reference.lean import batch_norm_lean
    >>> x = np.random.default_rng(0).normal(size=(8, 3))
    >>> y, cache = batch_norm_lean(x, np.ones(3), np.zeros(3))
    >>> np.allclose(y, batch_norm(x, np.ones(3), np.zeros(3))[0])
    True
    """
    x = np.ascontiguousarray(_require_single_or_double(require_data(x)))
    gamma = require_per_feature("gamma", gamma, x)
    beta = require_per_feature("beta", beta, x)
    require_eps(eps)
    require_batch(x)
    forward = _forward_by_channel if _has_large_maps(x) else _forward_by_row
    return forward(x, gamma.astype(np.float64), beta.astype(np.float64), eps)


def batch_norm_lean_backward(
    dy: Float[np.ndarray, "N C *spatial"], cache: LeanCache
) -> tuple[Float[np.ndarray, "N C *spatial"], Float[np.ndarray, " C"], Float[np.ndarray, " C"]]:
    r"""The gradients of :func:`batch_norm_backward`, as two multiplications and two additions for each value.

    .. math:: dx = a\, (dy + b x + c), \qquad a = \gamma s, \qquad b = -\frac{s}{m}\, d\gamma,
              \qquad c = -\frac{1}{m}\, d\beta - b \mu

    (chapter 2.6, equation ``eq-lean-backward``).

    Parameters
    ----------
    dy : gradient of the loss with respect to ``y``, of the dtype of ``x``.
    cache : what :func:`batch_norm_lean` returned beside ``y``.

    Returns
    -------
    dx : of the shape and dtype of ``dy``.
    dgamma, dbeta : of shape (C,) and the dtype of ``dy``.

    Raises
    ------
    TypeError : if ``dy`` has not the dtype of ``x``.
    ValueError : if ``dy`` has not the shape of ``x``.
    """
    dy = np.asarray(dy)
    if dy.dtype != cache.x.dtype:
        raise TypeError(f"expected dy of the dtype of x, {cache.x.dtype}, got {dy.dtype}")
    if dy.shape != cache.x.shape:
        raise ValueError(f"expected dy of the shape of x, {cache.x.shape}, got {dy.shape}")
    backward = _backward_by_channel if _has_large_maps(dy) else _backward_by_row
    dx, dgamma, dbeta = backward(np.ascontiguousarray(dy), cache)
    return dx, dgamma.astype(dy.dtype), dbeta.astype(dy.dtype)


def _require_single_or_double(x: np.ndarray) -> np.ndarray:
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"expected x in float32 or float64, got {x.dtype}; batch_norm takes any floating dtype")
    return x


def _has_large_maps(x: np.ndarray) -> bool:
    return int(x[0, 0].size) >= MAP_SIZE


class _Rows:
    """Arrays of shape (N, C, *spatial) read as rows: as many examples side by side as make a long inner loop."""

    def __init__(self, x: np.ndarray) -> None:
        self.features, self.positions, self.dtype = x.shape[1], x[0, 0].size, x.dtype
        example = self.features * self.positions
        self.width = example * min(-(-ROW_LENGTH // example), len(x))
        self.height = max(BLOCK_BYTES // (self.width * x.itemsize), 1)
        self.ones = np.ones(self.height, x.dtype)
        self.scratch = np.empty((2, self.height * self.width), x.dtype)

    def blocks(self, array: np.ndarray) -> list[np.ndarray]:
        """Views of an array, each a block of whole rows; what is left over is one shorter row."""
        flat = array.reshape(-1)
        whole, size = flat.size - flat.size % self.width, self.height * self.width
        blocks = [flat[start : min(start + size, whole)].reshape(-1, self.width) for start in range(0, whole, size)]
        return [*blocks, flat[np.newaxis, whole:]] if whole < flat.size else blocks

    def beside(self, block: np.ndarray, which: int) -> np.ndarray:
        """Scratch memory of the shape of a block."""
        return self.scratch[which, : block.size].reshape(block.shape)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """One value a feature, written out over a row."""
        example = np.repeat(values.astype(self.dtype), self.positions)
        return np.tile(example, self.width // example.size)

    def sums(self, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        """For each feature the sum of the first of each pair of blocks, and that of the second."""
        columns = np.zeros((2, self.width))
        for pair in pairs:
            for column, block in zip(columns, pair, strict=True):
                column[: block.shape[1]] += self.ones[: len(block)] @ block
        first, second = columns.reshape(2, -1, self.features, self.positions).sum(axis=(1, 3))
        return first, second


def _forward_by_row(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: float) -> tuple[np.ndarray, LeanCache]:
    rows, count, y = _Rows(x), x.size // x.shape[1], np.empty_like(x)
    blocks = rows.blocks(x)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, var = _moments(rows.sums((b, np.square(b, out=rows.beside(b, 0))) for b in blocks), count)
        near = bool((np.isfinite(var) & (np.square(mean) <= FAR_MEAN**2 * var)).all())
    shift = None if near else mean.astype(x.dtype)
    shift_row = None if shift is None else rows.spread(shift)
    if shift_row is not None:
        deviations = (np.subtract(b, shift_row[: b.shape[1]], out=rows.beside(b, 0)) for b in blocks)
        mean, var = _moments(rows.sums((d, np.square(d, out=rows.beside(d, 1))) for d in deviations), count)
    inv_std = 1 / np.sqrt(var + eps)
    a, b = rows.spread(gamma * inv_std), rows.spread(beta - gamma * inv_std * mean)
    # From the last block to the first: the last ones are still in the cache.
    for block, out in zip(reversed(blocks), reversed(rows.blocks(y)), strict=True):
        width = block.shape[1]
        source = block if shift_row is None else np.subtract(block, shift_row[:width], out=out)
        np.multiply(source, a[:width], out=out)
        np.add(out, b[:width], out=out)
    return y, LeanCache(x, shift, mean, inv_std, gamma)


def _backward_by_row(dy: np.ndarray, cache: LeanCache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, shift, mean, inv_std, gamma = cache
    rows, count, dx = _Rows(x), x.size // x.shape[1], np.empty_like(dy)
    shift_row = None if shift is None else rows.spread(shift)
    pairs = list(zip(rows.blocks(x), rows.blocks(dy), strict=True))

    def shifted(block: np.ndarray, out: np.ndarray) -> np.ndarray:
        return block if shift_row is None else np.subtract(block, shift_row[: block.shape[1]], out=out)

    dbeta, products = rows.sums(
        (d, np.multiply(shifted(b, rows.beside(b, 0)), d, out=rows.beside(b, 0))) for b, d in pairs
    )
    dgamma = (products - mean * dbeta) * inv_std
    slope = -inv_std * dgamma / count
    a, b, c = (rows.spread(value) for value in (gamma * inv_std, slope, -dbeta / count - slope * mean))
    for (block, d), out in zip(reversed(pairs), reversed(rows.blocks(dx)), strict=True):
        width = block.shape[1]
        np.multiply(shifted(block, out), b[:width], out=out)
        np.add(out, c[:width], out=out)
        np.add(out, d, out=out)
        np.multiply(out, a[:width], out=out)
    return dx, dgamma, dbeta


def _moments(sums: tuple[np.ndarray, np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance from the sums of the values and of their squares."""
    mean = sums[0] / count
    return mean, np.maximum(sums[1] / count - np.square(mean), 0)


class _Maps:
    """Arrays of shape (N, C, *spatial) read channel by channel, and summed in pieces that are not long."""

    def __init__(self, x: np.ndarray) -> None:
        self.ones = np.ones(min(len(x), MAPS_SUMMED), x.dtype)
        self.pieces = [
            np.s_[first : first + MAPS_SUMMED, start : start + ROW_LENGTH]
            for first in range(0, len(x), MAPS_SUMMED)
            for start in range(0, x[0, 0].size, ROW_LENGTH)
        ]

    def sum(self, maps: np.ndarray) -> float:
        """The sum of one channel's maps, of shape (N, positions)."""
        parts = (maps[piece] for piece in self.pieces)
        return float(sum((self.ones[: len(part)] @ part).sum(dtype=np.float64) for part in parts))

    def dot(self, maps: np.ndarray, others: np.ndarray) -> float:
        """The sum of the products of two of them."""
        parts = ((maps[piece], others[piece]) for piece in self.pieces)
        return float(sum(np.vecdot(part, other).sum(dtype=np.float64) for part, other in parts))


def _channels(array: np.ndarray) -> list[np.ndarray]:
    """For each channel a view of its maps, of shape (N, positions)."""
    return list(np.moveaxis(array.reshape(*array.shape[:2], -1), 1, 0))


def _forward_by_channel(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: float) -> tuple[np.ndarray, LeanCache]:
    """The maps of a channel fit the cache together: they come from memory once, and their mean is always subtracted."""
    maps, count, y, scalar = _Maps(x), x.size // x.shape[1], np.empty_like(x), x.dtype.type
    shift = np.empty(x.shape[1], x.dtype)
    mean, inv_std = np.zeros((2, x.shape[1]))
    for channel, (source, target) in enumerate(zip(_channels(x), _channels(y), strict=True)):
        shift[channel] = maps.sum(source) / count
        np.subtract(source, shift[channel], out=target)
        var = maps.dot(target, target) / count
        # What rounding has left of a mean close to 0 is nothing beside the spread; of one far out it is something.
        if abs(float(shift[channel])) > FAR_MEAN * np.sqrt(var):
            mean[channel] = maps.sum(target) / count
            var = max(var - mean[channel] ** 2, 0.0)
        inv_std[channel] = 1 / np.sqrt(var + eps)
        a = gamma[channel] * inv_std[channel]
        np.multiply(target, scalar(a), out=target)
        np.add(target, scalar(beta[channel] - a * mean[channel]), out=target)
    return y, LeanCache(x, shift, mean, inv_std, gamma)


def _backward_by_channel(dy: np.ndarray, cache: LeanCache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, shift, mean, inv_std, gamma = cache
    assert shift is not None
    maps, count, dx, scalar = _Maps(x), x.size // x.shape[1], np.empty_like(dy), x.dtype.type
    dgamma, dbeta = np.empty((2, x.shape[1]))
    channels = zip(_channels(x), _channels(dy), _channels(dx), strict=True)
    for channel, (source, gradient, target) in enumerate(channels):
        dbeta[channel] = maps.sum(gradient)
        np.subtract(source, shift[channel], out=target)
        products = maps.dot(target, gradient)
        dgamma[channel] = (products - mean[channel] * dbeta[channel]) * inv_std[channel]
        slope = -inv_std[channel] * dgamma[channel] / count
        np.multiply(target, scalar(slope), out=target)
        np.add(target, scalar(-dbeta[channel] / count - slope * mean[channel]), out=target)
        np.add(target, gradient, out=target)
        np.multiply(target, scalar(gamma[channel] * inv_std[channel]), out=target)
    return dx, dgamma, dbeta
