"""Mean and variance of an array over some of its axes, computed so that a large mean costs no digits."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bncourse.reference.validation import require_floating


class Moments(NamedTuple):
    r"""What merging and normalizing need to know about a set of values.

    Attributes
    ----------
    count : how many values each entry of the others summarizes, :math:`m`.
    mean : :math:`\mu = \frac{1}{m} \sum_i x_i`.
    m2 : :math:`\sum_i (x_i - \mu)^2`, the sum of squared deviations. Unlike a variance it says nothing about which
        divisor you want, and two of them can be merged.
    """

    count: int  # type: ignore[assignment]  # the field's name hides tuple.count, which nobody needs here
    mean: Float[np.ndarray, "..."]
    m2: Float[np.ndarray, "..."]

    @property
    def var(self) -> Float[np.ndarray, "..."]:
        r"""The biased variance :math:`M_2 / m`, with which batch norm normalizes."""
        return self.m2 / self.count

    @property
    def unbiased_var(self) -> Float[np.ndarray, "..."]:
        r"""The unbiased variance :math:`M_2 / (m - 1)`, which running statistics store.

        Raises
        ------
        ValueError : if there is only one value.
        """
        if self.count < 2:
            raise ValueError(f"expected count of at least 2 for an unbiased variance, got {self.count}")
        return self.m2 / (self.count - 1)


def reduction_axes(ndim: int) -> tuple[int, ...]:
    """The axes over which batch norm reduces an array of ``ndim`` axes: all but axis 1, the features."""
    return (0, *range(2, ndim))


def moments(x: Float[np.ndarray, "..."], axis: int | tuple[int, ...]) -> Moments:
    r"""Count, mean and sum of squared deviations of ``x`` over ``axis``.

    .. math:: \mu = \frac{1}{m} \sum_i x_i, \qquad M_2 = \sum_i (x_i - \mu)^2

    Two passes: the mean first, then the deviations from it. Both accumulate in float64, so a float32 input with a
    mean 10 000 times its standard deviation loses nothing here.

    Parameters
    ----------
    x : array of any floating dtype, shape and memory layout.
    axis : the axis or axes to reduce.

    Returns
    -------
    Moments
        with arrays of the shape that is left of ``x``, in float64 (or wider, where ``x`` is).

    Raises
    ------
    TypeError : if ``x`` is not of a floating dtype.
    ValueError : if there is no value to reduce.
    """
    x = require_floating("x", x)
    if x.size == 0:
        raise ValueError(f"expected x with at least one value, got an empty array of shape {x.shape}")
    mean = x.mean(axis=axis, dtype=np.promote_types(x.dtype, np.float64), keepdims=True)
    deviations = x - mean
    m2 = np.square(deviations, out=deviations).sum(axis=axis)
    return Moments(count=x.size // mean.size, mean=mean.reshape(m2.shape), m2=m2)
