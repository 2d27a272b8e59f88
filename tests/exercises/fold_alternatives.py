"""Correct foldings that differ from the solution in how they go about it."""

import numpy as np


def group_by_group(weight, bias, groups, gamma, beta, mean, var, place, eps):
    scale = gamma / np.sqrt(var + eps)
    if place == "after":
        new_bias = beta + scale * ((0 if bias is None else bias) - mean)
        return np.einsum("o...,o->o...", weight, scale), new_bias, np.zeros(weight.shape[1] * groups)
    zero = mean - beta / scale
    weights, biases = [], []
    for w, s, z in zip(np.split(weight, groups), np.split(scale, groups), np.split(zero, groups), strict=True):
        weights.append(np.einsum("oi...,i->oi...", w, s))
        biases.append(-np.einsum("oik,i->o", weights[-1].reshape(*w.shape[:2], -1), z))
    new_bias = np.concatenate(biases)
    return np.concatenate(weights), new_bias if bias is None else new_bias + bias, zero


def plain_loops(weight, bias, groups, gamma, beta, mean, var, place, eps):
    outputs, seen = weight.shape[:2]
    new_weight, new_bias = np.empty_like(weight), np.zeros(outputs)
    padding = np.zeros(seen * groups)
    for o in range(outputs):
        if bias is not None:
            new_bias[o] = bias[o]
        if place == "after":
            inv_std = (var[o] + eps) ** -0.5
            new_weight[o] = weight[o] * gamma[o] * inv_std
            new_bias[o] = (new_bias[o] - mean[o]) * gamma[o] * inv_std + beta[o]
            continue
        for j in range(seen):
            c = o // (outputs // groups) * seen + j
            inv_std = (var[c] + eps) ** -0.5
            new_weight[o, j] = weight[o, j] * gamma[c] * inv_std
            new_bias[o] += np.sum(weight[o, j]) * (beta[c] - mean[c] * gamma[c] * inv_std)
            padding[c] = mean[c] - beta[c] / (gamma[c] * inv_std)
    return new_weight, new_bias, padding


def measured(weight, bias, groups, gamma, beta, mean, var, place, eps):
    """The folded layer from what the two do to chosen inputs: an affine map is known by its values."""
    outputs, seen = weight.shape[:2]
    inputs, kernel = seen * groups, weight.shape[2:]
    dense = np.zeros((outputs, inputs, *kernel))
    for o in range(outputs):
        first = o // (outputs // groups) * seen
        dense[o, first : first + seen] = weight[o]
    old = np.zeros(outputs) if bias is None else bias

    def norm(h):
        side = (-1, *(1,) * (h.ndim - 1))
        g, b, m, v = (a.reshape(side) for a in (gamma, beta, mean, var))
        return g * (h - m) / np.sqrt(v + eps) + b

    def both(patch):
        """What comes out at one place of a layer that gets this much of the input."""
        if place == "before":
            patch = norm(patch)
        y = np.tensordot(dense, patch, patch.ndim) + old
        return norm(y) if place == "after" else y

    nothing = np.zeros((inputs, *kernel))
    new_bias = both(nothing)
    new_dense = np.empty_like(dense)
    for index in np.ndindex(nothing.shape):
        patch = nothing.copy()
        patch[index] = 1
        new_dense[(slice(None), *index)] = both(patch) - new_bias
    new_weight = np.empty_like(weight)
    for o in range(outputs):
        first = o // (outputs // groups) * seen
        new_weight[o] = new_dense[o, first : first + seen]
    padding = np.zeros(inputs)
    if place == "before":
        at_zero, at_one = norm(np.zeros(inputs)), norm(np.ones(inputs))
        padding = at_zero / (at_zero - at_one)
    return new_weight, new_bias, padding


def as_matrices(weight, bias, groups, gamma, beta, mean, var, place, eps):
    """Both maps as matrices on vectors that end in a one."""
    outputs, inputs = weight.shape[0], weight.shape[1] * groups
    taps = weight.reshape(outputs, weight.shape[1], -1)
    size = taps.shape[2]
    layer = np.zeros((outputs + 1, inputs * size + 1))
    for o in range(outputs):
        first = o // (outputs // groups) * weight.shape[1] * size
        layer[o, first : first + taps[o].size] = taps[o].ravel()
    layer[:-1, -1] = 0 if bias is None else bias
    layer[-1, -1] = 1
    repeats = 1 if place == "after" else size
    norm = np.diag(np.append(np.repeat(gamma / np.sqrt(var + eps), repeats), 1))
    norm[:-1, -1] = np.repeat(beta - gamma * mean / np.sqrt(var + eps), repeats)
    product = norm @ layer if place == "after" else layer @ norm
    new_weight = np.empty_like(taps)
    for o in range(outputs):
        first = o // (outputs // groups) * weight.shape[1] * size
        new_weight[o] = product[o, first : first + taps[o].size].reshape(taps[o].shape)
    padding = np.zeros(inputs)
    if place == "before":
        padding = np.linalg.solve(norm, np.append(np.zeros(inputs * size), 1))[:-1:size]
    return new_weight.reshape(weight.shape), product[:-1, -1], padding


def grouped_view(weight, bias, groups, gamma, beta, mean, var, place, eps):
    view = weight.reshape(groups, -1, weight.shape[1], int(np.prod(weight.shape[2:])))
    old = np.zeros(len(weight)) if bias is None else bias
    std = np.sqrt(eps + var)
    if place == "after":
        new = view * (gamma / std).reshape(groups, -1, 1, 1)
        return new.reshape(weight.shape), (old - mean) / std * gamma + beta, 0.0 * np.ones(groups * weight.shape[1])
    new = view * (gamma / std).reshape(groups, 1, -1, 1)
    shift = (beta - gamma * mean / std).reshape(groups, 1, -1)
    return new.reshape(weight.shape), old + (view.sum(-1) * shift).sum(-1).ravel(), mean - beta * std / gamma


def in_float32(weight, bias, groups, gamma, beta, mean, var, place, eps):
    single = np.float32
    weight, gamma, beta, mean, var = (a.astype(single) for a in (weight, gamma, beta, mean, var))
    bias = np.zeros(len(weight), single) if bias is None else bias.astype(single)
    scale = gamma / np.sqrt(var + single(eps))
    shift = beta - mean * scale
    spread = [1] * (weight.ndim - 2)
    if place == "after":
        padding = np.zeros(weight.shape[1] * groups, single)
        return weight * scale.reshape(-1, 1, *spread), bias * scale + shift, padding
    per_output = np.repeat(scale.reshape(groups, -1), len(weight) // groups, axis=0)
    shifts = np.repeat(shift.reshape(groups, -1), len(weight) // groups, axis=0)
    carried = weight * shifts.reshape(*shifts.shape, *spread)
    new_bias = bias + carried.sum(axis=tuple(range(1, weight.ndim)))
    return weight * per_output.reshape(*per_output.shape, *spread), new_bias, -shift / scale


def with_torch(weight, bias, groups, gamma, beta, mean, var, place, eps):
    """PyTorch's own after a layer; and before it, its convolution of a constant input carries the shift."""
    import torch

    inputs = weight.shape[1] * groups
    weight, gamma, beta, mean, var = (torch.tensor(a) for a in (weight, gamma, beta, mean, var))
    bias = None if bias is None else torch.tensor(bias)
    if place == "after":
        fused = torch.nn.utils.fuse_conv_bn_weights(weight, bias, mean, var, eps, gamma, beta)
        return *(value.detach() for value in fused), torch.zeros(inputs, dtype=torch.float64)
    scale = gamma * torch.rsqrt(var + eps)
    shift = beta - mean * scale
    taps = weight.reshape(*weight.shape[:2], -1)
    constant = shift.reshape(1, -1, 1).expand(1, -1, taps.shape[2])
    carried = torch.nn.functional.conv1d(constant, taps, bias, groups=groups).ravel()
    seen = scale.reshape(groups, 1, -1).expand(-1, len(weight) // groups, -1).reshape(taps.shape[:2])
    return (taps * seen[..., None]).reshape(weight.shape), carried, -shift / scale


FOLD = [
    group_by_group,
    plain_loops,
    measured,
    as_matrices,
    grouped_view,
    in_float32,
    with_torch,
]
