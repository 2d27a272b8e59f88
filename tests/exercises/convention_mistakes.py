"""Wrong ways of finding a convention as learners write them, by hand and not through the faulty reference."""

import numpy as np


def weight(x, old_mean, new_mean):
    """The right one, from the features whose mean could move."""
    could_move = x.mean(0) - old_mean
    free = abs(could_move) > 1e-6 * x.std(0)
    return np.mean((new_mean - old_mean)[free] / could_move[free])


def taken_off(x, old_var, new_var, momentum):
    """The ddof for which the update comes out."""
    predicted = [old_var + momentum * (np.var(x, axis=0, ddof=ddof) - old_var) for ddof in (0, 1)]
    return int(np.argmin([np.abs(new_var - value).max() for value in predicted]))


def weight_of_old(x, old_mean, old_var, new_mean, new_var):
    away = old_mean - x.mean(0)
    momentum = np.dot(new_mean - x.mean(0), away) / np.dot(away, away)
    return momentum, taken_off(x, old_var, new_var, 1 - momentum)


def weight_of_old_and_used(x, old_mean, old_var, new_mean, new_var):
    """Takes it for the weight of the new one in the next line as well."""
    away = old_mean - x.mean(0)
    momentum = np.linalg.norm(new_mean - x.mean(0)) / np.linalg.norm(away)
    return momentum, taken_off(x, old_var, new_var, momentum)


def ratio_inverted(x, old_mean, old_var, new_mean, new_var):
    momentum = weight(x, old_mean, new_mean)
    return 1 / momentum, taken_off(x, old_var, new_var, momentum)


def ratio_inverted_and_used(x, old_mean, old_var, new_mean, new_var):
    momentum = 1 / weight(x, old_mean, new_mean)
    return momentum, nearest(x, old_var + (new_var - old_var) / momentum)


def nearest(x, came_in):
    biased, unbiased = x.var(0), x.var(0, ddof=1)
    return int(np.linalg.norm(came_in - unbiased) < np.linalg.norm(came_in - biased))


def old_mean_ignored(x, old_mean, old_var, new_mean, new_var):
    momentum = np.mean(new_mean / x.mean(0))
    return momentum, taken_off(x, old_var, new_var, weight(x, old_mean, new_mean))


def old_mean_ignored_and_used(x, old_mean, old_var, new_mean, new_var):
    momentum = new_mean.sum() / x.mean(0).sum()
    return momentum, nearest(x, (new_var - (1 - momentum) * old_var) / momentum)


def change_over_batch(x, old_mean, old_var, new_mean, new_var):
    momentum = np.median((new_mean - old_mean) / x.mean(0))
    return momentum, taken_off(x, old_var, new_var, weight(x, old_mean, new_mean))


def change_over_batch_and_used(x, old_mean, old_var, new_mean, new_var):
    momentum = ((new_mean - old_mean) / x.mean(0))[-1]
    return momentum, nearest(x, old_var + (new_var - old_var) / momentum)


def old_and_new_exchanged(x, old_mean, old_var, new_mean, new_var):
    momentum = weight(x, new_mean, old_mean)
    return momentum, nearest(x, new_var + (old_var - new_var) / momentum)


def biased_assumed(x, old_mean, old_var, new_mean, new_var):
    return np.mean((new_var - old_var) / (np.var(x, axis=0) - old_var)), 0


def unbiased_assumed(x, old_mean, old_var, new_mean, new_var):
    return np.mean((new_var - old_var) / (np.var(x, axis=0, ddof=1) - old_var)), 1


def ddof_swapped(x, old_mean, old_var, new_mean, new_var):
    momentum = weight(x, old_mean, new_mean)
    return momentum, 0 if taken_off(x, old_var, new_var, momentum) else 1


def always_biased(x, old_mean, old_var, new_mean, new_var):
    return weight(x, old_mean, new_mean), 0


def always_unbiased(x, old_mean, old_var, new_mean, new_var):
    return weight(x, old_mean, new_mean), 1


def old_var_ignored(x, old_mean, old_var, new_mean, new_var):
    return weight(x, old_mean, new_mean), nearest(x, new_var)


def divisor_returned(x, old_mean, old_var, new_mean, new_var):
    momentum = weight(x, old_mean, new_mean)
    came_in = old_var + (new_var - old_var) / momentum
    return momentum, round(np.mean(((x - x.mean(0)) ** 2).sum(0) / came_in))


def outputs_swapped(x, old_mean, old_var, new_mean, new_var):
    momentum = weight(x, old_mean, new_mean)
    return taken_off(x, old_var, new_var, momentum), momentum


SINGLES = {
    function.__name__: function
    for function in (
        weight_of_old,
        weight_of_old_and_used,
        ratio_inverted,
        ratio_inverted_and_used,
        old_mean_ignored,
        old_mean_ignored_and_used,
        change_over_batch,
        change_over_batch_and_used,
        old_and_new_exchanged,
        biased_assumed,
        unbiased_assumed,
        ddof_swapped,
        always_biased,
        always_unbiased,
        old_var_ignored,
        divisor_returned,
        outputs_swapped,
    )
}


def centres_x_in_place(x, old_mean, old_var, new_mean, new_var):
    mean = x.mean(0)
    x -= mean
    could_move = mean - old_mean
    momentum = ((new_mean - old_mean) * could_move).sum() / (could_move**2).sum()
    return momentum, taken_off(x, old_var, new_var, momentum)


def takes_the_old_off_in_place(x, old_mean, old_var, new_mean, new_var):
    momentum = weight(x, old_mean, new_mean)
    new_var -= (1 - momentum) * old_var
    new_var /= momentum
    return 1 - momentum, nearest(x, new_var)


IN_PLACE = [
    (centres_x_in_place, {"in_place"}),
    (takes_the_old_off_in_place, {"in_place", "weight_of_old"}),
]


def zeros(x, old_mean, old_var, new_mean, new_var):
    return 0.0, 0


def not_a_number(x, old_mean, old_var, new_mean, new_var):
    return np.nan, np.nan


def everybody_knows_that(x, old_mean, old_var, new_mean, new_var):
    """PyTorch's defaults."""
    return 0.1, 1


def first_feature_only(x, old_mean, old_var, new_mean, new_var):
    with np.errstate(all="ignore"):
        momentum = (new_mean[0] - old_mean[0]) / (x[:, 0].mean() - old_mean[0])
    return momentum, taken_off(x, old_var, new_var, momentum)


def averages_a_ratio_of_nothing(x, old_mean, old_var, new_mean, new_var):
    with np.errstate(all="ignore"):
        momentum = np.mean((new_mean - old_mean) / (x.mean(0) - old_mean))
    return momentum, nearest(x, old_var + (new_var - old_var) / momentum)


def over_the_whole_array(x, old_mean, old_var, new_mean, new_var):
    momentum = np.mean((new_mean - old_mean) / (x.mean() - old_mean))
    return momentum, int(abs(new_var - x.var(ddof=1)).sum() < abs(new_var - x.var()).sum())


def the_square_of_it(x, old_mean, old_var, new_mean, new_var):
    momentum = weight(x, old_mean, new_mean)
    return momentum**2, taken_off(x, old_var, new_var, momentum)


UNNAMED = [
    zeros,
    not_a_number,
    everybody_knows_that,
    first_feature_only,
    averages_a_ratio_of_nothing,
    over_the_whole_array,
    the_square_of_it,
]
