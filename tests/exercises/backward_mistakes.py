"""Wrong gradients as learners write them, each by hand and none through the exercise's own faulty reference.

Those of the closed form start from :func:`parts`; those that only happen node by node are written so.
"""

import numpy as np


def parts(x, eps):
    inv_std = 1 / np.sqrt(np.var(x, axis=0) + eps)
    return (x - np.mean(x, axis=0)) * inv_std, inv_std


def weights(dy, x_hat):
    return np.einsum("nc,nc->c", dy, x_hat), np.einsum("nc->c", dy)


def mean_path_dropped(dy, x, gamma, eps):
    x_hat, inv_std = parts(x, eps)
    return gamma * inv_std * (dy - x_hat * np.mean(dy * x_hat, 0)), *weights(dy, x_hat)


def variance_path_dropped(dy, x, gamma, eps):
    x_hat, inv_std = parts(x, eps)
    return gamma * inv_std * (dy - dy.mean(0)), *weights(dy, x_hat)


def count_missing(dy, x, gamma, eps):
    x_hat, inv_std = parts(x, eps)
    dgamma, dbeta = weights(dy, x_hat)
    return gamma * inv_std * (dy - dbeta - x_hat * dgamma), dgamma, dbeta


def node_by_node(dy, x, gamma, eps, square=2.0, root=-0.5, mean_count=None, variance_count=None, sign=1.0):
    """The staged backward pass with the constants of its nodes to get wrong."""
    m = len(x)
    mean = x.sum(0) / m
    centred = x - mean
    var = (centred**2).sum(0) / m
    std = np.sqrt(var + eps)
    x_hat = centred / std
    dx_hat = dy * gamma
    dvar = (dx_hat * centred).sum(0) * root * std**-3
    dcentred = dx_hat / std + dvar * square * centred / (variance_count or m)
    dmean = -sign * (dx_hat / std).sum(0)
    return dcentred + dmean / (mean_count or m), *weights(dy, x_hat)


def mean_path_summed(dy, x, gamma, eps):
    return node_by_node(dy, x, gamma, eps, mean_count=1)


def variance_path_summed(dy, x, gamma, eps):
    return node_by_node(dy, x, gamma, eps, variance_count=1)


def mean_path_sign(dy, x, gamma, eps):
    return node_by_node(dy, x, gamma, eps, sign=-1.0)


def variance_path_sign(dy, x, gamma, eps):
    return node_by_node(dy, x, gamma, eps, root=0.5)


def variance_path_halved(dy, x, gamma, eps):
    return node_by_node(dy, x, gamma, eps, square=1.0)


def variance_path_doubled(dy, x, gamma, eps):
    return node_by_node(dy, x, gamma, eps, root=-1.0)


def variance_path_centred(dy, x, gamma, eps):
    x_hat, inv_std = parts(x, eps)
    return gamma * inv_std * (dy - dy.mean(0) - (x - x.mean(0)) * (dy * x_hat).mean(0)), *weights(dy, x_hat)


def scaled_by_count(dy, x, gamma, eps):
    x_hat, inv_std = parts(x, eps)
    dgamma, dbeta = weights(dy, x_hat)
    return gamma * inv_std * (len(x) * dy - dbeta - x_hat * dgamma), dgamma, dbeta


def gamma_missing(dy, x, gamma, eps):
    dx, dgamma, dbeta = node_by_node(dy, x, np.ones_like(gamma), eps)
    return dx, dgamma, dbeta


def inv_std_missing(dy, x, gamma, eps):
    x_hat, _ = parts(x, eps)
    return gamma * (dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0)), *weights(dy, x_hat)


def inv_std_squared(dy, x, gamma, eps):
    x_hat, _ = parts(x, eps)
    projected = dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0)
    return gamma * projected / (x.var(0) + eps), *weights(dy, x_hat)


def dgamma_from_x(dy, x, gamma, eps):
    dx, _, dbeta = node_by_node(dy, x, gamma, eps)
    return dx, (dy * x).sum(0), dbeta


def dgamma_from_centred(dy, x, gamma, eps):
    dx, _, dbeta = node_by_node(dy, x, gamma, eps)
    return dx, (dy * (x - x.mean(0))).sum(0), dbeta


def dgamma_averaged(dy, x, gamma, eps):
    dx, _, dbeta = node_by_node(dy, x, gamma, eps)
    return dx, (dy * parts(x, eps)[0]).mean(0), dbeta


def dgamma_times_gamma(dy, x, gamma, eps):
    dx, _, dbeta = node_by_node(dy, x, gamma, eps)
    dx_hat = dy * gamma
    return dx, (dx_hat * parts(x, eps)[0]).sum(0), dbeta


def dbeta_averaged(dy, x, gamma, eps):
    dx, dgamma, _ = node_by_node(dy, x, gamma, eps)
    return dx, dgamma, dy.mean(0)


def dbeta_times_gamma(dy, x, gamma, eps):
    dx, dgamma, _ = node_by_node(dy, x, gamma, eps)
    return dx, dgamma, (dy * gamma).sum(0)


def dgamma_dbeta_swapped(dy, x, gamma, eps):
    dx, dgamma, dbeta = node_by_node(dy, x, gamma, eps)
    return dx, dbeta, dgamma


def closed_form(dy, x, gamma, mean, inv_std):
    """The right formula for statistics that may be wrong."""
    x_hat = (x - mean) * inv_std
    dx = gamma * inv_std * (dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0))
    return dx, *weights(dy, x_hat)


def unbiased_variance(dy, x, gamma, eps):
    return closed_form(dy, x, gamma, x.mean(0), 1 / np.sqrt(x.var(0, ddof=1) + eps))


def eps_missing(dy, x, gamma, eps):
    return closed_form(dy, x, gamma, x.mean(0), 1 / x.std(0))


def eps_fixed(dy, x, gamma, eps):
    return closed_form(dy, x, gamma, x.mean(0), 1 / np.sqrt(x.var(0) + 1e-5))


def eps_outside(dy, x, gamma, eps):
    return closed_form(dy, x, gamma, x.mean(0), 1 / (x.std(0) + eps))


def root_missing(dy, x, gamma, eps):
    return closed_form(dy, x, gamma, x.mean(0), 1 / (x.var(0) + eps))


def no_centring(dy, x, gamma, eps):
    return closed_form(dy, x, gamma, 0.0, 1 / np.sqrt(x.var(0) + eps))


def layer_norm_rows(dy, x, gamma, eps, gamma_inside):
    dx, x_hat = np.empty_like(x), np.empty_like(x)
    for i in range(len(x)):
        inv_std = 1 / np.sqrt(x[i].var() + eps)
        h = x_hat[i] = (x[i] - x[i].mean()) * inv_std
        g = dy[i] * gamma if gamma_inside else dy[i]
        dx[i] = inv_std * (g - g.mean() - h * (g * h).mean())
    return (dx if gamma_inside else gamma * dx), *weights(dy, x_hat)


def statistics_over_features(dy, x, gamma, eps):
    return layer_norm_rows(dy, x, gamma, eps, gamma_inside=True)


def statistics_over_features_gamma_outside(dy, x, gamma, eps):
    return layer_norm_rows(dy, x, gamma, eps, gamma_inside=False)


def statistics_over_everything(dy, x, gamma, eps):
    inv_std = 1 / np.sqrt(x.var() + eps)
    x_hat = (x - x.mean()) * inv_std
    dx_hat = dy * gamma
    return inv_std * (dx_hat - dx_hat.mean() - x_hat * (dx_hat * x_hat).mean()), *weights(dy, x_hat)


def statistics_over_everything_gamma_outside(dy, x, gamma, eps):
    inv_std = 1 / np.sqrt(x.var() + eps)
    x_hat = (x - x.mean()) * inv_std
    return gamma * inv_std * (dy - dy.mean() - x_hat * (dy * x_hat).mean()), *weights(dy, x_hat)


def means_over_features(dy, x, gamma, eps):
    x_hat, inv_std = parts(x, eps)
    along_rows = dy - dy.mean(1, keepdims=True) - x_hat * (dy * x_hat).mean(1, keepdims=True)
    return gamma * inv_std * along_rows, *weights(dy, x_hat)


SINGLES = {
    function.__name__: function
    for function in (
        mean_path_dropped,
        variance_path_dropped,
        count_missing,
        mean_path_summed,
        variance_path_summed,
        mean_path_sign,
        variance_path_sign,
        variance_path_halved,
        variance_path_doubled,
        variance_path_centred,
        scaled_by_count,
        gamma_missing,
        inv_std_missing,
        inv_std_squared,
        dgamma_from_x,
        dgamma_from_centred,
        dgamma_averaged,
        dgamma_times_gamma,
        dbeta_averaged,
        dbeta_times_gamma,
        dgamma_dbeta_swapped,
        unbiased_variance,
        eps_missing,
        eps_fixed,
        eps_outside,
        root_missing,
        no_centring,
        statistics_over_features,
        statistics_over_features_gamma_outside,
        statistics_over_everything,
        statistics_over_everything_gamma_outside,
        means_over_features,
    )
}


def in_place_on_dy(dy, x, gamma, eps):
    x_hat, inv_std = parts(x, eps)
    dgamma, dbeta = weights(dy, x_hat)
    dy -= dbeta / len(x)
    dy -= x_hat * dgamma / len(x)
    dy *= gamma * inv_std
    return dy, dgamma, dbeta


def in_place_on_x_without_gamma(dy, x, gamma, eps):
    x_hat, inv_std = parts(x, eps)
    x[...] = x_hat
    return inv_std * (dy - dy.mean(0) - x * (dy * x).mean(0)), *weights(dy, x)


def in_place_as_inference(dy, x, gamma, eps):
    """Drops both paths, as if the statistics were constants, and overwrites dy."""
    x_hat, inv_std = parts(x, eps)
    dgamma, dbeta = weights(dy, x_hat)
    dy *= gamma * inv_std
    return dy, dgamma, dbeta


IN_PLACE = [
    (in_place_on_dy, {"in_place"}),
    (in_place_on_x_without_gamma, {"in_place", "gamma_missing"}),
    (in_place_as_inference, {"in_place", "mean_path_dropped", "variance_path_dropped"}),
]


def zeros(dy, x, gamma, eps):
    return np.zeros_like(x), np.zeros_like(gamma), np.zeros_like(gamma)


def zero_dx(dy, x, gamma, eps):
    _, dgamma, dbeta = node_by_node(dy, x, gamma, eps)
    return np.zeros_like(x), dgamma, dbeta


def dy_passed_through(dy, x, gamma, eps):
    _, dgamma, dbeta = node_by_node(dy, x, gamma, eps)
    return dy, dgamma, dbeta


def mean_0_and_orthogonal_only(dy, x, gamma, eps):
    """Passes a check that looks only at what the gradient must be orthogonal to."""
    dx, dgamma, dbeta = node_by_node(dy, x, gamma, eps)
    return 1.5 * dx, dgamma, dbeta


def not_a_number(dy, x, gamma, eps):
    return tuple(np.full_like(value, np.nan) for value in node_by_node(dy, x, gamma, eps))


def nan_in_dbeta(dy, x, gamma, eps):
    dx, dgamma, dbeta = node_by_node(dy, x, gamma, eps)
    dbeta[0] = np.nan
    return dx, dgamma, dbeta


UNNAMED = [
    zeros,
    zero_dx,
    dy_passed_through,
    mean_0_and_orthogonal_only,
    not_a_number,
    nan_in_dbeta,
]
