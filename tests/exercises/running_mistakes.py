"""Wrong updates of running statistics as learners write them, by hand and not through the faulty reference."""

import numpy as np


def update(old, new, momentum):
    return old + momentum * (new - old)


def momentum_flipped(x, running_mean, running_var, momentum):
    mean = momentum * running_mean + (1 - momentum) * x.mean(0)
    var = momentum * running_var + (1 - momentum) * x.var(0, ddof=1)
    return mean, var


def initial_value_ignored(x, running_mean, running_var, momentum):
    return x.mean(0), np.var(x, axis=0, ddof=1)


def old_not_weighted(x, running_mean, running_var, momentum):
    return running_mean + momentum * x.mean(0), running_var + momentum * x.var(0, ddof=1)


def new_not_weighted(x, running_mean, running_var, momentum):
    keep = 1 - momentum
    return keep * running_mean + x.mean(0), keep * running_var + x.var(0, ddof=1)


def momentum_fixed(x, running_mean, running_var, momentum=0.1):
    return 0.9 * running_mean + 0.1 * x.mean(0), 0.9 * running_var + 0.1 * x.var(0, ddof=1)


def biased_variance(x, running_mean, running_var, momentum):
    return update(running_mean, x.mean(0), momentum), update(running_var, x.var(0), momentum)


def standard_deviation(x, running_mean, running_var, momentum):
    return update(running_mean, x.mean(0), momentum), update(running_var, x.std(0, ddof=1), momentum)


def variance_about_running_mean(x, running_mean, running_var, momentum):
    var = np.square(x - running_mean).sum(0) / (x.shape[0] - 1)
    return update(running_mean, x.mean(0), momentum), update(running_var, var, momentum)


def variance_about_zero(x, running_mean, running_var, momentum):
    var = np.sum(x * x, axis=0) / (len(x) - 1)
    return update(running_mean, x.mean(0), momentum), update(running_var, var, momentum)


def statistics_over_everything(x, running_mean, running_var, momentum):
    return update(running_mean, np.mean(x), momentum), update(running_var, np.var(x, ddof=1), momentum)


def mean_not_updated(x, running_mean, running_var, momentum):
    return running_mean.copy(), update(running_var, x.var(0, ddof=1), momentum)


def var_not_updated(x, running_mean, running_var, momentum):
    return update(running_mean, x.mean(0), momentum), running_var.copy()


def outputs_swapped(x, running_mean, running_var, momentum):
    return update(running_var, x.var(0, ddof=1), momentum), update(running_mean, x.mean(0), momentum)


SINGLES = {
    function.__name__: function
    for function in (
        momentum_flipped,
        initial_value_ignored,
        old_not_weighted,
        new_not_weighted,
        momentum_fixed,
        biased_variance,
        standard_deviation,
        variance_about_running_mean,
        variance_about_zero,
        statistics_over_everything,
        mean_not_updated,
        var_not_updated,
        outputs_swapped,
    )
}


def updates_its_arguments(x, running_mean, running_var, momentum):
    running_mean *= 1 - momentum
    running_mean += momentum * x.mean(0)
    running_var *= 1 - momentum
    running_var += momentum * x.var(0, ddof=1)
    return running_mean, running_var


def updates_its_arguments_with_the_biased_variance(x, running_mean, running_var, momentum):
    running_mean += momentum * (x.mean(0) - running_mean)
    running_var += momentum * (x.var(0) - running_var)
    return running_mean, running_var


IN_PLACE = [
    (updates_its_arguments, {"in_place"}),
    (updates_its_arguments_with_the_biased_variance, {"in_place", "biased_variance"}),
]


def zeros(x, running_mean, running_var, momentum):
    return np.zeros_like(running_mean), np.zeros_like(running_var)


def not_a_number(x, running_mean, running_var, momentum):
    return np.full_like(running_mean, np.nan), np.full_like(running_var, np.nan)


def momentum_squared(x, running_mean, running_var, momentum):
    return update(running_mean, x.mean(0), momentum**2), update(running_var, x.var(0, ddof=1), momentum**2)


def var_with_the_weight_of_the_mean_only(x, running_mean, running_var, momentum):
    return update(running_mean, x.mean(0), momentum), update(running_var, x.var(0, ddof=1), 1 - momentum)


UNNAMED = [zeros, not_a_number, momentum_squared, var_with_the_weight_of_the_mean_only]
