"""Correct numerical gradients that differ from the solution in how they go about it."""

import numpy as np


def step_for_each_entry(function, x, dy):
    """The cube root of the rounding unit, times the size of the entry; the step that was taken, not the one meant."""
    x = np.array(x, dtype=float)
    gradient = np.zeros_like(x)
    for index, value in np.ndenumerate(x):
        h = np.cbrt(np.finfo(float).eps) * max(1.0, abs(value))
        above, below = x.copy(), x.copy()
        above[index], below[index] = value + h, value - h
        total = (function(above.copy()) * dy).sum() - (function(below.copy()) * dy).sum()
        gradient[index] = total / (above[index] - below[index])
    return gradient


def flat(function, x, dy):
    point = np.asarray(x, float).ravel()

    def loss(values):
        return float(np.sum(np.asarray(function(values.reshape(x.shape))) * dy))

    steps = 1e-6 * np.eye(point.size)
    return np.array([(loss(point + step) - loss(point - step)) / 2e-6 for step in steps]).reshape(x.shape)


def one_entry_put_back(function, x, dy):
    """A single working copy, whose entry gets its old value back; the function gets a copy of that."""
    point, h = x.astype(np.float64), 1e-4
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        old, totals = point[index], []
        for sign in (1, -1):
            point[index] = old + sign * h
            totals.append(np.vdot(function(point.copy()), dy))
        point[index] = old
        gradient[index] = (totals[0] - totals[1]) / (2 * h)
    return gradient


def five_points(function, x, dy):
    """A formula of fourth order, with the large step that it allows."""
    x, h = x.astype(float), 1e-3
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        total = 0.0
        for steps, weight in ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12)):
            at = x.copy()
            at[index] += steps * h
            total += weight * (function(at) * dy).sum()
        gradient[index] = total / h
    return gradient


def extrapolated(function, x, dy):
    """Richardson: from h and 2 h the term in h squared is taken off."""

    def central(h):
        return flat_central(function, x.astype(float), dy, h)

    return (4 * central(1e-4) - central(2e-4)) / 3


def flat_central(function, x, dy, h):
    gradient = []
    for place in range(x.size):
        above, below = x.copy(), x.copy()
        above.flat[place] += h
        below.flat[place] -= h
        gradient.append(np.sum((function(above) - function(below)) * dy) / (2 * h))
    return np.reshape(gradient, x.shape)


def jacobian_first(function, x, dy):
    """Every derivative of every output, and only then the weights."""
    x, h = x.astype(float), 1e-5
    columns = []
    for step in h * np.eye(x.size).reshape(x.size, *x.shape):
        columns.append(np.ravel((function(x + step) - function(x - step)) / (2 * h)))
    return (np.stack(columns) @ np.ravel(dy)).reshape(x.shape)


def along_random_directions(function, x, dy):
    """As many directions as entries, at right angles; the slopes along them are the gradient in another basis."""
    x, h = x.astype(float), 1e-5
    basis, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((x.size, x.size)))
    slopes = []
    for direction in basis.T:
        step = h * direction.reshape(x.shape)
        slopes.append(((function(x + step) - function(x - step)) * dy).sum() / (2 * h))
    return (basis @ slopes).reshape(x.shape)


def imaginary_step(function, x, dy):
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        moved = x.astype(complex)
        moved[index] += 1e-30j
        gradient[index] = (function(moved).imag * dy).sum() / 1e-30
    return gradient


def returned_in_float32(function, x, dy):
    return flat_central(function, x.astype(np.float64), dy, 1e-6).astype(np.float32)


def smallest_step(function, x, dy):
    return flat_central(function, x.astype(np.float64), dy, 1e-7)


GRADCHECK = [
    step_for_each_entry,
    flat,
    one_entry_put_back,
    five_points,
    extrapolated,
    jacobian_first,
    along_random_directions,
    imaginary_step,
    returned_in_float32,
    smallest_step,
]
