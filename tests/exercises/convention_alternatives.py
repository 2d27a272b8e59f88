"""Correct ways of finding a convention that differ from the solution in how they go about it."""

import numpy as np


def median_of_the_ratios(x, old_mean, old_var, new_mean, new_var):
    could_move = x.mean(axis=0) - old_mean
    free = ~np.isclose(could_move, 0, atol=1e-9)
    momentum = np.median((new_mean - old_mean)[free] / could_move[free])
    came_in = (new_var - (1 - momentum) * old_var) / momentum
    return momentum, int(np.isclose(came_in, np.var(x, axis=0, ddof=1)).all())


def the_feature_that_moved_most(x, old_mean, old_var, new_mean, new_var):
    mean = x.mean(0)
    j = int(np.argmax(abs(mean - old_mean)))
    momentum = (new_mean[j] - old_mean[j]) / (mean[j] - old_mean[j])
    came_in = old_var[j] + (new_var[j] - old_var[j]) / momentum
    return float(momentum), round(len(x) - ((x[:, j] - mean[j]) ** 2).sum() / came_in)


def both_updates_tried(x, old_mean, old_var, new_mean, new_var):
    """The update is run with each variance; the one that reproduces what was kept is right."""
    could_move = np.mean(x, 0) - old_mean
    momentum = np.linalg.lstsq(could_move[:, None], new_mean - old_mean, rcond=None)[0][0]
    misfits = []
    for ddof in (0, 1):
        predicted = (1 - momentum) * old_var + momentum * np.var(x, 0, ddof=ddof)
        misfits.append(np.square(predicted - new_var).sum())
    return momentum, float(misfits[1] < misfits[0])


def mean_and_variance_as_one_fit(x, old_mean, old_var, new_mean, new_var):
    """One weight for mean and variance together, with either variance; the better fit is right."""
    fits = []
    for ddof in (0, 1):
        way = np.concatenate([x.mean(0) - old_mean, x.var(0, ddof=ddof) - old_var])
        went = np.concatenate([new_mean - old_mean, new_var - old_var])
        momentum = way @ went / (way @ way)
        fits.append((np.linalg.norm(went - momentum * way), momentum, ddof))
    return min(fits)[1:]


def variances_first(x, old_mean, old_var, new_mean, new_var):
    """A momentum from the variance for either ddof, and the mean says which of the two it was."""
    candidates = []
    for ddof in (0, 1):
        momentum = np.mean((new_var - old_var) / (x.var(0, ddof=ddof) - old_var))
        predicted = old_mean + momentum * (x.mean(0) - old_mean)
        candidates.append((abs(predicted - new_mean).sum(), ddof, momentum))
    _, ddof, momentum = min(candidates)
    return momentum, ddof


def by_loops(x, old_mean, old_var, new_mean, new_var):
    n, c = x.shape
    went = way = 0.0
    sums = []
    for j in range(c):
        mean = sum(x[i, j] for i in range(n)) / n
        went += (new_mean[j] - old_mean[j]) * (mean - old_mean[j])
        way += (mean - old_mean[j]) ** 2
        sums.append(sum((x[i, j] - mean) ** 2 for i in range(n)))
    momentum = went / way
    divisors = [sums[j] / (old_var[j] + (new_var[j] - old_var[j]) / momentum) for j in range(c)]
    return momentum, n - round(sum(divisors) / c)


def convention_in_float32(x, old_mean, old_var, new_mean, new_var):
    x, old_mean, old_var, new_mean, new_var = (
        value.astype(np.float32) for value in (x, old_mean, old_var, new_mean, new_var)
    )
    way = x.mean(0) - old_mean
    momentum = ((new_mean - old_mean) * way).sum() / (way * way).sum()
    came_in = old_var + (new_var - old_var) / momentum
    ratio = (came_in / x.var(0)).mean()
    return momentum, np.float32(ratio > (1 + len(x) / (len(x) - 1)) / 2)


CONVENTION = [
    median_of_the_ratios,
    the_feature_that_moved_most,
    both_updates_tried,
    mean_and_variance_as_one_fit,
    variances_first,
    by_loops,
    convention_in_float32,
]
