"""Batch normalization forward, in inference, and backward in closed form."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bncourse.reference.statistics import moments, reduction_axes
from bncourse.reference.validation import (
    require_batch,
    require_data,
    require_eps,
    require_floating,
    require_per_feature,
)


class Cache(NamedTuple):
    """What the backward pass needs of the forward pass: not ``x``, but where it landed.

    Attributes
    ----------
    x_hat : the normalized input, of the shape of ``x``; float32 or wider.
    inv_std : ``1 / sqrt(var + eps)``, of shape (C,), in float64 or wider.
    gamma : the scale, of shape (C,).
    """

    x_hat: Float[np.ndarray, "N C *spatial"]
    inv_std: Float[np.ndarray, " C"]
    gamma: Float[np.ndarray, " C"]


def batch_norm(
    x: Float[np.ndarray, "N C *spatial"],
    gamma: Float[np.ndarray, " C"],
    beta: Float[np.ndarray, " C"],
    eps: float = 1e-5,
) -> tuple[Float[np.ndarray, "N C *spatial"], Cache]:
    r"""Normalize each feature by the statistics of the batch, then scale and shift it.

    .. math:: \hat{x} = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad y = \gamma \hat{x} + \beta

    with :math:`\mu` and the biased variance :math:`\sigma^2` taken over all axes but axis 1 (Ioffe and Szegedy 2015,
    algorithm 1; chapter 1.2, equations ``eq-bn-normalize`` and ``eq-bn-affine``).

    Parameters
    ----------
    x : the batch, two values or more per feature.
    gamma, beta : scale and shift.
    eps : added to the variance, inside the square root. In the squared units of ``x``.

    Returns
    -------
    y : of the shape and dtype of ``x``.
    cache : for :func:`batch_norm_backward`.

    Raises
    ------
    TypeError : if an array is not of a floating dtype.
    ValueError : if ``x`` has fewer than two axes, is empty or has one value per feature; if ``gamma`` or ``beta`` has
        not one value per feature; if ``eps`` is not positive.
    """
    x = require_data(x)
    gamma = require_per_feature("gamma", gamma, x)
    beta = require_per_feature("beta", beta, x)
    require_eps(eps)
    require_batch(x)
    statistics = moments(x, reduction_axes(x.ndim))
    inv_std = 1 / np.sqrt(statistics.var + eps)
    x_hat = _normalize(x, statistics.mean, inv_std)
    return _affine(x_hat, gamma, beta, x.dtype), Cache(x_hat, inv_std, gamma)


def batch_norm_inference(
    x: Float[np.ndarray, "N C *spatial"],
    mean: Float[np.ndarray, " C"],
    var: Float[np.ndarray, " C"],
    gamma: Float[np.ndarray, " C"],
    beta: Float[np.ndarray, " C"],
    eps: float = 1e-5,
) -> Float[np.ndarray, "N C *spatial"]:
    r"""Normalize each feature by given statistics: an affine map of ``x``, the same for every batch.

    .. math:: y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    (Ioffe and Szegedy 2015, algorithm 2; chapter 1.2, equation ``eq-bn-inference``.)

    Parameters
    ----------
    x : the data; one example, or none, will do.
    mean, var : the statistics to use, as a rule those of :class:`RunningStatistics`.
    gamma, beta, eps : as in :func:`batch_norm`.

    Returns
    -------
    y : of the shape and dtype of ``x``.

    Raises
    ------
    TypeError : if an array is not of a floating dtype.
    ValueError : for a wrong shape, an ``eps`` that is not positive, or a negative variance.
    """
    x = require_data(x)
    mean, var, gamma, beta = (
        require_per_feature(name, value, x)
        for name, value in (("mean", mean), ("var", var), ("gamma", gamma), ("beta", beta))
    )
    require_eps(eps)
    if (var < 0).any():
        raise ValueError(f"expected var >= 0, got {var.min()} for feature {int(var.argmin())}")
    inv_std = 1 / np.sqrt(var.astype(np.promote_types(var.dtype, np.float64)) + eps)
    return _affine(_normalize(x, mean, inv_std), gamma, beta, x.dtype)


def batch_norm_backward(
    dy: Float[np.ndarray, "N C *spatial"], cache: Cache
) -> tuple[Float[np.ndarray, "N C *spatial"], Float[np.ndarray, " C"], Float[np.ndarray, " C"]]:
    r"""Gradients of the training-mode transform, in closed form.

    .. math:: dx = \gamma\, s \left(dy - \overline{dy} - \hat{x}\, \overline{dy\,\hat{x}}\right),
              \qquad s = 1/\sqrt{\sigma^2 + \epsilon},
              \qquad d\gamma = \sum dy\, \hat{x}, \qquad d\beta = \sum dy

    Bars are means over the batch and space. They remove from ``dy`` what the transform cannot pass back: a common
    offset of the batch, and a common scale (chapter 2.2, equation ``eq-bn-dx``).

    Parameters
    ----------
    dy : gradient of the loss with respect to ``y``.
    cache : what :func:`batch_norm` returned beside ``y``.

    Returns
    -------
    dx : of the shape and dtype of ``dy``.
    dgamma, dbeta : of shape (C,) and the dtype of ``dy``.

    Raises
    ------
    TypeError : if ``dy`` is not of a floating dtype.
    ValueError : if ``dy`` has not the shape of ``x``.
    """
    dy = require_floating("dy", dy)
    x_hat, inv_std, gamma = cache
    if dy.shape != x_hat.shape:
        raise ValueError(f"expected dy of the shape of x, {x_hat.shape}, got {dy.shape}")
    axes = reduction_axes(dy.ndim)
    dbeta = dy.sum(axis=axes, dtype=inv_std.dtype)
    dgamma = (dy * x_hat).sum(axis=axes, dtype=inv_std.dtype)
    count = dy.size // dy.shape[1]
    seen = dy - _per_feature(dbeta / count, dy.ndim) - x_hat * _per_feature(dgamma / count, dy.ndim)
    dx = _per_feature(gamma * inv_std, dy.ndim) * seen
    return dx.astype(dy.dtype), dgamma.astype(dy.dtype), dbeta.astype(dy.dtype)


def _normalize(x: np.ndarray, mean: np.ndarray, inv_std: np.ndarray) -> np.ndarray:
    """Subtract in the dtype of the statistics, where a large mean costs no digits, and round once."""
    centred = x - _per_feature(mean, x.ndim)
    x_hat: np.ndarray = centred * _per_feature(inv_std, x.ndim)
    return x_hat.astype(np.promote_types(x.dtype, np.float32))


def _affine(x_hat: np.ndarray, gamma: np.ndarray, beta: np.ndarray, dtype: np.dtype) -> np.ndarray:
    y: np.ndarray = _per_feature(gamma, x_hat.ndim) * x_hat + _per_feature(beta, x_hat.ndim)
    return y.astype(dtype)


def _per_feature(values: np.ndarray, ndim: int) -> np.ndarray:
    """Shape (C,) as (1, C, 1, ...), so that it broadcasts against data of ``ndim`` axes."""
    return values.reshape(1, -1, *(1,) * (ndim - 2))
