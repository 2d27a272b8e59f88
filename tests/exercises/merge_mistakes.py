"""Wrong merges as learners write them, by hand and not through the faulty reference."""


def right(a, b):
    """The merge by the sums of the two parts, for the mistakes below to start from."""
    (n, mean_a, m2_a), (k, mean_b, m2_b) = a, b
    if n + k == 0:
        return 0, 0.0, 0.0
    mean = (n * mean_a + k * mean_b) / (n + k)
    return n + k, mean, m2_a + n * (mean_a - mean) ** 2 + m2_b + k * (mean_b - mean) ** 2


def count_of_a(a, b):
    _, mean, m2 = right(a, b)
    return a[0], mean, m2


def mean_unweighted(a, b):
    count, _, m2 = right(a, b)
    return count, (a[1] + b[1]) / 2, m2


def mean_weights_swapped(a, b):
    if a[0] == 0:
        return b
    if b[0] == 0:
        return a
    count, _, m2 = right(a, b)
    return count, (b[0] * a[1] + a[0] * b[1]) / count, m2


def means_added(a, b):
    count, _, m2 = right(a, b)
    return count, a[1] + b[1], m2


def between_missing(a, b):
    count, mean, _ = right(a, b)
    return count, mean, a[2] + b[2]


def between_unweighted(a, b):
    count, mean, _ = right(a, b)
    return count, mean, a[2] + b[2] + (a[1] - b[1]) ** 2


def between_not_divided(a, b):
    count, mean, _ = right(a, b)
    return count, mean, a[2] + b[2] + a[0] * b[0] * (a[1] - b[1]) ** 2


def between_divided_twice(a, b):
    count, mean, _ = right(a, b)
    if count == 0:
        return count, mean, 0.0
    return count, mean, a[2] + b[2] + (a[0] / count) * (b[0] / count) * (a[1] - b[1]) ** 2


def delta_not_squared(a, b):
    count, mean, _ = right(a, b)
    return count, mean, a[2] + b[2] + (b[1] - a[1]) * a[0] * b[0] / max(count, 1)


def m2_averaged(a, b):
    count, mean, m2 = right(a, b)
    return count, mean, m2 - a[2] - b[2] + (a[0] * a[2] + b[0] * b[2]) / max(count, 1)


def m2_missing_b(a, b):
    count, mean, m2 = right(a, b)
    return count, mean, m2 - b[2]


def variance_returned(a, b):
    count, mean, m2 = right(a, b)
    return count, mean, m2 / max(count, 1)


SINGLES = {
    function.__name__: function
    for function in (
        count_of_a,
        mean_unweighted,
        mean_weights_swapped,
        means_added,
        between_missing,
        between_unweighted,
        between_not_divided,
        between_divided_twice,
        delta_not_squared,
        m2_averaged,
        m2_missing_b,
        variance_returned,
    )
}

# Tuples of numbers cannot be modified.
IN_PLACE = []


def zeros(a, b):
    return 0, 0.0, 0.0


def not_a_number(a, b):
    return a[0] + b[0], float("nan"), float("nan")


def unbiased_variance_returned(a, b):
    count, mean, m2 = right(a, b)
    return count, mean, m2 / max(count - 1, 1)


def an_empty_part_empties_the_whole(a, b):
    return right(a, b) if a[0] and b[0] else (0, 0.0, 0.0)


UNNAMED = [zeros, not_a_number, unbiased_variance_returned, an_empty_part_empties_the_whole]
