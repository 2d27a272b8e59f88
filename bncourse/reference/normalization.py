"""The one computation behind batch, layer, instance, group and RMS norm, which differ in the axes of its statistics."""

import numpy as np
from jaxtyping import Float

from bncourse.reference.statistics import moments


def normalize(
    x: Float[np.ndarray, "..."], axes: tuple[int, ...], eps: float, centre: bool = True
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    r"""Bring ``x`` to mean 0 and mean square 1 over ``axes``.

    .. math:: \hat{x} = (x - \mu)\, s, \qquad s = 1/\sqrt{\sigma^2 + \epsilon}

    or, with ``centre=False``, :math:`\hat{x} = x\, s` with :math:`s = 1/\sqrt{\overline{x^2} + \epsilon}`. Statistics
    are accumulated, and :math:`\mu` is subtracted, in float64: a large mean costs no digits.

    Parameters
    ----------
    x : array of a floating dtype.
    axes : over which the statistics run.
    eps : added inside the square root.
    centre : whether to subtract the mean.

    Returns
    -------
    x_hat : of the shape of ``x``, in float32 or wider.
    inv_std : :math:`s`, of the shape of ``x`` with 1 in place of ``axes``, in float64 or wider.
    """
    if centre:
        statistics = moments(x, axes)
        mean = np.expand_dims(statistics.mean, axes)
        inv_std = 1 / np.sqrt(np.expand_dims(statistics.var, axes) + eps)
        x_hat = (x - mean) * inv_std
    else:
        wide = np.promote_types(x.dtype, np.float64)
        inv_std = 1 / np.sqrt(np.square(x, dtype=wide).mean(axis=axes, keepdims=True) + eps)
        x_hat = x * inv_std
    return x_hat.astype(np.promote_types(x.dtype, np.float32)), inv_std


def normalize_backward(
    dx_hat: Float[np.ndarray, "..."],
    x_hat: Float[np.ndarray, "..."],
    inv_std: Float[np.ndarray, "..."],
    axes: tuple[int, ...],
    centre: bool = True,
) -> Float[np.ndarray, "..."]:
    r"""The gradient of :func:`normalize`: what a common scale, and a common offset, would have absorbed is taken off.

    .. math:: dx = s \left(d\hat{x} - \overline{d\hat{x}} - \hat{x}\, \overline{d\hat{x}\,\hat{x}}\right)

    The second term is absent with ``centre=False``. Bars are means over ``axes``, accumulated in float64.

    Returns
    -------
    dx : of the shape of ``dx_hat``, in float64 or wider.
    """
    wide = inv_std.dtype
    along = (dx_hat * x_hat).mean(axis=axes, dtype=wide, keepdims=True)
    seen = dx_hat - x_hat * along
    if centre:
        seen = seen - dx_hat.mean(axis=axes, dtype=wide, keepdims=True)
    dx: np.ndarray = inv_std * seen
    return dx
