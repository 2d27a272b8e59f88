"""Wrong foldings as learners write them, by hand and not through the faulty reference."""

import numpy as np


def affine(gamma, beta, mean, var, eps):
    """The norm as scale and shift, rightly."""
    s = gamma / np.sqrt(var + eps)
    return s, beta - s * mean


def folded(weight, bias, groups, scale, shift, place):
    """Weight and bias, rightly, group by group."""
    bias = 0.0 if bias is None else bias
    if place == "after":
        return (weight.T * scale).T, bias * scale + shift
    parts, biases = [], []
    scales, shifts = np.split(scale, groups), np.split(shift, groups)
    for w, s, t in zip(np.split(weight, groups), scales, shifts, strict=True):
        parts.append(np.einsum("oi...,i->oi...", w, s))
        biases.append(w.reshape(*w.shape[:2], -1).sum(2) @ t)
    return np.concatenate(parts), np.concatenate(biases) + bias


def padded(weight, groups, scale, shift, place):
    return -shift / scale if place == "before" else np.zeros(weight.shape[1] * groups)


def with_affine(make):
    """A folding whose scale and shift ``make`` makes of gamma, beta, mean, var and eps."""

    def fold(weight, bias, groups, gamma, beta, mean, var, place, eps):
        scale, shift = make(gamma, beta, mean, var, eps)
        return *folded(weight, bias, groups, scale, shift, place), padded(weight, groups, scale, shift, place)

    return fold


def scaled(scale, beta, mean):
    return scale, beta - mean * scale


eps_missing = with_affine(lambda gamma, beta, mean, var, eps: scaled(gamma / np.sqrt(var), beta, mean))
eps_fixed = with_affine(lambda gamma, beta, mean, var, eps: scaled(gamma / np.sqrt(var + 1e-5), beta, mean))
eps_outside = with_affine(lambda gamma, beta, mean, var, eps: scaled(gamma / (np.sqrt(var) + eps), beta, mean))
root_missing = with_affine(lambda gamma, beta, mean, var, eps: scaled(gamma / (var + eps), beta, mean))
multiplied = with_affine(lambda gamma, beta, mean, var, eps: scaled(gamma * np.sqrt(var + eps), beta, mean))
gamma_missing = with_affine(lambda gamma, beta, mean, var, eps: scaled(1 / np.sqrt(var + eps), beta, mean))
beta_missing = with_affine(lambda gamma, beta, mean, var, eps: affine(gamma, 0, mean, var, eps))
gamma_beta_swapped = with_affine(lambda gamma, beta, mean, var, eps: affine(beta, gamma, mean, var, eps))
mean_missing = with_affine(lambda gamma, beta, mean, var, eps: affine(gamma, beta, 0, var, eps))
mean_added = with_affine(lambda gamma, beta, mean, var, eps: affine(gamma, beta, -mean, var, eps))


def mean_not_scaled(weight, bias, groups, gamma, beta, mean, var, place, eps):
    scale = gamma / np.sqrt(var + eps)
    new = folded(weight, bias, groups, scale, beta - mean, place)
    # The padding is found anew, and rightly.
    zero = mean - beta / scale if place == "before" else np.zeros(weight.shape[1] * groups)
    return *new, zero


beta_scaled = with_affine(
    lambda gamma, beta, mean, var, eps: affine(gamma, gamma * beta / np.sqrt(var + eps), mean, var, eps)
)


def weight_unchanged(weight, bias, groups, gamma, beta, mean, var, place, eps):
    scale, shift = affine(gamma, beta, mean, var, eps)
    _, new_bias = folded(weight, bias, groups, scale, shift, place)
    return weight, new_bias, padded(weight, groups, scale, shift, place)


def bias_dropped(weight, bias, groups, gamma, beta, mean, var, place, eps):
    scale, shift = affine(gamma, beta, mean, var, eps)
    return *folded(weight, None, groups, scale, shift, place), padded(weight, groups, scale, shift, place)


def bias_not_scaled(weight, bias, groups, gamma, beta, mean, var, place, eps):
    scale, shift = affine(gamma, beta, mean, var, eps)
    new_weight, new_bias = folded(weight, None, groups, scale, shift, place)
    new_bias = new_bias + (0 if bias is None else bias)
    return new_weight, new_bias, padded(weight, groups, scale, shift, place)


def carrying(carried):
    """A folding in which the norm before a layer gives the bias what ``carried`` makes of a group."""

    def fold(weight, bias, groups, gamma, beta, mean, var, place, eps):
        scale, shift = affine(gamma, beta, mean, var, eps)
        new_weight, new_bias = folded(weight, bias, groups, scale, shift, place)
        if place == "before":
            new_bias = np.zeros(len(weight)) if bias is None else bias
            kernels = weight.reshape(*weight.shape[:2], -1)
            parts = zip(np.split(kernels, groups), np.split(scale, groups), np.split(shift, groups), strict=True)
            new_bias = new_bias + np.concatenate([carried(*part) for part in parts])
        return new_weight, new_bias, padded(weight, groups, scale, shift, place)

    return fold


shift_not_carried = carrying(lambda w, s, t: np.zeros(len(w)))
carried_twice_scaled = carrying(lambda w, s, t: w.sum(2) @ (s * t))
kernel_averaged = carrying(lambda w, s, t: w.mean(2) @ t)
kernel_centre_only = carrying(lambda w, s, t: w[:, :, w.shape[2] // 2] @ t)


def first_group_for_all(weight, bias, groups, gamma, beta, mean, var, place, eps):
    scale, shift = affine(gamma, beta, mean, var, eps)
    padding = padded(weight, groups, scale, shift, place)
    if place == "before":
        seen = weight.shape[1]
        return *folded(weight, bias, 1, scale[:seen], shift[:seen], place), padding
    return *folded(weight, bias, groups, scale, shift, place), padding


def groups_interleaved(weight, bias, groups, gamma, beta, mean, var, place, eps):
    scale, shift = affine(gamma, beta, mean, var, eps)
    padding = padded(weight, groups, scale, shift, place)
    if place == "before":
        scale, shift = (np.concatenate([v[first::groups] for first in range(groups)]) for v in (scale, shift))
    return *folded(weight, bias, groups, scale, shift, place), padding


def padding_with(number):
    """A folding whose padding is what ``number`` makes of scale, shift and mean."""

    def fold(weight, bias, groups, gamma, beta, mean, var, place, eps):
        scale, shift = affine(gamma, beta, mean, var, eps)
        padding = np.zeros(weight.shape[1] * groups)
        if place == "before":
            padding = padding + number(scale, shift, mean)
        return *folded(weight, bias, groups, scale, shift, place), padding

    return fold


def padding_zero(weight, bias, groups, gamma, beta, mean, var, place, eps):
    scale, shift = affine(gamma, beta, mean, var, eps)
    return *folded(weight, bias, groups, scale, shift, place), np.zeros(groups * weight.shape[1])


padding_shift = padding_with(lambda scale, shift, mean: shift)
padding_mean = padding_with(lambda scale, shift, mean: mean)

SINGLES = {
    "eps_missing": eps_missing,
    "eps_fixed": eps_fixed,
    "eps_outside": eps_outside,
    "root_missing": root_missing,
    "multiplied": multiplied,
    "gamma_missing": gamma_missing,
    "beta_missing": beta_missing,
    "gamma_beta_swapped": gamma_beta_swapped,
    "mean_missing": mean_missing,
    "mean_added": mean_added,
    "mean_not_scaled": mean_not_scaled,
    "beta_scaled": beta_scaled,
    "weight_unchanged": weight_unchanged,
    "bias_dropped": bias_dropped,
    "bias_not_scaled": bias_not_scaled,
    "shift_not_carried": shift_not_carried,
    "carried_twice_scaled": carried_twice_scaled,
    "kernel_averaged": kernel_averaged,
    "kernel_centre_only": kernel_centre_only,
    "first_group_for_all": first_group_for_all,
    "groups_interleaved": groups_interleaved,
    "padding_zero": padding_zero,
    "padding_shift": padding_shift,
    "padding_mean": padding_mean,
}


def scales_the_weight_in_place(weight, bias, groups, gamma, beta, mean, var, place, eps):
    scale, shift = affine(gamma, beta, mean, var, eps)
    new_weight, new_bias = folded(weight, bias, groups, scale, shift, place)
    weight[...] = new_weight
    return weight, new_bias, padded(weight, groups, scale, shift, place)


def adds_to_the_bias_in_place(weight, bias, groups, gamma, beta, mean, var, place, eps):
    scale, shift = affine(gamma, beta, mean, var, eps)
    new_weight, new_bias = folded(weight, bias, groups, scale, shift, place)
    if bias is not None:
        bias += new_bias - bias
    return new_weight, new_bias, padded(weight, groups, scale, shift, place)


def overwrites_var_and_forgets_beta(weight, bias, groups, gamma, beta, mean, var, place, eps):
    var += eps
    scale = gamma / np.sqrt(var)
    shift = -mean * scale
    return *folded(weight, bias, groups, scale, shift, place), padded(weight, groups, scale, shift, place)


IN_PLACE = [
    (scales_the_weight_in_place, {"in_place"}),
    (adds_to_the_bias_in_place, {"in_place"}),
    (overwrites_var_and_forgets_beta, {"in_place", "beta_missing"}),
]


def zeros(weight, bias, groups, gamma, beta, mean, var, place, eps):
    return 0 * weight, np.zeros(len(weight)), np.zeros(weight.shape[1] * groups)


def not_a_number(weight, bias, groups, gamma, beta, mean, var, place, eps):
    return weight * np.nan, np.full(len(weight), np.nan), np.full(weight.shape[1] * groups, np.nan)


def nothing_folded(weight, bias, groups, gamma, beta, mean, var, place, eps):
    return weight, np.zeros(len(weight)) if bias is None else bias, np.zeros(weight.shape[1] * groups)


def kernel_turned(weight, bias, groups, gamma, beta, mean, var, place, eps):
    """A convolution in the mathematicians' sense."""
    scale, shift = affine(gamma, beta, mean, var, eps)
    new_weight, new_bias = folded(weight, bias, groups, scale, shift, place)
    turned = np.flip(new_weight, tuple(range(2, weight.ndim)))
    return turned, new_bias, padded(weight, groups, scale, shift, place)


def only_the_norm_after_is_right(weight, bias, groups, gamma, beta, mean, var, place, eps):
    scale, shift = affine(gamma, beta, mean, var, eps)
    new_weight, new_bias = folded(weight, bias, groups, scale, shift, place)
    padding = np.zeros(weight.shape[1] * groups)
    return (new_weight, new_bias, padding) if place == "after" else (weight, 0 * new_bias, padding)


def padding_sign(weight, bias, groups, gamma, beta, mean, var, place, eps):
    scale, shift = affine(gamma, beta, mean, var, eps)
    padding = padded(weight, groups, scale, shift, place)
    return *folded(weight, bias, groups, scale, shift, place), -padding + 0.0


UNNAMED = [zeros, not_a_number, nothing_folded, kernel_turned, only_the_norm_after_is_right, padding_sign]
