"""Wrong transforms as learners write them, each by hand and none through the exercise's own faulty reference."""

import numpy as np


def unbiased_variance(x, gamma, beta, eps):
    return gamma * (x - np.mean(x, 0)) / np.sqrt(np.var(x, 0, ddof=1) + eps) + beta


def statistics_over_features(x, gamma, beta, eps):
    out = np.empty_like(x)
    for i, row in enumerate(x):
        out[i] = gamma * (row - row.mean()) / np.sqrt(row.var() + eps) + beta
    return out


def statistics_over_everything(x, gamma, beta, eps):
    return gamma * (x - x.mean()) / np.sqrt(x.var() + eps) + beta


def eps_outside(x, gamma, beta, eps):
    return gamma * (x - x.mean(0)) / (x.std(0) + eps) + beta


def eps_missing(x, gamma, beta, eps):
    return gamma * (x - x.mean(0)) / x.std(0) + beta


def eps_fixed(x, gamma, beta, eps=1e-5):
    eps = 1e-5
    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta


def eps_after_division(x, gamma, beta, eps):
    x_hat = (x - x.mean(0)) / np.sqrt(x.var(0)) + eps
    return gamma * x_hat + beta


def divided_by_variance(x, gamma, beta, eps):
    return gamma * (x - x.mean(0)) / (x.var(0) + eps) + beta


def no_centring(x, gamma, beta, eps):
    return gamma * x / np.sqrt(x.var(0) + eps) + beta


def sign_flipped(x, gamma, beta, eps):
    return gamma * (x.mean(0) - x) / np.sqrt(x.var(0) + eps) + beta


def variance_about_zero(x, gamma, beta, eps):
    return gamma * (x - x.mean(0)) / np.sqrt(np.square(x).mean(0) + eps) + beta


def gamma_missing(x, gamma, beta, eps):
    return (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta


def beta_missing(x, gamma, beta, eps):
    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps)


def gamma_beta_swapped(x, gamma, beta, eps):
    return beta * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + gamma


def beta_scaled(x, gamma, beta, eps):
    return gamma * ((x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta)


SINGLES = {
    function.__name__: function
    for function in (
        unbiased_variance,
        statistics_over_features,
        statistics_over_everything,
        eps_outside,
        eps_missing,
        eps_fixed,
        eps_after_division,
        divided_by_variance,
        no_centring,
        sign_flipped,
        variance_about_zero,
        gamma_missing,
        beta_missing,
        gamma_beta_swapped,
        beta_scaled,
    )
}


def in_place(x, gamma, beta, eps):
    x -= x.mean(0)
    x /= np.sqrt((x**2).mean(0) + eps)
    x *= gamma
    x += beta
    return x


def in_place_on_gamma(x, gamma, beta, eps):
    gamma /= np.sqrt(x.var(0) + eps)
    return gamma * (x - x.mean(0)) + beta


def in_place_and_unbiased(x, gamma, beta, eps):
    x -= x.mean(0)
    return gamma * x / np.sqrt((x**2).sum(0) / (len(x) - 1) + eps) + beta


def in_place_without_gamma_and_beta(x, gamma, beta, eps):
    x -= x.mean(0)
    return x / np.sqrt((x**2).mean(0) + eps)


IN_PLACE = [
    (in_place, {"in_place"}),
    (in_place_on_gamma, {"in_place"}),
    (in_place_and_unbiased, {"in_place", "unbiased_variance"}),
    (in_place_without_gamma_and_beta, {"in_place", "gamma_missing", "beta_missing"}),
]


def mean_0_and_std_1_only(x, gamma, beta, eps):
    """Passes a check that looks at the mean and the standard deviation of the output with gamma 1 and beta 0."""
    noise = np.random.default_rng(0).standard_normal(x.shape)
    return (noise - noise.mean(0)) / noise.std(0)


def right_moments_in_another_order(x, gamma, beta, eps):
    """Has the mean and the standard deviation of the right answer in every feature, on the wrong samples."""
    return gamma * ((x - x.mean(0)) / np.sqrt(x.var(0) + eps))[::-1] + beta


def constant(x, gamma, beta, eps):
    return np.broadcast_to(beta, x.shape).copy()


def zeros(x, gamma, beta, eps):
    return np.zeros_like(x)


def identity(x, gamma, beta, eps):
    return x


def not_a_number(x, gamma, beta, eps):
    return np.full_like(x, np.nan)


def one_value_not_a_number(x, gamma, beta, eps):
    y = gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta
    y[-1, -1] = np.nan
    return y


def infinite(x, gamma, beta, eps):
    return np.full_like(x, np.inf)


def one_pass_in_float32(x, gamma, beta, eps):
    x = x.astype(np.float32)
    gamma, beta = gamma.astype(np.float32), beta.astype(np.float32)
    with np.errstate(invalid="ignore"):
        std = np.sqrt((x**2).mean(0) - x.mean(0) ** 2 + np.float32(eps))
    return gamma * (x - x.mean(0)) / std + beta


UNNAMED = [
    mean_0_and_std_1_only,
    right_moments_in_another_order,
    constant,
    zeros,
    identity,
    not_a_number,
    one_value_not_a_number,
    infinite,
    one_pass_in_float32,
]
