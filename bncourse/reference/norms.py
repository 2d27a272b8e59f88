"""Layer, instance, group and RMS norm, forward and backward: batch norm's computation over other axes.

Data is ``(N, C, *spatial)``. None of them looks across the batch, so each works on one example, and does the same in
training and in inference.

========== ================================= =======================
norm       statistics run over               parameters
========== ================================= =======================
batch      N and space                       one pair for a channel
layer      C and space                       one pair for an entry
instance   space                             one pair for a channel
group      the channels of a group and space one pair for a channel
RMS        C and space, without the mean     a scale for an entry
========== ================================= =======================
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bncourse.reference.normalization import normalize, normalize_backward
from bncourse.reference.statistics import per_feature
from bncourse.reference.validation import require_data, require_eps, require_floating, require_per_feature


class NormCache(NamedTuple):
    """What the backward pass of a norm needs of its forward pass.

    Attributes
    ----------
    x_hat : the normalized input, of the shape of ``x``; float32 or wider.
    inv_std : ``1 / sqrt(var + eps)``, of the shape of ``grouped`` with 1 in place of ``axes``; float64 or wider.
    gamma : the scale, with as many axes as ``x``, ready to broadcast.
    grouped : the shape of ``x`` in which the statistics run over ``axes``.
    axes : those axes.
    centred : whether the mean was subtracted.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import layer_norm
    >>> x = np.array([[1.0, 3.0, 5.0, 7.0], [10.0, 10.0, 30.0, 30.0]])
    >>> _, cache = layer_norm(x, gamma=np.ones(4), beta=np.zeros(4))
    >>> cache.x_hat.shape
    (2, 4)
    """

    x_hat: Float[np.ndarray, "N C *spatial"]
    inv_std: Float[np.ndarray, "..."]
    gamma: Float[np.ndarray, "..."]
    grouped: tuple[int, ...]
    axes: tuple[int, ...]
    centred: bool


def layer_norm(
    x: Float[np.ndarray, "N C *spatial"],
    gamma: Float[np.ndarray, "C *spatial"],
    beta: Float[np.ndarray, "C *spatial"],
    eps: float = 1e-5,
) -> tuple[Float[np.ndarray, "N C *spatial"], NormCache]:
    r"""Normalize each example by its own mean and biased variance.

    .. math:: y = \gamma\, \frac{x - \mu_n}{\sqrt{\sigma_n^2 + \epsilon}} + \beta

    with statistics over all axes but the first (Ba, Kiros and Hinton 2016). It is
    ``torch.nn.functional.layer_norm`` with ``normalized_shape = x.shape[1:]``.

    Parameters
    ----------
    x : the data.
    gamma, beta : scale and shift, one for each entry of an example.
    eps : added to the variance, inside the square root.

    Returns
    -------
    y : of the shape and dtype of ``x``.
    cache : for :func:`layer_norm_backward`.

    Raises
    ------
    TypeError : if an array is not of a floating dtype.
    ValueError : if ``x`` has fewer than two axes or nothing to normalize, for a wrong shape of ``gamma`` or ``beta``,
        or if ``eps`` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import layer_norm
    >>> x = np.array([[1.0, 3.0, 5.0, 7.0], [10.0, 10.0, 30.0, 30.0]])
    >>> y, cache = layer_norm(x, gamma=np.ones(4), beta=np.zeros(4))
    >>> print(y.round(3))
    [[-1.342 -0.447  0.447  1.342]
     [-1.    -1.     1.     1.   ]]
    """
    x = _require_values(require_data(x), 1)
    gamma, beta = (_per_entry(name, value, x) for name, value in (("gamma", gamma), ("beta", beta)))
    return _forward(x, gamma, beta, x.shape, tuple(range(1, x.ndim)), eps)


def layer_norm_backward(
    dy: Float[np.ndarray, "N C *spatial"], cache: NormCache
) -> tuple[Float[np.ndarray, "N C *spatial"], Float[np.ndarray, "C *spatial"], Float[np.ndarray, "C *spatial"]]:
    """Gradients of :func:`layer_norm`: ``dx`` of the shape of ``x``, ``dgamma`` and ``dbeta`` of that of an example.

    Parameters
    ----------
    dy : gradient of the loss with respect to ``y``.
    cache : what :func:`layer_norm` returned beside ``y``.

    Raises
    ------
    TypeError : if ``dy`` is not of a floating dtype.
    ValueError : if ``dy`` has not the shape of ``x``.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import layer_norm, layer_norm_backward
    >>> x, dy = np.random.default_rng(0).normal(size=(2, 3, 4))
    >>> y, cache = layer_norm(x, gamma=np.ones(4), beta=np.zeros(4))
    >>> dx, dgamma, dbeta = layer_norm_backward(dy, cache)
    >>> np.allclose(dx.sum(axis=1), 0), np.allclose(dbeta, dy.sum(axis=0))
    (True, True)
    """
    dx, dgamma, dbeta = _backward(dy, cache)
    return dx, dgamma[0], dbeta[0]


def instance_norm(
    x: Float[np.ndarray, "N C *spatial"],
    gamma: Float[np.ndarray, " C"],
    beta: Float[np.ndarray, " C"],
    eps: float = 1e-5,
) -> tuple[Float[np.ndarray, "N C *spatial"], NormCache]:
    r"""Normalize each channel of each example over space.

    .. math:: y = \gamma_c\, \frac{x - \mu_{nc}}{\sqrt{\sigma_{nc}^2 + \epsilon}} + \beta_c

    (Ulyanov, Vedaldi and Lempitsky 2016.) It is :func:`group_norm` with a group for every channel.

    Parameters
    ----------
    x : data with at least one spatial axis, and two values or more in space.
    gamma, beta, eps : as in :func:`bncourse.reference.batch_norm`.

    Returns
    -------
    y : of the shape and dtype of ``x``.
    cache : for :func:`instance_norm_backward`.

    Raises
    ------
    TypeError : if an array is not of a floating dtype.
    ValueError : if ``x`` has no spatial axis or one value in space, for a wrong shape of ``gamma`` or ``beta``, or if
        ``eps`` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import instance_norm
    >>> images = np.array([[[1.0, 3.0], [10.0, 30.0]]])  # one example, two channels of two pixels
    >>> y, cache = instance_norm(images, gamma=np.ones(2), beta=np.zeros(2))
    >>> print(y.round(3))
    [[[-1.  1.]
      [-1.  1.]]]
    """
    x = require_data(x)
    if x.ndim < 3:
        raise ValueError(f"expected x with a spatial axis, (N, C, L, ...), got {x.shape}")
    return group_norm(x, gamma, beta, x.shape[1], eps)


def group_norm(
    x: Float[np.ndarray, "N C *spatial"],
    gamma: Float[np.ndarray, " C"],
    beta: Float[np.ndarray, " C"],
    num_groups: int,
    eps: float = 1e-5,
) -> tuple[Float[np.ndarray, "N C *spatial"], NormCache]:
    r"""Normalize each group of neighbouring channels of each example, over those channels and space.

    .. math:: y = \gamma_c\, \frac{x - \mu_{ng}}{\sqrt{\sigma_{ng}^2 + \epsilon}} + \beta_c, \qquad c \in g

    (Wu and He 2018.) One group has the statistics of layer norm, a group for every channel is instance norm.

    Parameters
    ----------
    x : the data.
    gamma, beta, eps : as in :func:`bncourse.reference.batch_norm`.
    num_groups : a divisor of C.

    Returns
    -------
    y : of the shape and dtype of ``x``.
    cache : for :func:`group_norm_backward`.

    Raises
    ------
    TypeError : if an array is not of a floating dtype.
    ValueError : if ``num_groups`` does not divide C, if a group has fewer than two values, for a wrong shape of
        ``gamma`` or ``beta``, or if ``eps`` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import group_norm
    >>> x = np.array([[1.0, 3.0, 5.0, 7.0], [10.0, 10.0, 30.0, 30.0]])
    >>> y, cache = group_norm(x, gamma=np.ones(4), beta=np.zeros(4), num_groups=2)
    >>> print(y.round(3) + 0.0)
    [[-1.  1. -1.  1.]
     [ 0.  0.  0.  0.]]
    """
    x = require_data(x)
    gamma, beta = (
        per_feature(require_per_feature(name, value, x), x.ndim) for name, value in (("gamma", gamma), ("beta", beta))
    )
    channels = x.shape[1]
    if num_groups < 1 or channels % num_groups:
        raise ValueError(f"expected num_groups to divide the {channels} channels of x, got {num_groups}")
    grouped = (x.shape[0], num_groups, channels // num_groups, *x.shape[2:])
    _require_values(x.reshape(grouped), 2)
    return _forward(x, gamma, beta, grouped, tuple(range(2, len(grouped))), eps)


def group_norm_backward(
    dy: Float[np.ndarray, "N C *spatial"], cache: NormCache
) -> tuple[Float[np.ndarray, "N C *spatial"], Float[np.ndarray, " C"], Float[np.ndarray, " C"]]:
    """Gradients of :func:`group_norm`: ``dx`` of the shape of ``x``, ``dgamma`` and ``dbeta`` of shape (C,).

    Parameters
    ----------
    dy : gradient of the loss with respect to ``y``.
    cache : what :func:`group_norm` returned beside ``y``.

    Raises
    ------
    TypeError : if ``dy`` is not of a floating dtype.
    ValueError : if ``dy`` has not the shape of ``x``.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import group_norm, group_norm_backward
    >>> x, dy = np.random.default_rng(0).normal(size=(2, 3, 4))
    >>> y, cache = group_norm(x, gamma=np.ones(4), beta=np.zeros(4), num_groups=2)
    >>> dx, dgamma, dbeta = group_norm_backward(dy, cache)
    >>> np.allclose(dx.reshape(3, 2, 2).sum(axis=2), 0)
    True
    """
    dx, dgamma, dbeta = _backward(dy, cache)
    return dx, dgamma.ravel(), dbeta.ravel()


def instance_norm_backward(
    dy: Float[np.ndarray, "N C *spatial"], cache: NormCache
) -> tuple[Float[np.ndarray, "N C *spatial"], Float[np.ndarray, " C"], Float[np.ndarray, " C"]]:
    """Gradients of :func:`instance_norm`; see :func:`group_norm_backward`.

    Parameters
    ----------
    dy : gradient of the loss with respect to ``y``.
    cache : what :func:`instance_norm` returned beside ``y``.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import instance_norm, instance_norm_backward
    >>> x, dy = np.random.default_rng(0).normal(size=(2, 3, 2, 5))
    >>> y, cache = instance_norm(x, gamma=np.ones(2), beta=np.zeros(2))
    >>> dx, dgamma, dbeta = instance_norm_backward(dy, cache)
    >>> np.allclose(dx.sum(axis=2), 0)
    True
    """
    return group_norm_backward(dy, cache)


def rms_norm(
    x: Float[np.ndarray, "N C *spatial"], gamma: Float[np.ndarray, "C *spatial"], eps: float = 1e-5
) -> tuple[Float[np.ndarray, "N C *spatial"], NormCache]:
    r"""Divide each example by its root mean square: layer norm without the mean, and without a shift.

    .. math:: y = \gamma\, \frac{x}{\sqrt{\overline{x^2} + \epsilon}}

    (Zhang and Sennrich 2019.) It is ``torch.nn.functional.rms_norm`` with ``normalized_shape = x.shape[1:]``.

    Parameters
    ----------
    x, gamma : as in :func:`layer_norm`.
    eps : added to the mean square, inside the square root.

    Returns
    -------
    y : of the shape and dtype of ``x``.
    cache : for :func:`rms_norm_backward`.

    Raises
    ------
    TypeError : if an array is not of a floating dtype.
    ValueError : if ``x`` has fewer than two axes or is empty, for a wrong shape of ``gamma``, or if ``eps`` is not
        positive.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import rms_norm
    >>> y, cache = rms_norm(np.array([[3.0, 4.0]]), gamma=np.ones(2))
    >>> print(y.round(3))
    [[0.849 1.131]]
    """
    x = _require_values(require_data(x), 1, at_least=1)
    gamma = _per_entry("gamma", gamma, x)
    return _forward(x, gamma, np.zeros_like(gamma), x.shape, tuple(range(1, x.ndim)), eps, centre=False)


def rms_norm_backward(
    dy: Float[np.ndarray, "N C *spatial"], cache: NormCache
) -> tuple[Float[np.ndarray, "N C *spatial"], Float[np.ndarray, "C *spatial"]]:
    """Gradients of :func:`rms_norm`: ``dx`` of the shape of ``x``, ``dgamma`` of that of an example.

    One projection instead of two: nothing subtracted a mean, so a common offset of ``dy`` comes back.

    Parameters
    ----------
    dy : gradient of the loss with respect to ``y``.
    cache : what :func:`rms_norm` returned beside ``y``.

    Raises
    ------
    TypeError : if ``dy`` is not of a floating dtype.
    ValueError : if ``dy`` has not the shape of ``x``.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import rms_norm, rms_norm_backward
    >>> x, dy = np.random.default_rng(0).normal(size=(2, 3, 4))
    >>> y, cache = rms_norm(x, gamma=np.ones(4), eps=1e-12)
    >>> dx, dgamma = rms_norm_backward(dy, cache)
    >>> np.allclose((dx * x).sum(axis=1), 0), np.allclose(dx.sum(axis=1), 0)
    (True, False)
    """
    dx, dgamma, _ = _backward(dy, cache)
    return dx, dgamma[0]


def _forward(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    grouped: tuple[int, ...],
    axes: tuple[int, ...],
    eps: float,
    centre: bool = True,
) -> tuple[np.ndarray, NormCache]:
    require_eps(eps)
    x_hat, inv_std = normalize(x.reshape(grouped), axes, eps, centre)
    x_hat = x_hat.reshape(x.shape)
    return (gamma * x_hat + beta).astype(x.dtype), NormCache(x_hat, inv_std, gamma, grouped, axes, centre)


def _backward(dy: np.ndarray, cache: NormCache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, and the gradients of gamma and beta in the shape in which they broadcast, all in the dtype of ``dy``."""
    dy = require_floating("dy", dy)
    if dy.shape != cache.x_hat.shape:
        raise ValueError(f"expected dy of the shape of x, {cache.x_hat.shape}, got {dy.shape}")
    wide = cache.inv_std.dtype
    dx_hat = (cache.gamma.astype(wide) * dy).reshape(cache.grouped)
    dx = normalize_backward(dx_hat, cache.x_hat.reshape(cache.grouped), cache.inv_std, cache.axes, cache.centred)
    shared = tuple(axis for axis, size in enumerate(cache.gamma.shape) if size == 1)
    dgamma = (dy * cache.x_hat).sum(axis=shared, dtype=wide, keepdims=True)
    dbeta = dy.sum(axis=shared, dtype=wide, keepdims=True)
    return dx.reshape(dy.shape).astype(dy.dtype), dgamma.astype(dy.dtype), dbeta.astype(dy.dtype)


def _per_entry(name: str, value: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A parameter with one value for each entry of an example, with a batch axis before it."""
    array = require_floating(name, value)
    if array.shape != x.shape[1:]:
        raise ValueError(f"expected {name} of shape {x.shape[1:]}, that of an example of x, got {array.shape}")
    return array[np.newaxis]


def _require_values(x: np.ndarray, first: int, at_least: int = 2) -> np.ndarray:
    """``x``, if the axes from ``first`` on hold that many values."""
    if x.size == 0:
        raise ValueError(f"expected x with values in it, got an empty array of shape {x.shape}")
    count = int(np.prod(x.shape[first:]))
    if count < at_least:
        raise ValueError(
            f"expected {at_least} values or more to normalize together, got {count}; of one alone only beta is left"
        )
    return x
