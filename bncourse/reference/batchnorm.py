"""Batch normalization forward, in inference, and backward: in closed form, node by node, and with frozen statistics."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bncourse.reference.normalization import normalize, normalize_backward
from bncourse.reference.statistics import per_feature, reduction_axes
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

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import batch_norm
    >>> x, gamma, beta = np.array([[1.0], [3.0], [3.0], [9.0]]), np.array([6.0]), np.array([10.0])
    >>> _, cache = batch_norm(x, gamma, beta)
    >>> print(cache.x_hat.ravel().round(3), cache.inv_std.round(3))
    [-1.    -0.333 -0.333  1.667] [0.333]
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

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import batch_norm
    >>> x, gamma, beta = np.array([[1.0], [3.0], [3.0], [9.0]]), np.array([6.0]), np.array([10.0])
    >>> y, cache = batch_norm(x, gamma, beta)
    >>> print(y.ravel().round(3))
    [ 4.  8.  8. 20.]
    """
    x = require_data(x)
    gamma = require_per_feature("gamma", gamma, x)
    beta = require_per_feature("beta", beta, x)
    require_eps(eps)
    require_batch(x)
    x_hat, inv_std = normalize(x, reduction_axes(x.ndim), eps)
    return _affine(x_hat, gamma, beta, x.dtype), Cache(x_hat, inv_std.ravel(), gamma)


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

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import batch_norm_inference
    >>> x, mean, var = np.array([[5.0]]), np.array([4.0]), np.array([9.0])
    >>> print(batch_norm_inference(x, mean, var, gamma=np.array([6.0]), beta=np.array([10.0])).round(3))
    [[12.]]
    """
    x = require_data(x)
    mean, inv_std = _given_statistics(x, mean, var, eps)
    gamma = require_per_feature("gamma", gamma, x)
    beta = require_per_feature("beta", beta, x)
    return _affine(_x_hat(x, mean, inv_std), gamma, beta, x.dtype)


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

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import batch_norm, batch_norm_backward
    >>> x, gamma, beta = np.array([[1.0], [3.0], [3.0], [9.0]]), np.array([6.0]), np.array([10.0])
    >>> y, cache = batch_norm(x, gamma, beta)
    >>> dx, dgamma, dbeta = batch_norm_backward(np.array([[1.0], [0.0], [0.0], [0.0]]), cache)
    >>> print(dx.ravel().round(3), dgamma.round(3), dbeta)
    [ 1.    -0.667 -0.667  0.333] [-1.] [1.]
    """
    dy, dgamma, dbeta = _parameter_gradients(dy, cache)
    inv_std, gamma = _wide(cache, dy.ndim)
    dx = normalize_backward(gamma * dy, cache.x_hat, inv_std, reduction_axes(dy.ndim))
    return dx.astype(dy.dtype), dgamma, dbeta


def batch_norm_backward_staged(
    dy: Float[np.ndarray, "N C *spatial"], cache: Cache
) -> tuple[Float[np.ndarray, "N C *spatial"], Float[np.ndarray, " C"], Float[np.ndarray, " C"]]:
    r"""The gradients of :func:`batch_norm_backward`, one node of the graph after the other.

    The graph is :math:`\mu = \overline{x}`, :math:`c = x - \mu`, :math:`q = c^2`, :math:`\sigma^2 = \overline{q}`,
    :math:`s = (\sigma^2 + \epsilon)^{-1/2}`, :math:`\hat{x} = c\, s`, :math:`y = \gamma \hat{x} + \beta`. Each line
    below passes the gradient of one node to its inputs (chapter 2.1).

    Parameters, returns and errors are those of :func:`batch_norm_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import batch_norm, batch_norm_backward, batch_norm_backward_staged
    >>> x, dy = np.random.default_rng(0).normal(size=(2, 8, 3))
    >>> _, cache = batch_norm(x, gamma=np.array([0.5, 1.0, 2.0]), beta=np.zeros(3))
    >>> np.allclose(batch_norm_backward_staged(dy, cache)[0], batch_norm_backward(dy, cache)[0])
    True
    """
    dy, dgamma, dbeta = _parameter_gradients(dy, cache)
    axes, count = reduction_axes(dy.ndim), dy.size // dy.shape[1]
    inv_std, gamma = _wide(cache, dy.ndim)
    centred = cache.x_hat / inv_std

    dx_hat = gamma * dy  # y = gamma * x_hat + beta
    dinv_std = (dx_hat * centred).sum(axis=axes, keepdims=True)  # x_hat = centred * inv_std
    dcentred = dx_hat * inv_std
    dvar = dinv_std * (-(inv_std**3) / 2)  # inv_std = (var + eps) ** (-1/2)
    dsquared = dvar / count  # var = squared.mean()
    dcentred = dcentred + 2 * centred * dsquared  # squared = centred**2
    dmean = -dcentred.sum(axis=axes, keepdims=True)  # centred = x - mean
    dx = dcentred + dmean / count  # mean = x.mean()
    return dx.astype(dy.dtype), dgamma, dbeta


def batch_norm_inference_backward(
    dy: Float[np.ndarray, "N C *spatial"],
    x: Float[np.ndarray, "N C *spatial"],
    mean: Float[np.ndarray, " C"],
    var: Float[np.ndarray, " C"],
    gamma: Float[np.ndarray, " C"],
    eps: float = 1e-5,
) -> tuple[Float[np.ndarray, "N C *spatial"], Float[np.ndarray, " C"], Float[np.ndarray, " C"]]:
    r"""Gradients of :func:`batch_norm_inference`: the statistics are constants, so nothing is taken off.

    .. math:: dx = \gamma\, s\, dy, \qquad d\gamma = \sum dy\, (x - \mu)\, s, \qquad d\beta = \sum dy

    Parameters
    ----------
    dy : gradient of the loss with respect to ``y``.
    x, mean, var, gamma, eps : as in :func:`batch_norm_inference`.

    Returns
    -------
    dx : of the shape and dtype of ``dy``.
    dgamma, dbeta : of shape (C,) and the dtype of ``dy``.

    Raises
    ------
    TypeError : if an array is not of a floating dtype.
    ValueError : for a wrong shape, an ``eps`` that is not positive, or a negative variance.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import batch_norm_inference_backward
    >>> x, mean, var = np.array([[5.0]]), np.array([4.0]), np.array([9.0])
    >>> dx, dgamma, dbeta = batch_norm_inference_backward(np.array([[1.0]]), x, mean, var, gamma=np.array([6.0]))
    >>> print(dx.round(3), dgamma.round(3), dbeta)
    [[2.]] [0.333] [1.]
    """
    x = require_data(x)
    mean, inv_std = _given_statistics(x, mean, var, eps)
    gamma = require_per_feature("gamma", gamma, x)
    dy, dgamma, dbeta = _parameter_gradients(dy, Cache(_x_hat(x, mean, inv_std), inv_std, gamma))
    return (per_feature(gamma * inv_std, dy.ndim) * dy).astype(dy.dtype), dgamma, dbeta


def _wide(cache: Cache, ndim: int) -> tuple[np.ndarray, np.ndarray]:
    """inv_std and gamma in float64 or wider, ready to broadcast, so that no product is rounded to float16."""
    inv_std, gamma = cache.inv_std, cache.gamma.astype(cache.inv_std.dtype)
    return per_feature(inv_std, ndim), per_feature(gamma, ndim)


def _given_statistics(x: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """Checked mean, and ``1 / sqrt(var + eps)`` in float64 or wider."""
    mean, var = (require_per_feature(name, value, x) for name, value in (("mean", mean), ("var", var)))
    require_eps(eps)
    if (var < 0).any():
        raise ValueError(f"expected var >= 0, got {var.min()} for feature {int(var.argmin())}")
    return mean, 1 / np.sqrt(var.astype(np.promote_types(var.dtype, np.float64)) + eps)


def _parameter_gradients(dy: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Checked dy, and the gradients of gamma and beta in its dtype."""
    dy = require_floating("dy", dy)
    if dy.shape != cache.x_hat.shape:
        raise ValueError(f"expected dy of the shape of x, {cache.x_hat.shape}, got {dy.shape}")
    axes, wide = reduction_axes(dy.ndim), cache.inv_std.dtype
    dgamma = (dy * cache.x_hat).sum(axis=axes, dtype=wide)
    dbeta = dy.sum(axis=axes, dtype=wide)
    return dy, dgamma.astype(dy.dtype), dbeta.astype(dy.dtype)


def _x_hat(x: np.ndarray, mean: np.ndarray, inv_std: np.ndarray) -> np.ndarray:
    """Subtract in the dtype of the statistics, where a large mean costs no digits, and round once."""
    x_hat: np.ndarray = (x - per_feature(mean, x.ndim)) * per_feature(inv_std, x.ndim)
    return x_hat.astype(np.promote_types(x.dtype, np.float32))


def _affine(x_hat: np.ndarray, gamma: np.ndarray, beta: np.ndarray, dtype: np.dtype) -> np.ndarray:
    y: np.ndarray = per_feature(gamma, x_hat.ndim) * x_hat + per_feature(beta, x_hat.ndim)
    return y.astype(dtype)
