"""Batch normalization as one writes it first: whole arrays, one operation after the other, in the dtype of the data.

It is right and slow, and chapter 2.6 says where its time goes. Arguments are not checked; the oracle is in
:mod:`bncourse.reference.batchnorm`.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bncourse.reference.statistics import per_feature, reduction_axes


class PlainCache(NamedTuple):
    """Every array that the forward pass made and the backward pass asks for.

    Attributes
    ----------
    centred, x_hat, inv_std, gamma : nodes of the graph, of shapes that broadcast.
    """

    centred: Float[np.ndarray, "N C *spatial"]
    x_hat: Float[np.ndarray, "N C *spatial"]
    inv_std: Float[np.ndarray, "1 C *ones"]
    gamma: Float[np.ndarray, "1 C *ones"]


def batch_norm_plain(
    x: Float[np.ndarray, "N C *spatial"],
    gamma: Float[np.ndarray, " C"],
    beta: Float[np.ndarray, " C"],
    eps: float = 1e-5,
) -> tuple[Float[np.ndarray, "N C *spatial"], PlainCache]:
    """The transform of :func:`batch_norm`, an array for every node of its graph.

    Parameters
    ----------
    x, gamma, beta, eps : as in :func:`bncourse.reference.batch_norm`. Nothing is checked, and arithmetic is in the
        dtype of ``x``.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import batch_norm
    >>> from bncourse.reference.plain import batch_norm_plain
    >>> x = np.random.default_rng(0).normal(size=(8, 3))
    >>> y, cache = batch_norm_plain(x, np.ones(3), np.zeros(3))
    >>> np.allclose(y, batch_norm(x, np.ones(3), np.zeros(3))[0])
    True
    """
    axes = reduction_axes(x.ndim)
    gamma, beta = per_feature(gamma, x.ndim), per_feature(beta, x.ndim)
    centred = x - x.mean(axis=axes, keepdims=True)
    squared = centred**2
    inv_std = 1 / np.sqrt(squared.mean(axis=axes, keepdims=True) + x.dtype.type(eps))
    x_hat = centred * inv_std
    return gamma * x_hat + beta, PlainCache(centred, x_hat, inv_std, gamma)


def batch_norm_plain_staged(
    dy: Float[np.ndarray, "N C *spatial"], cache: PlainCache
) -> tuple[Float[np.ndarray, "N C *spatial"], Float[np.ndarray, " C"], Float[np.ndarray, " C"]]:
    """The gradients node by node (chapter 2.1): ``dx``, ``dgamma`` and ``dbeta``.

    Parameters
    ----------
    dy : gradient of the loss with respect to ``y``.
    cache : what :func:`batch_norm_plain` returned beside ``y``.
    """
    centred, x_hat, inv_std, gamma = cache
    axes, count = reduction_axes(dy.ndim), dy.dtype.type(dy.size // dy.shape[1])
    dgamma = (dy * x_hat).sum(axis=axes)
    dbeta = dy.sum(axis=axes)
    dx_hat = dy * gamma
    dinv_std = (dx_hat * centred).sum(axis=axes, keepdims=True)
    dcentred = dx_hat * inv_std
    dvar = -dinv_std * inv_std**3 / 2
    dsquared = dvar / count
    dcentred = dcentred + 2 * centred * dsquared
    dmean = -dcentred.sum(axis=axes, keepdims=True)
    return dcentred + dmean / count, dgamma, dbeta


def batch_norm_plain_closed(
    dy: Float[np.ndarray, "N C *spatial"], cache: PlainCache
) -> tuple[Float[np.ndarray, "N C *spatial"], Float[np.ndarray, " C"], Float[np.ndarray, " C"]]:
    """The gradients in closed form (chapter 2.2): ``dx``, ``dgamma`` and ``dbeta``.

    Parameters
    ----------
    dy, cache : as in :func:`batch_norm_plain_staged`.
    """
    _, x_hat, inv_std, gamma = cache
    axes, count = reduction_axes(dy.ndim), dy.dtype.type(dy.size // dy.shape[1])
    dgamma = (dy * x_hat).sum(axis=axes, keepdims=True)
    dbeta = dy.sum(axis=axes, keepdims=True)
    dx = gamma * inv_std * (dy - dbeta / count - x_hat * (dgamma / count))
    return dx, dgamma.ravel(), dbeta.ravel()
