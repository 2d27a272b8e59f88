"""The gradient of batch norm's gradient: what autograd asks for when a loss contains a derivative."""

import numpy as np
from jaxtyping import Float

from bncourse.reference.batchnorm import Cache
from bncourse.reference.statistics import per_feature, reduction_axes
from bncourse.reference.validation import require_floating


def batch_norm_double_backward(
    ddx: Float[np.ndarray, "N C *spatial"],
    dy: Float[np.ndarray, "N C *spatial"],
    cache: Cache,
    ddgamma: Float[np.ndarray, " C"] | None = None,
    ddbeta: Float[np.ndarray, " C"] | None = None,
) -> tuple[Float[np.ndarray, "N C *spatial"], Float[np.ndarray, " C"], Float[np.ndarray, "N C *spatial"]]:
    r"""Gradients of :func:`batch_norm_backward`, in closed form.

    A loss that contains ``dx``, ``dgamma`` and ``dbeta`` has a gradient :math:`v, w, u` with respect to each of them,
    and through them it depends on ``x``, ``gamma`` and ``dy``. With :math:`g` for ``dy``,
    :math:`P v = v - \overline{v} - \hat{x}\, \overline{v \hat{x}}` and :math:`s = 1/\sqrt{\sigma^2 + \epsilon}`,

    .. math::

        \text{for } dy&: \quad \gamma s\, P v + w \hat{x} + u \\
        \text{for } \gamma&: \quad s \sum v\, P g \\
        \text{for } x&: \quad w s\, P g
            - \gamma s^2 \left(\hat{x}\, \overline{v\, P g} + P g\, \overline{v \hat{x}}
            + P v\, \overline{g \hat{x}}\right)

    (chapter 2.7, equations ``eq-bn-double-dy``, ``eq-bn-double-gamma`` and ``eq-bn-double-x``).

    Parameters
    ----------
    ddx : :math:`v`, gradient of the loss with respect to ``dx``.
    dy : gradient with which :func:`batch_norm_backward` was called.
    cache : what :func:`batch_norm` returned beside ``y``.
    ddgamma, ddbeta : :math:`w` and :math:`u`, gradients with respect to ``dgamma`` and ``dbeta``; None where the loss
        does not contain these.

    Returns
    -------
    grad_x : gradient with respect to ``x``, of the shape and dtype of ``dy``.
    grad_gamma : with respect to ``gamma``, of shape (C,).
    grad_dy : with respect to ``dy``, of its shape.

    Raises
    ------
    TypeError : if an array is not of a floating dtype.
    ValueError : if ``ddx`` or ``dy`` has not the shape of ``x``, or ``ddgamma`` or ``ddbeta`` not that of ``gamma``.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import batch_norm, batch_norm_double_backward
    >>> x, dy, ddx = np.random.default_rng(0).normal(size=(3, 8, 2))
    >>> _, cache = batch_norm(x, gamma=np.ones(2), beta=np.zeros(2))
    >>> grad_x, grad_gamma, grad_dy = batch_norm_double_backward(ddx, dy, cache)
    >>> np.allclose(grad_dy.sum(axis=0), 0)  # the map from dy to dx is symmetric: it removes the mean of ddx as well
    True
    """
    shape, wide = cache.x_hat.shape, cache.inv_std.dtype
    dy = _of_shape("dy", dy, shape)
    v, g = _of_shape("ddx", ddx, shape).astype(wide), dy.astype(wide)
    axes, x_hat = reduction_axes(len(shape)), cache.x_hat.astype(wide)
    w, u = (
        np.zeros(()) if value is None else per_feature(_of_shape(name, value, cache.gamma.shape), len(shape))
        for name, value in (("ddgamma", ddgamma), ("ddbeta", ddbeta))
    )
    inv_std, gamma = (per_feature(value.astype(wide), len(shape)) for value in (cache.inv_std, cache.gamma))

    def mean(values: np.ndarray) -> np.ndarray:
        average: np.ndarray = values.mean(axis=axes, keepdims=True)
        return average

    v_along, g_along = mean(v * x_hat), mean(g * x_hat)
    projected_v, projected_g = v - mean(v) - x_hat * v_along, g - mean(g) - x_hat * g_along
    grad_dy = gamma * inv_std * projected_v + w * x_hat + u
    grad_gamma = cache.inv_std * (v * projected_g).sum(axis=axes)
    b = x_hat * mean(v * projected_g) + projected_g * v_along + projected_v * g_along
    grad_x = w * inv_std * projected_g - gamma * inv_std**2 * b
    return grad_x.astype(dy.dtype), grad_gamma.astype(dy.dtype), grad_dy.astype(dy.dtype)


def _of_shape(name: str, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    array = require_floating(name, value)
    if array.shape != shape:
        owner = "gamma" if name in ("ddgamma", "ddbeta") else "x"
        raise ValueError(f"expected {name} of the shape of {owner}, {shape}, got {array.shape}")
    return array
