"""Wrong ghost batches as learners write them, by hand and not through the faulty reference."""

import numpy as np


def split(x, size):
    """The groups, rightly, one after the other."""
    return [x[first : first + size] for first in range(0, len(x), size)]


def normalized(part, gamma, beta, eps, ddof=0):
    return gamma * (part - part.mean(0)) / np.sqrt(part.var(0, ddof=ddof) + eps) + beta


def update(old, new, momentum):
    return old + momentum * (new - old)


def average(statistics):
    return sum(statistics) / len(statistics)


def outputs(x, gamma, beta, group_size, eps):
    """y, rightly."""
    return np.concatenate([normalized(part, gamma, beta, eps) for part in split(x, group_size)])


def statistics(x, group_size):
    """Those of the step, rightly."""
    parts = split(x, group_size)
    return average([part.mean(0) for part in parts]), average([part.var(0, ddof=1) for part in parts])


def kept(x, running_mean, running_var, group_size, momentum):
    """The running statistics, rightly."""
    mean, var = statistics(x, group_size)
    return update(running_mean, mean, momentum), update(running_var, var, momentum)


def of_parts(indices):
    """Ghost batches of these examples each."""

    def forward(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
        y, parts = np.zeros(x.shape), [np.array(index) for index in indices(len(x), group_size)]
        for index in parts:
            y[index] = normalized(x[index], gamma, beta, eps)
        mean = average([x[index].mean(0) for index in parts])
        var = average([x[index].var(0, ddof=1) for index in parts])
        return y, update(running_mean, mean, momentum), update(running_var, var, momentum)

    return forward


def whole_batch(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    mean, var = x.mean(0), x.var(0, ddof=1)
    y = normalized(x, gamma, beta, eps)
    return y, update(running_mean, mean, momentum), update(running_var, var, momentum)


groups_strided = of_parts(lambda n, size: [range(first, n, n // size) for first in range(n // size)])
number_not_size = of_parts(lambda n, size: np.split(np.arange(n), size))


def across_groups(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    groups = x.reshape(len(x) // group_size, group_size, -1)
    y = normalized(groups, gamma, beta, eps).reshape(x.shape)
    mean, var = groups.mean(0).mean(0), groups.var(0, ddof=1).mean(0)
    return y, update(running_mean, mean, momentum), update(running_var, var, momentum)


def statistics_over_features(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    parts = split(x, group_size)
    y = np.concatenate([gamma * (part - part.mean()) / np.sqrt(part.var() + eps) + beta for part in parts])
    mean, var = average([part.mean() for part in parts]), average([part.var(ddof=1) for part in parts])
    return y, update(running_mean, mean, momentum), update(running_var, var, momentum)


def running_normalizes(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    y = gamma * (x - running_mean) / np.sqrt(running_var + eps) + beta
    return y, *kept(x, running_mean, running_var, group_size, momentum)


def unbiased_normalizes(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    y = np.concatenate([normalized(part, gamma, beta, eps, ddof=1) for part in split(x, group_size)])
    return y, *kept(x, running_mean, running_var, group_size, momentum)


def eps_missing(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    y = outputs(x, gamma, beta, group_size, 0)
    return y, *kept(x, running_mean, running_var, group_size, momentum)


def eps_fixed(x, gamma, beta, running_mean, running_var, group_size, momentum, eps=1e-5):
    y = outputs(x, gamma, beta, group_size, 1e-5)
    return y, *kept(x, running_mean, running_var, group_size, momentum)


def eps_outside(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    y = [gamma * (part - part.mean(0)) / (part.std(0) + eps) + beta for part in split(x, group_size)]
    return np.vstack(y), *kept(x, running_mean, running_var, group_size, momentum)


def eps_kept(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    y = outputs(x, gamma, beta, group_size, eps)
    mean, var = statistics(x, group_size)
    return y, update(running_mean, mean, momentum), update(running_var, var + eps, momentum)


def divided_by_variance(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    y = [gamma * (part - part.mean(0)) / (part.var(0) + eps) + beta for part in split(x, group_size)]
    return np.vstack(y), *kept(x, running_mean, running_var, group_size, momentum)


def no_centring(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    y = [gamma * part / np.sqrt(part.var(0) + eps) + beta for part in split(x, group_size)]
    return np.vstack(y), *kept(x, running_mean, running_var, group_size, momentum)


def sign_flipped(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    y = [gamma * (part.mean(0) - part) / np.sqrt(part.var(0) + eps) + beta for part in split(x, group_size)]
    return np.vstack(y), *kept(x, running_mean, running_var, group_size, momentum)


def variance_about_zero(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    y, variances = [], []
    for part in split(x, group_size):
        y.append(gamma * (part - part.mean(0)) / np.sqrt(np.mean(part**2, axis=0) + eps) + beta)
        variances.append((part**2).sum(0) / (group_size - 1))
    mean, _ = statistics(x, group_size)
    return np.vstack(y), update(running_mean, mean, momentum), update(running_var, average(variances), momentum)


def gamma_missing(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    y = outputs(x, 1, beta, group_size, eps)
    return y, *kept(x, running_mean, running_var, group_size, momentum)


def beta_missing(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    y = outputs(x, gamma, 0, group_size, eps)
    return y, *kept(x, running_mean, running_var, group_size, momentum)


def gamma_beta_swapped(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    y = outputs(x, beta, gamma, group_size, eps)
    return y, *kept(x, running_mean, running_var, group_size, momentum)


def parameters_per_group(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    parts = enumerate(split(x, group_size))
    y = np.concatenate([normalized(part, gamma[k], beta[k], eps) for k, part in parts])
    return y, *kept(x, running_mean, running_var, group_size, momentum)


def kept_in_turn(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    for part in split(x, group_size):
        running_mean = update(running_mean, part.mean(0), momentum)
        running_var = update(running_var, part.var(0, ddof=1), momentum)
    return outputs(x, gamma, beta, group_size, eps), running_mean, running_var


def kept_last(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    y = []
    for part in split(x, group_size):
        mean, var = part.mean(0), part.var(0, ddof=1)
        y.append(normalized(part, gamma, beta, eps))
    return np.concatenate(y), update(running_mean, mean, momentum), update(running_var, var, momentum)


def kept_summed(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    mean, var, y = 0, 0, []
    for part in split(x, group_size):
        mean, var = mean + part.mean(0), var + part.var(0, ddof=1)
        y.append(normalized(part, gamma, beta, eps))
    return np.concatenate(y), update(running_mean, mean, momentum), update(running_var, var, momentum)


def kept_whole_batch(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    y = outputs(x, gamma, beta, group_size, eps)
    return y, update(running_mean, x.mean(0), momentum), update(running_var, x.var(0, ddof=1), momentum)


def biased_kept(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    y = outputs(x, gamma, beta, group_size, eps)
    var = average([part.var(0) for part in split(x, group_size)])
    return y, update(running_mean, x.mean(0), momentum), update(running_var, var, momentum)


def corrected_by_batch(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    y, n = outputs(x, gamma, beta, group_size, eps), len(x)
    within = sum(((part - part.mean(0)) ** 2).sum(0) for part in split(x, group_size))
    return y, update(running_mean, x.mean(0), momentum), update(running_var, within / (n - 1), momentum)


def momentum_flipped(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    y = outputs(x, gamma, beta, group_size, eps)
    return y, *kept(x, running_mean, running_var, group_size, 1 - momentum)


def initial_value_ignored(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    return outputs(x, gamma, beta, group_size, eps), *statistics(x, group_size)


def old_not_weighted(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    mean, var = statistics(x, group_size)
    return outputs(x, gamma, beta, group_size, eps), running_mean + momentum * mean, running_var + momentum * var


def new_not_weighted(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    (mean, var), keep = statistics(x, group_size), 1 - momentum
    return outputs(x, gamma, beta, group_size, eps), keep * running_mean + mean, keep * running_var + var


def momentum_fixed(x, gamma, beta, running_mean, running_var, group_size, momentum=0.1, eps=1e-5):
    y = outputs(x, gamma, beta, group_size, eps)
    return y, *kept(x, running_mean, running_var, group_size, 0.1)


def mean_var_swapped(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    mean, var = kept(x, running_mean, running_var, group_size, momentum)
    return outputs(x, gamma, beta, group_size, eps), var, mean


SINGLES = {
    "groups_strided": groups_strided,
    "number_not_size": number_not_size,
    **{
        function.__name__: function
        for function in (
            whole_batch,
            across_groups,
            statistics_over_features,
            running_normalizes,
            unbiased_normalizes,
            eps_missing,
            eps_fixed,
            eps_outside,
            eps_kept,
            divided_by_variance,
            no_centring,
            sign_flipped,
            variance_about_zero,
            gamma_missing,
            beta_missing,
            gamma_beta_swapped,
            parameters_per_group,
            kept_in_turn,
            kept_last,
            kept_summed,
            kept_whole_batch,
            biased_kept,
            corrected_by_batch,
            momentum_flipped,
            initial_value_ignored,
            old_not_weighted,
            new_not_weighted,
            momentum_fixed,
            mean_var_swapped,
        )
    },
}


def writes_into_x(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    mean, var = kept(x, running_mean, running_var, group_size, momentum)
    for part in split(x, group_size):  # views
        part[...] = normalized(part, gamma, beta, eps)
    return x, mean, var


def updates_its_arguments(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    mean, var = statistics(x, group_size)
    running_mean += momentum * (mean - running_mean)
    running_var += momentum * (var - running_var)
    return outputs(x, gamma, beta, group_size, eps), running_mean, running_var


def updates_its_arguments_in_turn(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    """As a batch norm layer does that is called once for each group."""
    y = []
    for part in split(x, group_size):
        running_mean[:] = (1 - momentum) * running_mean + momentum * part.mean(0)
        running_var[:] = (1 - momentum) * running_var + momentum * part.var(0, ddof=1)
        y.append(normalized(part, gamma, beta, eps))
    return np.concatenate(y), running_mean, running_var


IN_PLACE = [
    (writes_into_x, {"in_place"}),
    (updates_its_arguments, {"in_place"}),
    (updates_its_arguments_in_turn, {"in_place", "kept_in_turn"}),
]


def zeros(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    return np.zeros_like(x), np.zeros_like(running_mean), np.zeros_like(running_var)


def not_a_number(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    return x * np.nan, running_mean * np.nan, running_var * np.nan


def only_the_running_statistics_are_right(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    y = normalized(x, gamma, beta, eps)
    return y, *kept(x, running_mean, running_var, group_size, momentum)


def first_group_for_all(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    first = x[:group_size]
    y = gamma * (x - first.mean(0)) / np.sqrt(first.var(0) + eps) + beta
    return y, *kept(x, running_mean, running_var, group_size, momentum)


def examples_reordered(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    """The groups are right and come back interleaved."""
    y = outputs(x, gamma, beta, group_size, eps).reshape(-1, group_size, x.shape[1]).swapaxes(0, 1)
    return y.reshape(x.shape), *kept(x, running_mean, running_var, group_size, momentum)


def new_running_statistics_normalize(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    mean, var = kept(x, running_mean, running_var, group_size, momentum)
    return gamma * (x - mean) / np.sqrt(var + eps) + beta, mean, var


UNNAMED = [
    zeros,
    not_a_number,
    only_the_running_statistics_are_right,
    first_group_for_all,
    examples_reordered,
    new_running_statistics_normalize,
]
