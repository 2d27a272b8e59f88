"""Wrong recurrences as learners write them, by hand and not through the faulty reference."""

import math

import numpy as np


def unbiased_variance(values):
    count, mean, m2 = 0, 0.0, 0.0
    for count, x in enumerate(values, start=1):
        delta = x - mean
        mean += delta / count
        m2 += delta * (x - mean)
    return mean, m2 / (count - 1) if count > 1 else math.nan


def m2_returned(values):
    mean, m2 = 0.0, 0.0
    for k, x in enumerate(values, start=1):
        old = mean
        mean = old + (x - old) / k
        m2 = m2 + (x - old) * (x - mean)
    return mean, m2


def standard_deviation(values):
    data = np.array(list(values))
    return data.mean(), data.std()


def old_mean_twice(values):
    mean = total = 0.0
    k = 0
    for x in values:
        k += 1
        total += (x - mean) ** 2
        mean += (x - mean) / k
    return mean, total / k


def new_mean_twice(values):
    mean = total = 0.0
    k = 0
    for x in values:
        k += 1
        mean += (x - mean) / k
        total += (x - mean) ** 2
    return mean, total / k


def weight_too_small(values):
    count, mean, m2 = 0, 0.0, 0.0
    for x in values:
        delta = x - mean
        count += 1
        mean += delta / (count + 1)
        m2 += delta * (x - mean)
    return mean, m2 / count


def weight_fixed(values):
    mean, m2, seen = 0.0, 0.0, 0
    for x in values:
        previous, mean = mean, (mean + x) / 2
        m2 += (x - previous) * (x - mean)
        seen += 1
    return mean, m2 / seen


def first_ignored(values):
    next(values)
    rest = np.array(list(values))
    return rest.mean() if rest.size else 0.0, rest.var() if rest.size else 0.0


def last_ignored(values):
    rest = np.array(list(values)[:-1])
    return rest.mean() if rest.size else 0.0, rest.var() if rest.size else 0.0


SINGLES = {
    function.__name__: function
    for function in (
        unbiased_variance,
        m2_returned,
        standard_deviation,
        old_mean_twice,
        new_mean_twice,
        weight_too_small,
        weight_fixed,
        first_ignored,
        last_ignored,
    )
}
# A stream cannot be changed in place.
IN_PLACE = []


def zeros(values):
    return 0.0, 0.0


def not_a_number(values):
    return math.nan, math.nan


def one_pass_in_float32(values):
    data = np.array(list(values), np.float32)
    mean = data.mean()
    return mean, (data * data).mean() - mean * mean


def mean_and_variance_exchanged(values):
    data = np.array(list(values))
    return data.var(), data.mean()


def median(values):
    data = np.array(list(values))
    return np.median(data), data.var()


UNNAMED = [zeros, not_a_number, one_pass_in_float32, mean_and_variance_exchanged, median]
