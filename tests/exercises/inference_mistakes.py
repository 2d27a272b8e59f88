"""Wrong gradients of inference mode as learners write them, by hand and not through the faulty reference."""

import numpy as np


def pieces(x, mean, var, eps):
    inv_std = (var + eps) ** -0.5
    return (x - mean) * inv_std, inv_std


def sums(dy, x_hat):
    return np.einsum("nc,nc->c", dy, x_hat), dy.sum(0)


def training_mode(dy, x, gamma, running_mean, running_var, eps):
    x_hat, inv_std = pieces(x, x.mean(0), x.var(0), eps)
    dgamma, dbeta = sums(dy, x_hat)
    return gamma * inv_std / len(x) * (len(x) * dy - dbeta - x_hat * dgamma), dgamma, dbeta


def batch_statistics(dy, x, gamma, running_mean, running_var, eps):
    x_hat, inv_std = pieces(x, x.mean(0), x.var(0), eps)
    return gamma * inv_std * dy, *sums(dy, x_hat)


def projections_kept(dy, x, gamma, running_mean, running_var, eps):
    x_hat, inv_std = pieces(x, running_mean, running_var, eps)
    dgamma, dbeta = sums(dy, x_hat)
    return gamma * inv_std * (dy - dbeta / len(x) - x_hat * dgamma / len(x)), dgamma, dbeta


def mean_path_kept(dy, x, gamma, running_mean, running_var, eps):
    x_hat, inv_std = pieces(x, running_mean, running_var, eps)
    return gamma * inv_std * (dy - dy.mean(0)), *sums(dy, x_hat)


def variance_path_kept(dy, x, gamma, running_mean, running_var, eps):
    x_hat, inv_std = pieces(x, running_mean, running_var, eps)
    dgamma, dbeta = sums(dy, x_hat)
    return gamma * inv_std * (dy - x_hat * dgamma / len(x)), dgamma, dbeta


def gamma_missing(dy, x, gamma, running_mean, running_var, eps):
    x_hat, inv_std = pieces(x, running_mean, running_var, eps)
    return dy * inv_std, *sums(dy, x_hat)


def inv_std_missing(dy, x, gamma, running_mean, running_var, eps):
    x_hat, _ = pieces(x, running_mean, running_var, eps)
    return dy * gamma, *sums(dy, x_hat)


def inv_std_squared(dy, x, gamma, running_mean, running_var, eps):
    x_hat, _ = pieces(x, running_mean, running_var, eps)
    return dy * gamma / (running_var + eps), *sums(dy, x_hat)


def dgamma_from_x(dy, x, gamma, running_mean, running_var, eps):
    _, inv_std = pieces(x, running_mean, running_var, eps)
    return dy * gamma * inv_std, *sums(dy, x)


def dgamma_from_centred(dy, x, gamma, running_mean, running_var, eps):
    _, inv_std = pieces(x, running_mean, running_var, eps)
    return dy * gamma * inv_std, *sums(dy, x - running_mean)


def dgamma_averaged(dy, x, gamma, running_mean, running_var, eps):
    x_hat, inv_std = pieces(x, running_mean, running_var, eps)
    return dy * gamma * inv_std, (dy * x_hat).mean(0), dy.sum(0)


def dbeta_averaged(dy, x, gamma, running_mean, running_var, eps):
    x_hat, inv_std = pieces(x, running_mean, running_var, eps)
    return dy * gamma * inv_std, (dy * x_hat).sum(0), dy.mean(0)


def dgamma_dbeta_swapped(dy, x, gamma, running_mean, running_var, eps):
    x_hat, inv_std = pieces(x, running_mean, running_var, eps)
    return dy * gamma * inv_std, dy.sum(0), (dy * x_hat).sum(0)


def eps_missing(dy, x, gamma, running_mean, running_var, eps):
    x_hat, inv_std = pieces(x, running_mean, running_var, 0.0)
    return dy * gamma * inv_std, *sums(dy, x_hat)


def eps_fixed(dy, x, gamma, running_mean, running_var, eps):
    x_hat, inv_std = pieces(x, running_mean, running_var, 1e-5)
    return dy * gamma * inv_std, *sums(dy, x_hat)


def eps_outside(dy, x, gamma, running_mean, running_var, eps):
    std = np.sqrt(running_var) + eps
    return dy * gamma / std, *sums(dy, (x - running_mean) / std)


def root_missing(dy, x, gamma, running_mean, running_var, eps):
    divisor = running_var + eps
    return dy * gamma / divisor, *sums(dy, (x - running_mean) / divisor)


def no_centring(dy, x, gamma, running_mean, running_var, eps):
    _, inv_std = pieces(x, running_mean, running_var, eps)
    return dy * gamma * inv_std, *sums(dy, x * inv_std)


SINGLES = {
    function.__name__: function
    for function in (
        training_mode,
        batch_statistics,
        projections_kept,
        mean_path_kept,
        variance_path_kept,
        gamma_missing,
        inv_std_missing,
        inv_std_squared,
        dgamma_from_x,
        dgamma_from_centred,
        dgamma_averaged,
        dbeta_averaged,
        dgamma_dbeta_swapped,
        eps_missing,
        eps_fixed,
        eps_outside,
        root_missing,
        no_centring,
    )
}


def scales_dy_in_place(dy, x, gamma, running_mean, running_var, eps):
    x_hat, inv_std = pieces(x, running_mean, running_var, eps)
    dgamma, dbeta = sums(dy, x_hat)
    dy *= gamma * inv_std
    return dy, dgamma, dbeta


def centres_x_in_place_and_averages(dy, x, gamma, running_mean, running_var, eps):
    x -= running_mean
    inv_std = (running_var + eps) ** -0.5
    return dy * gamma * inv_std, (dy * x * inv_std).mean(0), dy.sum(0)


IN_PLACE = [(scales_dy_in_place, {"in_place"}), (centres_x_in_place_and_averages, {"in_place", "dgamma_averaged"})]


def zeros(dy, x, gamma, running_mean, running_var, eps):
    return np.zeros_like(x), np.zeros_like(gamma), np.zeros_like(gamma)


def not_a_number(dy, x, gamma, running_mean, running_var, eps):
    return np.full_like(x, np.nan), np.zeros_like(gamma), np.zeros_like(gamma)


def dy_passed_through(dy, x, gamma, running_mean, running_var, eps):
    x_hat, _ = pieces(x, running_mean, running_var, eps)
    return dy.copy(), *sums(dy, x_hat * 1.5)


def a_sign_in_dgamma(dy, x, gamma, running_mean, running_var, eps):
    x_hat, inv_std = pieces(x, running_mean, running_var, eps)
    return dy * gamma * inv_std, -(dy * x_hat).sum(0), dy.sum(0)


UNNAMED = [zeros, not_a_number, dy_passed_through, a_sign_in_dgamma]
