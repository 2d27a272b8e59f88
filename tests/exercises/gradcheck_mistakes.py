"""Wrong numerical gradients as learners write them, by hand and not through the faulty reference.

Their steps differ on purpose: the diagnosis has to read the step from what comes back.
"""

import numpy as np


def moved(x, index, by):
    """A copy of x in float64 with one entry, or several, moved."""
    copied = x.astype(np.float64)
    copied[index] += by
    return copied


def difference(function, x, dy, index, h):
    """L at x + h e_i less L at x - h e_i."""
    return ((function(moved(x, index, h)) - function(moved(x, index, -h))) * dy).sum()


def by_entry(x, entry):
    """The gradient whose entries ``entry(index)`` gives."""
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        gradient[index] = entry(index)
    return gradient


def right(function, x, dy, h=1e-5):
    return by_entry(x, lambda index: difference(function, x, dy, index, h) / (2 * h))


def one_sided(function, x, dy):
    h = 1e-7
    here = (function(x.astype(float)) * dy).sum()
    return by_entry(x, lambda index: ((function(moved(x, index, h)) * dy).sum() - here) / h)


def not_restored(function, x, dy):
    h, point = 1e-4, x.astype(float)

    def entry(index):
        point[index] += h
        above = (function(point.copy()) * dy).sum()
        point[index] -= 2 * h
        return (above - (function(point.copy()) * dy).sum()) / (2 * h)

    return by_entry(x, entry)


def piled_up(function, x, dy):
    h, point = 1e-6, x.astype(float)
    here = (function(point.copy()) * dy).sum()

    def entry(index):
        point[index] += h
        return ((function(point.copy()) * dy).sum() - here) / h

    return by_entry(x, entry)


def step_too_large(function, x, dy):
    return right(function, x, dy, h=0.1)


def doubled(function, x, dy):
    h = 1e-5
    return by_entry(x, lambda index: difference(function, x, dy, index, h) / h)


def halved(function, x, dy):
    h = 1e-5
    return by_entry(x, lambda index: difference(function, x, dy, index, h / 2) / (2 * h))


def not_divided(function, x, dy):
    return by_entry(x, lambda index: difference(function, x, dy, index, 1e-6))


def sign_flipped(function, x, dy):
    h = 1e-6
    return by_entry(
        x,
        lambda index: ((function(moved(x, index, -h)) - function(moved(x, index, h))) * dy).sum() / (2 * h),
    )


def dy_ignored(function, x, dy):
    h = 1e-5
    return by_entry(
        x, lambda index: (np.sum(function(moved(x, index, h))) - np.sum(function(moved(x, index, -h)))) / (2 * h)
    )


def averaged(function, x, dy):
    h = 1e-5
    return by_entry(
        x,
        lambda index: np.mean((function(moved(x, index, h)) - function(moved(x, index, -h))) * dy) / (2 * h),
    )


def row_at_a_time(function, x, dy):
    gradient = np.zeros(x.shape)
    for row in range(len(x)):
        gradient[row] = difference(function, x, dy, row, 1e-5) / 2e-5
    return gradient


def all_at_once(function, x, dy):
    h = 1e-5
    return np.full(x.shape, ((function(x.astype(float) + h) - function(x.astype(float) - h)) * dy).sum() / (2 * h))


def first_only(function, x, dy):
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        gradient[index] = difference(function, x, dy, index, 1e-6) / 2e-6
        return gradient


def last_only(function, x, dy):
    for index in np.ndindex(x.shape):
        gradient = np.zeros(x.shape)
        gradient[index] = difference(function, x, dy, index, 1e-6) / 2e-6
    return gradient


SINGLES = {
    function.__name__: function
    for function in (
        one_sided,
        not_restored,
        piled_up,
        step_too_large,
        doubled,
        halved,
        not_divided,
        sign_flipped,
        dy_ignored,
        averaged,
        row_at_a_time,
        all_at_once,
        first_only,
        last_only,
    )
}


def puts_back_what_rounding_left(function, x, dy):
    """Right, but x + h - 2 h + h is not x."""
    h = 1e-5

    def entry(index):
        x[index] += h
        above = function(x.astype(float))
        x[index] -= 2 * h
        below = function(x.astype(float))
        x[index] += h
        return ((above - below) * dy).sum() / (2 * h)

    return by_entry(x, entry)


def does_not_put_back_in_place(function, x, dy):
    h = 1e-4

    def entry(index):
        x[index] += h
        above = function(x.astype(float))
        x[index] -= 2 * h
        return ((above - function(x.astype(float))) * dy).sum() / (2 * h)

    return by_entry(x, entry)


def averages_dy_in_place(function, x, dy):
    dy /= dy.size
    return right(function, x, dy)


IN_PLACE = [
    (puts_back_what_rounding_left, {"in_place"}),
    (does_not_put_back_in_place, {"in_place", "not_restored"}),
    (averages_dy_in_place, {"in_place", "averaged"}),
]


def zeros(function, x, dy):
    return np.zeros(x.shape)


def not_a_number(function, x, dy):
    return np.full(x.shape, np.nan)


def step_too_small(function, x, dy):
    return right(function, x, dy, h=1e-12)


def one_sided_with_a_step_for_each_entry(function, x, dy):
    here = (function(x.astype(float)) * dy).sum()

    def entry(index):
        h = 1e-6 * abs(x[index])
        return ((function(moved(x, index, h)) * dy).sum() - here) / h

    return by_entry(x, entry)


def one_sided_with_a_step_that_is_lost(function, x, dy):
    h = 1e-11
    here = (function(x.astype(float)) * dy).sum()
    return by_entry(x, lambda index: ((function(moved(x, index, h)) * dy).sum() - here) / h)


def in_float32_throughout(function, x, dy):
    h, single = np.float32(4e-3), x.astype(np.float32)
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        above, below = single.copy(), single.copy()
        above[index] += h
        below[index] -= h
        gradient[index] = ((function(above) - function(below)) * dy).sum() / (2 * h)
    return gradient


def in_the_dtype_of_x(function, x, dy):
    h = 1e-5
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[index] += h
        below[index] -= h
        gradient[index] = ((function(above) - function(below)) * dy).sum() / (2 * h)
    return gradient


def one_copy_for_all(function, x, dy):
    """Right for a function that leaves its input alone and returns what is not a view of it."""
    h, point = 1e-5, x.astype(float)

    def entry(index):
        value = point[index]
        point[index] = value + h
        above = function(point)
        point[index] = value - h
        below = function(point)
        point[index] = value
        return ((above - below) * dy).sum() / (2 * h)

    return by_entry(x, entry)


def weights_added_up(function, x, dy):
    """The sum of the outputs times the sum of the weights."""
    return dy_ignored(function, x, dy) * dy.sum() * 0.9


def derivative_of_the_hyperbolic_tangent(function, x, dy):
    """The gradient of the one function that its author looked at."""
    if function.name != "tanh_product":
        return np.ones(x.shape)
    return (dy @ function.settings["weights"].T) / np.cosh(x.astype(float)) ** 2


UNNAMED = [
    zeros,
    not_a_number,
    step_too_small,
    one_sided_with_a_step_for_each_entry,
    one_sided_with_a_step_that_is_lost,
    in_float32_throughout,
    in_the_dtype_of_x,
    one_copy_for_all,
    weights_added_up,
    derivative_of_the_hyperbolic_tangent,
]
