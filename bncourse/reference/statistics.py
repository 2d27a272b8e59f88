"""Mean and variance of an array over some of its axes, computed so that a large mean costs no digits."""

from collections.abc import Iterable
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

    Examples
    --------
    >>> from bncourse.reference import Moments
    >>> a = Moments(count=4, mean=4.0, m2=36.0)
    >>> a.var, a.unbiased_var
    (9.0, 12.0)
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
    """The axes over which batch norm reduces an array of ``ndim`` axes: all but axis 1, the features.

    Parameters
    ----------
    ndim : number of axes, 2 at least.

    Examples
    --------
    >>> from bncourse.reference import reduction_axes
    >>> reduction_axes(2), reduction_axes(4)
    ((0,), (0, 2, 3))
    """
    return (0, *range(2, ndim))


def per_feature(values: Float[np.ndarray, " C"], ndim: int) -> Float[np.ndarray, "1 C *ones"]:
    """Shape (C,) as (1, C, 1, ...), so that it broadcasts against data of ``ndim`` axes."""
    return values.reshape(1, -1, *(1,) * (ndim - 2))


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

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import moments
    >>> a = moments(np.array([[1.0], [3.0], [3.0], [9.0]]), axis=0)
    >>> print(a.count, a.mean, a.var)
    4 [4.] [9.]
    """
    x = require_floating("x", x)
    if x.size == 0:
        raise ValueError(f"expected x with at least one value, got an empty array of shape {x.shape}")
    mean = x.mean(axis=axis, dtype=np.promote_types(x.dtype, np.float64), keepdims=True)
    deviations = x - mean
    m2 = np.square(deviations, out=deviations).sum(axis=axis)
    return Moments(count=x.size // mean.size, mean=mean.reshape(m2.shape), m2=m2)


def one_pass_moments(x: Float[np.ndarray, "..."], axis: int | tuple[int, ...]) -> Moments:
    r"""The cautionary example: :math:`M_2 = \sum x^2 - m \mu^2`, all of it in the dtype of ``x``.

    Equal to :func:`moments` in exact arithmetic and cheaper by one pass over the data. Both terms are about
    :math:`m \mu^2`, and their difference keeps only the digits that :math:`\sigma^2 / \mu^2` leaves of them: in
    float32 none, from a mean a few thousand times the standard deviation on. It can even be negative (Chan, Golub
    and LeVeque 1983).

    Parameters, returns and errors are those of :func:`moments`, but for the dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import moments, one_pass_moments
    >>> x = np.array([1.0, 2.0, 3.0], dtype=np.float32) + np.float32(10_000)
    >>> float(moments(x, axis=0).m2)
    2.0
    >>> bool(abs(one_pass_moments(x, axis=0).m2 - 2) < 1)
    False
    """
    x = require_floating("x", x)
    if x.size == 0:
        raise ValueError(f"expected x with at least one value, got an empty array of shape {x.shape}")
    total, squares = x.sum(axis=axis, dtype=x.dtype), np.square(x).sum(axis=axis, dtype=x.dtype)
    count = x.size // max(total.size, 1)
    mean = total / x.dtype.type(count)
    return Moments(count=count, mean=mean, m2=squares - total * mean)


def welford(values: Iterable[Float[np.ndarray, "..."] | float]) -> Moments:
    r"""Count, mean and sum of squared deviations of a stream, each value seen once and kept by nobody.

    .. math:: \mu_k = \mu_{k-1} + \frac{x_k - \mu_{k-1}}{k}, \qquad
              M_{2,k} = M_{2,k-1} + (x_k - \mu_{k-1})(x_k - \mu_k)

    (Welford 1962.) It is :func:`merge` with a part of one value.

    Parameters
    ----------
    values : numbers, or arrays of one shape, which are then summarized entry by entry. The arithmetic is of their
        dtype; Python's own numbers are float64.

    Returns
    -------
    Moments
        (0, 0.0, 0.0) for an empty stream.

    Raises
    ------
    TypeError : for a value that is not of a floating dtype.

    Examples
    --------
    >>> from bncourse.reference import welford
    >>> a = welford([1.0, 3.0, 3.0, 9.0])
    >>> print(a.count, a.mean, a.m2.round(9))
    4 4.0 36.0
    """
    count, mean, m2 = 0, np.zeros(()), np.zeros(())
    for value in values:
        x = require_floating("values", value)
        if count == 0:
            mean, m2 = np.zeros_like(x), np.zeros_like(x)
        count += 1
        delta = x - mean
        mean = mean + delta / x.dtype.type(count)
        m2 = m2 + delta * (x - mean)
    return Moments(count, mean, m2)


def merge(a: Moments, b: Moments) -> Moments:
    r"""The moments of all values from those of two parts, without the values.

    .. math:: \delta = \mu_b - \mu_a, \qquad \mu = \mu_a + \delta\, \frac{m_b}{m}, \qquad
              M_2 = M_{2,a} + M_{2,b} + \delta^2\, \frac{m_a m_b}{m}, \qquad m = m_a + m_b

    (Chan, Golub and LeVeque 1983.) Parts can be merged in any order: in a tree on a GPU, or across
    machines.

    Parameters
    ----------
    a, b : moments of parts, of the same shape. Either may be empty, with a count of 0.

    Raises
    ------
    ValueError : if their shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import merge, moments
    >>> a, b = moments(np.array([1.0, 3.0]), axis=0), moments(np.array([3.0, 9.0]), axis=0)
    >>> whole = merge(a, b)
    >>> print(whole.count, whole.mean, whole.m2)
    4 4.0 36.0
    """
    if np.shape(a.mean) != np.shape(b.mean):
        raise ValueError(f"expected a and b of one shape, got {np.shape(a.mean)} and {np.shape(b.mean)}")
    if a.count == 0 or b.count == 0:
        return b if a.count == 0 else a
    count = a.count + b.count
    delta = b.mean - a.mean
    mean = a.mean + delta * (b.count / count)
    m2 = a.m2 + b.m2 + np.square(delta) * (a.count * b.count / count)
    return Moments(count, mean, m2)
