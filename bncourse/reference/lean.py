"""Batch normalization in NumPy with as few passes over memory, and as few operations on each value, as it takes.

Nothing of the size of ``x`` is made but ``y`` and ``dx``: the cache keeps ``x`` itself and three numbers for each
feature. Work is done in blocks that stay in a core's cache while several operations run over them (chapter 2.6).
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

OFFSET = 2.0
"""Means beyond this many standard deviations are subtracted before the squares are summed."""


class LeanCache(NamedTuple):
    """What the lean backward pass needs.

    Attributes
    ----------
    x : the input itself, not a copy: changing it between the passes makes the gradients wrong.
    shift : subtracted from ``x`` before anything is summed, of shape (C,); None where the mean is not far from 0.
    mean : of ``x - shift``, of shape (C,), float64.
    inv_std : ``1 / sqrt(var + eps)``, of shape (C,), float64.
    gamma : the scale, of shape (C,).
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
    :math:`\overline{x^2} - \mu^2` where that loses nothing, and is taken about the mean where it would
    (chapter 2.6, equation ``eq-lean-forward``).

    Parameters
    ----------
    x : the batch, in float32 or float64, two values or more per feature.
    gamma, beta, eps : as in :func:`batch_norm`.

    Returns
    -------
    y : of the shape and dtype of ``x``.
    cache : for :func:`batch_norm_lean_backward`. It holds ``x`` itself.

    Raises
    ------
    TypeError : if ``x`` is neither float32 nor float64, or ``gamma`` or ``beta`` is not of a floating dtype.
    ValueError : as :func:`batch_norm`.
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
        near = bool((np.isfinite(var) & (np.square(mean) <= OFFSET**2 * var)).all())
    shift = None if near else mean.astype(x.dtype)
    offset = None if shift is None else rows.spread(shift)
    if offset is not None:
        shifted = (np.subtract(b, offset[: b.shape[1]], out=rows.beside(b, 0)) for b in blocks)
        mean, var = _moments(rows.sums((b, np.square(b, out=rows.beside(b, 1))) for b in shifted), count)
    inv_std = 1 / np.sqrt(var + eps)
    a, b = rows.spread(gamma * inv_std), rows.spread(beta - gamma * inv_std * mean)
    # From the last block to the first: the last ones are still in the cache.
    for block, out in zip(reversed(blocks), reversed(rows.blocks(y)), strict=True):
        width = block.shape[1]
        source = block if offset is None else np.subtract(block, offset[:width], out=out)
        np.multiply(source, a[:width], out=out)
        np.add(out, b[:width], out=out)
    return y, LeanCache(x, shift, mean, inv_std, gamma)


def _backward_by_row(dy: np.ndarray, cache: LeanCache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, shift, mean, inv_std, gamma = cache
    rows, count, dx = _Rows(x), x.size // x.shape[1], np.empty_like(dy)
    offset = None if shift is None else rows.spread(shift)
    pairs = list(zip(rows.blocks(x), rows.blocks(dy), strict=True))

    def centred(block: np.ndarray, out: np.ndarray) -> np.ndarray:
        return block if offset is None else np.subtract(block, offset[: block.shape[1]], out=out)

    dbeta, products = rows.sums(
        (d, np.multiply(centred(b, rows.beside(b, 0)), d, out=rows.beside(b, 0))) for b, d in pairs
    )
    dgamma = (products - mean * dbeta) * inv_std
    slope = -inv_std * dgamma / count
    a, b, c = (rows.spread(value) for value in (gamma * inv_std, slope, -dbeta / count - slope * mean))
    for (block, d), out in zip(reversed(pairs), reversed(rows.blocks(dx)), strict=True):
        width = block.shape[1]
        np.multiply(centred(block, out), b[:width], out=out)
        np.add(out, c[:width], out=out)
        np.add(out, d, out=out)
        np.multiply(out, a[:width], out=out)
    return dx, dgamma, dbeta


def _moments(sums: tuple[np.ndarray, np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance from the sums of the values and of their squares."""
    mean = sums[0] / count
    return mean, np.maximum(sums[1] / count - np.square(mean), 0)


def _forward_by_channel(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: float) -> tuple[np.ndarray, LeanCache]:
    """The maps of a channel fit the cache together: they come from memory once, and their mean is always subtracted."""
    single, count, y = x.dtype.type, x.size // x.shape[1], np.empty_like(x)
    sources, targets = _maps(x), _maps(y)
    ones = np.ones(len(x), x.dtype)
    shift = np.empty(x.shape[1], x.dtype)
    mean, inv_std = np.zeros((2, x.shape[1]))
    for channel in range(x.shape[1]):
        source, target = sources[:, channel], targets[:, channel]
        shift[channel] = (ones @ source).sum(dtype=np.float64) / count
        np.subtract(source, shift[channel], out=target)
        var = np.vecdot(target, target).sum(dtype=np.float64) / count
        if np.square(shift[channel], dtype=np.float64) > OFFSET**2 * var:
            mean[channel] = (ones @ target).sum(dtype=np.float64) / count
            var -= np.square(mean[channel])
        inv_std[channel] = 1 / np.sqrt(var + eps)
        a = gamma[channel] * inv_std[channel]
        np.multiply(target, single(a), out=target)
        np.add(target, single(beta[channel] - a * mean[channel]), out=target)
    return y, LeanCache(x, shift, mean, inv_std, gamma)


def _backward_by_channel(dy: np.ndarray, cache: LeanCache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, shift, mean, inv_std, gamma = cache
    assert shift is not None
    single, count, dx = x.dtype.type, x.size // x.shape[1], np.empty_like(dy)
    sources, gradients, targets = _maps(x), _maps(dy), _maps(dx)
    ones = np.ones(len(x), x.dtype)
    dgamma, dbeta = np.empty((2, x.shape[1]))
    for channel in range(x.shape[1]):
        gradient, target = gradients[:, channel], targets[:, channel]
        dbeta[channel] = (ones @ gradient).sum(dtype=np.float64)
        np.subtract(sources[:, channel], shift[channel], out=target)
        products = np.vecdot(target, gradient).sum(dtype=np.float64)
        dgamma[channel] = (products - mean[channel] * dbeta[channel]) * inv_std[channel]
        slope = -inv_std[channel] * dgamma[channel] / count
        np.multiply(target, single(slope), out=target)
        np.add(target, single(-dbeta[channel] / count - slope * mean[channel]), out=target)
        np.add(target, gradient, out=target)
        np.multiply(target, single(gamma[channel] * inv_std[channel]), out=target)
    return dx, dgamma, dbeta


def _maps(array: np.ndarray) -> np.ndarray:
    """A view of shape (N, C, positions)."""
    return array.reshape(*array.shape[:2], -1)
