"""Finite differences, a step in the complex plane, and a number that says how far two gradients are apart."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from bncourse.reference.validation import require_floating


def numeric_gradient(
    f: Callable[[np.ndarray], np.ndarray],
    x: Float[np.ndarray, "..."],
    dy: Float[np.ndarray, "..."] | None = None,
    step: float | None = None,
) -> Float[np.ndarray, "..."]:
    r"""Gradient of :math:`L(x) = \sum_j f(x)_j\, dy_j` by central differences.

    .. math:: \frac{\partial L}{\partial x_i} \approx \frac{L(x + h e_i) - L(x - h e_i)}{2 h}

    The truncation error falls with :math:`h^2` and the rounding error grows with :math:`u / h`, where :math:`u` is
    the rounding unit of the dtype; the default step balances the two.

    Parameters
    ----------
    f : function of one array. It gets a fresh copy at each call.
    x : where to differentiate. The arithmetic is of its dtype: use float64.
    dy : gradient of the loss with respect to ``f(x)``; ones where it is None.
    step : h, for every entry; by default the cube root of the rounding unit times ``max(1, |x_i|)``.

    Returns
    -------
    gradient : of the shape and dtype of ``x``.

    Raises
    ------
    TypeError : if ``x`` is not of a floating dtype.
    ValueError : if ``dy`` has not the shape of ``f(x)``, or ``step`` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import numeric_gradient
    >>> numeric_gradient(lambda x: x**2, np.array([1.0, 3.0])).round(6)
    array([2., 6.])
    """
    x = require_floating("x", x)
    if step is not None and not step > 0:
        raise ValueError(f"expected step > 0, got {step}")
    output = np.asarray(f(x.copy()))
    weights = np.ones(output.shape) if dy is None else require_floating("dy", dy)
    if weights.shape != output.shape:
        raise ValueError(f"expected dy of the shape of f(x), {output.shape}, got {weights.shape}")

    def loss(index: tuple[int, ...], value: np.floating) -> np.floating:
        moved = x.copy()
        moved[index] = value
        total: np.floating = np.sum(weights * f(moved))
        return total

    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        h = np.cbrt(np.finfo(x.dtype).eps) * max(1, abs(x[index])) if step is None else step
        # x + h is rounded, so the step that was taken is the difference of the two, not 2 h.
        above, below = x.dtype.type(x[index] + h), x.dtype.type(x[index] - h)
        gradient[index] = (loss(index, above) - loss(index, below)) / (above - below)
    return gradient


def relative_error(a: Float[np.ndarray, "..."], b: Float[np.ndarray, "..."]) -> float:
    r"""How far ``a`` and ``b`` are apart, relative to the larger of them.

    .. math:: \frac{\max_i |a_i - b_i|}{\max(\max_i |a_i|,\ \max_i |b_i|)}

    One denominator for the whole array: an entry that should be zero and is off by a rounding error does not count
    as completely wrong. NaN in either gives NaN, which passes no ``<``.

    Parameters
    ----------
    a, b : arrays of one shape, or what broadcasts to it.

    Raises
    ------
    ValueError : if the shapes differ; broadcasting would hide a wrong one.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import relative_error
    >>> f"{relative_error(np.array([1.0, 2.0]), np.array([1.0, 2.002])):.0e}"
    '1e-03'
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise ValueError(f"expected a and b of the same shape, got {a.shape} and {b.shape}")
    if a.size == 0:
        return 0.0
    scale = max(np.abs(a).max(), np.abs(b).max())
    return 0.0 if scale == 0 else float(np.abs(a - b).max() / scale)


def complex_step_gradient(
    f: Callable[[np.ndarray], np.ndarray],
    x: Float[np.ndarray, "..."],
    dy: Float[np.ndarray, "..."] | None = None,
    step: float = 1e-30,
) -> Float[np.ndarray, "..."]:
    r"""Gradient of :math:`L(x) = \sum_j f(x)_j\, dy_j` by a step in the imaginary direction.

    .. math:: \frac{\partial L}{\partial x_i} = \frac{\operatorname{Im} L(x + i h e_i)}{h} + O(h^2)

    No difference is taken, so nothing cancels, and the step may be so small that the truncation error vanishes: the
    result is right to the last digits of the dtype (Squire and Trapp 1998).

    Parameters
    ----------
    f : function of one array that is analytic: it must take complex numbers, and use no absolute value, conjugate or
        comparison on the way.
    x : where to differentiate, in float64.
    dy : gradient of the loss with respect to ``f(x)``; ones where it is None.
    step : h.

    Returns
    -------
    gradient : of the shape of ``x``, in float64.

    Raises
    ------
    TypeError : if ``x`` is not of a floating dtype, or if ``f`` returns real numbers for a complex input: its imaginary
        part was lost, and the gradient would be zero.
    ValueError : if ``dy`` has not the shape of ``f(x)``, or ``step`` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import complex_step_gradient
    >>> complex_step_gradient(lambda x: x**2, np.array([1.0, 3.0]))
    array([2., 6.])
    """
    x = require_floating("x", x).astype(np.float64)
    if not step > 0:
        raise ValueError(f"expected step > 0, got {step}")
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        moved = x.astype(np.complex128)
        moved[index] += 1j * step
        output = np.asarray(f(moved))
        if not np.iscomplexobj(output):
            raise TypeError(f"expected f to return complex numbers for a complex x, got {output.dtype}")
        weights = np.ones(output.shape) if dy is None else require_floating("dy", dy)
        if weights.shape != output.shape:
            raise ValueError(f"expected dy of the shape of f(x), {output.shape}, got {weights.shape}")
        gradient[index] = np.sum(weights * output.imag) / step
    return gradient
