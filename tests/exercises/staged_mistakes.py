"""Wrong gradients as learners write them node by node, by hand and not through the faulty reference.

Most of them are :func:`walk` with the line of one node replaced.
"""

import numpy as np


def walk(dy, x, gamma, eps, *, forward=None, **lines):
    """The backward pass with one function for each line; a mistake passes its own version of a line.

    Every line sees the values computed so far and returns one more. Sums keep their axis.
    """
    v = {"dy": dy, "x": x, "gamma": gamma, "m": x.shape[0]}
    v["mean"] = np.sum(x, 0, keepdims=True) / v["m"]
    v["c"] = x - v["mean"]
    v["var"] = np.einsum("nc,nc->c", v["c"], v["c"])[None] / v["m"]
    v["s"] = (forward or (lambda v: 1 / np.sqrt(v["var"] + eps)))(v)
    v["h"] = v["c"] * v["s"]
    right = {
        "dbeta": lambda v: v["dy"].sum(0),
        "dgamma": lambda v: np.einsum("nc,nc->c", v["dy"], v["h"]),
        "dh": lambda v: v["gamma"] * v["dy"],
        "ds": lambda v: total(v["dh"] * v["c"]),
        "dvar": lambda v: v["ds"] / -2 * v["s"] ** 3,
        "dq": lambda v: v["dvar"] / v["m"],
        "direct": lambda v: v["dh"] * v["s"],
        "squares": lambda v: v["dq"] * 2 * v["c"],
        "dc": lambda v: v["direct"] + v["squares"],
        "dmean": lambda v: total(-v["dc"]),
        "dx": lambda v: v["dc"] + v["dmean"] / v["m"],
    }
    for name, line in right.items():
        v[name] = lines.get(name, line)(v)
    return v["dx"], v["dgamma"], v["dbeta"]


def total(values, axis=0):
    return values.sum(axis=axis, keepdims=True)


def gamma_missing(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dh=lambda v: v["dy"])


def dgamma_from_x(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dgamma=lambda v: (dy * x).sum(0))


def dgamma_from_centred(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dgamma=lambda v: (dy * v["c"]).sum(0))


def dgamma_from_dx_hat(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dgamma=lambda v: (gamma * dy * v["h"]).sum(0))


def dgamma_averaged(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dgamma=lambda v: (dy * v["h"]).mean(0))


def dbeta_from_dx_hat(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dbeta=lambda v: (gamma * dy).sum(0))


def dbeta_averaged(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dbeta=lambda v: dy.mean(0))


def dgamma_dbeta_swapped(dy, x, gamma, eps):
    dx, dgamma, dbeta = walk(dy, x, gamma, eps)
    return dx, dbeta, dgamma


def direct_dropped(dy, x, gamma, eps):
    """Overwrites dcentred where it should add to it."""
    m = len(x)
    centred = x - x.mean(0)
    inv_std = 1 / np.sqrt((centred**2).mean(0) + eps)
    dx_hat = dy * gamma
    dcentred = dx_hat * inv_std
    dvar = -0.5 * inv_std**3 * (dx_hat * centred).sum(0)
    dcentred = 2 * centred * dvar / m
    return dcentred - dcentred.mean(0), (dy * centred * inv_std).sum(0), dy.sum(0)


def direct_without_inv_std(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, direct=lambda v: v["dh"])


def direct_without_gamma(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, direct=lambda v: dy * v["s"])


def dinv_std_from_x(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, ds=lambda v: total(v["dh"] * x))


def dinv_std_without_gamma(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, ds=lambda v: total(dy * v["c"]))


def dinv_std_not_summed(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, ds=lambda v: v["dh"] * v["c"])


def dinv_std_over_features(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, ds=lambda v: total(v["dh"] * v["c"], axis=1))


def dinv_std_averaged(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, ds=lambda v: (v["dh"] * v["c"]).mean(0))


def dvar_sign(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dvar=lambda v: v["ds"] / 2 * v["s"] ** 3)


def dvar_half_missing(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dvar=lambda v: -v["ds"] * (v["var"] + eps) ** -1.5)


def dvar_square(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dvar=lambda v: -v["ds"] / 2 / (v["var"] + eps))


def dvar_first_power(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dvar=lambda v: -v["ds"] / 2 / np.sqrt(v["var"] + eps))


def dvar_without_eps(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dvar=lambda v: v["ds"] / -2 * x.var(0) ** -1.5)


def inv_std_too_often(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, ds=lambda v: total(v["dh"] * v["h"]))


def dsquared_count_missing(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dq=lambda v: v["dvar"])


def dsquared_count_unbiased(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dq=lambda v: v["dvar"] / (len(x) - 1))


def square_factor_missing(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, squares=lambda v: v["c"] * v["dq"])


def variance_path_dropped(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dc=lambda v: v["direct"])


def dmean_sign(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dx=lambda v: v["dc"] + v["dc"].mean(0))


def dmean_from_dx_hat(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dmean=lambda v: -total(v["dh"]))


def dmean_not_summed(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dmean=lambda v: -v["dc"])


def dmean_over_features(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dmean=lambda v: -total(v["dc"], axis=1))


def dmean_averaged(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dmean=lambda v: -v["dc"].mean(0))


def mean_count_missing(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dx=lambda v: v["dc"] - v["dc"].sum(0))


def mean_path_dropped(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dx=lambda v: v["dc"])


def centred_path_dropped(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dx=lambda v: np.ones_like(x) * v["dmean"] / len(x))


def count_of_features(dy, x, gamma, eps):
    """Takes m from the wrong end of the shape."""
    *_, m = x.shape
    return walk(dy, x, gamma, eps, dq=lambda v: v["dvar"] / m, dx=lambda v: v["dc"] + v["dmean"] / m)


def count_of_everything(dy, x, gamma, eps):
    m = np.size(dy)
    return walk(dy, x, gamma, eps, dq=lambda v: v["dvar"] / m, dx=lambda v: v["dc"] + v["dmean"] / m)


def unbiased_variance(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, forward=lambda v: 1 / np.sqrt(x.var(0, ddof=1) + eps))


def eps_missing(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, forward=lambda v: 1 / x.std(0))


def eps_fixed(dy, x, gamma, eps):
    return walk(dy, x, gamma, 1e-5)


def eps_outside(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, forward=lambda v: 1 / (x.std(0) + eps))


def root_missing(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, forward=lambda v: 1 / (x.var(0) + eps))


def statistics_over_features(dy, x, gamma, eps):
    """The whole graph along the rows, one sample at a time."""
    dx, x_hat = np.empty_like(x), np.empty_like(x)
    for i, row in enumerate(x):
        c = row - row.mean()
        s = 1 / np.sqrt((c @ c) / row.size + eps)
        x_hat[i] = c * s
        dh = dy[i] * gamma
        dc = dh * s - (dh @ c) * s**3 * c / row.size
        dx[i] = dc - dc.mean()
    return dx, (dy * x_hat).sum(0), dy.sum(0)


SINGLES = {
    function.__name__: function
    for function in (
        gamma_missing,
        dgamma_from_x,
        dgamma_from_centred,
        dgamma_from_dx_hat,
        dgamma_averaged,
        dbeta_from_dx_hat,
        dbeta_averaged,
        dgamma_dbeta_swapped,
        direct_dropped,
        direct_without_inv_std,
        direct_without_gamma,
        dinv_std_from_x,
        dinv_std_without_gamma,
        dinv_std_not_summed,
        dinv_std_over_features,
        dinv_std_averaged,
        dvar_sign,
        dvar_half_missing,
        dvar_square,
        dvar_first_power,
        dvar_without_eps,
        inv_std_too_often,
        dsquared_count_missing,
        dsquared_count_unbiased,
        square_factor_missing,
        variance_path_dropped,
        dmean_sign,
        dmean_from_dx_hat,
        dmean_not_summed,
        dmean_over_features,
        dmean_averaged,
        mean_count_missing,
        mean_path_dropped,
        centred_path_dropped,
        count_of_features,
        count_of_everything,
        unbiased_variance,
        eps_missing,
        eps_fixed,
        eps_outside,
        root_missing,
        statistics_over_features,
    )
}


def in_place_on_x(dy, x, gamma, eps):
    """Centres x where it stands."""
    m = len(x)
    x -= x.mean(0)
    inv_std = 1 / np.sqrt((x**2).mean(0) + eps)
    dx_hat = dy * gamma
    dvar = (dx_hat * x).sum(0) * -0.5 * inv_std**3
    dcentred = dx_hat * inv_std + 2 * x * dvar / m
    return dcentred - dcentred.sum(0) / m, (dy * x * inv_std).sum(0), dy.sum(0)


def in_place_on_dy_with_dx_hat_for_dgamma(dy, x, gamma, eps):
    """Scales dy where it stands, too early for the two parameters."""
    dy *= gamma
    return walk(dy, x, np.ones_like(gamma), eps)


def in_place_while_the_mean_is_forgotten(dy, x, gamma, eps):
    dx, dgamma, dbeta = mean_path_dropped(dy, x, gamma, eps)
    dy[...] = dx
    return dy, dgamma, dbeta


IN_PLACE = [
    (in_place_on_x, {"in_place"}),
    (in_place_on_dy_with_dx_hat_for_dgamma, {"in_place", "dgamma_from_dx_hat", "dbeta_from_dx_hat"}),
    (in_place_while_the_mean_is_forgotten, {"in_place", "mean_path_dropped"}),
]


def zeros(dy, x, gamma, eps):
    return np.zeros_like(x), np.zeros_like(gamma), np.zeros_like(gamma)


def zero_dx(dy, x, gamma, eps):
    return walk(dy, x, gamma, eps, dx=lambda v: np.zeros_like(x))


def gradient_of_x_hat_returned(dy, x, gamma, eps):
    """Stops at the first node."""
    return walk(dy, x, gamma, eps, dx=lambda v: v["dh"])


def three_mistakes(dy, x, gamma, eps):
    return walk(
        dy, x, gamma, eps, dvar=lambda v: v["ds"] / 2 * v["s"], dq=lambda v: v["dvar"], dmean=lambda v: total(v["dc"])
    )


def not_a_number(dy, x, gamma, eps):
    return tuple(np.full_like(value, np.nan) for value in walk(dy, x, gamma, eps))


UNNAMED = [zeros, zero_dx, gradient_of_x_hat_returned, three_mistakes, not_a_number]
