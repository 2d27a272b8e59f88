"""Correct functions for the exercises about axes and groups that differ from the solutions in how they go about it."""

import math

import numpy as np


def a_branch_for_each_kind(x, kind, num_groups):
    space = tuple(range(2, x.ndim))
    if kind == "batch":
        axes = (0, *space)
    elif kind == "layer":
        axes = tuple(range(1, x.ndim))
    elif kind == "instance":
        axes = space
    else:
        n, c, *size = x.shape
        values = x.reshape(n, num_groups, c // num_groups, *size)
        axes = tuple(range(2, values.ndim))
        x_hat = (values - values.mean(axes, keepdims=True)) / np.sqrt(values.var(axes, keepdims=True) + 1e-5)
        return x_hat.reshape(x.shape)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)


def every_kind_in_rows(x, kind, num_groups):
    """Brings what is normalized together into one row, and batch norm is layer norm of the swapped axes."""
    if kind == "batch":
        return np.swapaxes(every_kind_in_rows(np.swapaxes(x, 0, 1), "layer", 1), 0, 1)
    rows = {"layer": 1, "instance": x.shape[1], "group": num_groups}[kind]
    values = x.reshape(len(x) * rows, -1)
    centred = values - values.mean(1)[:, None]
    return (centred / np.sqrt(np.square(centred).mean(1) + 1e-5)[:, None]).reshape(x.shape)


def plain_loops(x, kind, num_groups):
    """Python's own numbers, gathered under the index of their set."""
    size = x.shape[1] // num_groups
    of = {
        "batch": lambda n, c: c,
        "layer": lambda n, c: n,
        "instance": lambda n, c: (n, c),
        "group": lambda n, c: (n, c // size),
    }[kind]
    sets = {}
    for index in np.ndindex(x.shape):
        sets.setdefault(of(*index[:2]), []).append(float(x[index]))
    statistics = {}
    for key, values in sets.items():
        mean = math.fsum(values) / len(values)
        statistics[key] = mean, math.fsum((value - mean) ** 2 for value in values) / len(values)
    x_hat = np.empty_like(x)
    for index in np.ndindex(x.shape):
        mean, var = statistics[of(*index[:2])]
        x_hat[index] = (x[index] - mean) / math.sqrt(var + 1e-5)
    return x_hat


def membership_matrix(x, kind, num_groups):
    """Averages maps by a matrix over the pairs of example and channel: 1 where two maps share their statistics."""
    n, c = x.shape[:2]
    example, channel = (index.ravel() for index in np.indices((n, c)))
    label = {
        "batch": channel,
        "layer": example,
        "instance": example * c + channel,
        "group": example * num_groups + channel // (c // num_groups),
    }[kind]
    same = (label[:, None] == label).astype(float)
    same /= same.sum(1, keepdims=True)
    maps = x.reshape(n * c, -1)
    centred = maps - (same @ maps.mean(1))[:, None]
    var = same @ np.einsum("ms,ms->m", centred, centred) / maps.shape[1]
    return (centred * (var[:, None] + 1e-5) ** -0.5).reshape(x.shape)


def moments_of_moments(x, kind, num_groups):
    """The statistics of every map first; those of a set of maps as their mean, and variance within plus between."""
    n, c = x.shape[:2]
    space = tuple(range(2, x.ndim))
    means, variances = x.mean(space), x.var(space)
    groups = {"group": num_groups, "layer": 1}.get(kind, c)
    axes = (0, 2) if kind == "batch" else 2
    means, variances = (value.reshape(n, groups, -1) for value in (means, variances))
    mean = means.mean(axes, keepdims=True)
    var = variances.mean(axes, keepdims=True) + means.var(axes, keepdims=True)
    mean, var = (np.broadcast_to(value, means.shape).reshape(n, c, *[1] * len(space)) for value in (mean, var))
    return (x - mean) / np.sqrt(var + 1e-5)


def channels_moved_last(x, kind, num_groups):
    n, c = x.shape[:2]
    last = np.moveaxis(x, 1, -1).reshape(n, -1, c)
    if kind == "group":
        values, axes = last.reshape(n, -1, num_groups, c // num_groups), (1, 3)
    else:
        values, axes = last, {"batch": (0, 1), "layer": (1, 2), "instance": 1}[kind]
    x_hat = (values - values.mean(axes, keepdims=True)) / np.sqrt(values.var(axes, keepdims=True) + 1e-5)
    return np.moveaxis(x_hat.reshape(n, *x.shape[2:], c), -1, 1)


def axes_in_float32(x, kind, num_groups):
    x = x.astype(np.float32)
    if kind == "group":
        return np.concatenate([axes_in_float32(part, "layer", 1) for part in np.split(x, num_groups, 1)], axis=1)
    axes = tuple(axis for axis in range(x.ndim) if axis not in {"batch": (1,), "layer": (0,)}.get(kind, (0, 1)))
    centred = x - x.mean(axes, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axes, keepdims=True) + np.float32(1e-5))


def torch_functions(x, kind, num_groups):
    import torch

    x, functional = torch.from_numpy(x), torch.nn.functional
    if kind == "batch":
        return functional.batch_norm(x, None, None, training=True)
    if kind == "layer":
        return functional.layer_norm(x, x.shape[1:])
    if kind == "instance":
        return functional.instance_norm(x)
    return functional.group_norm(x, num_groups)


AXES = [
    a_branch_for_each_kind,
    every_kind_in_rows,
    plain_loops,
    membership_matrix,
    moments_of_moments,
    channels_moved_last,
    axes_in_float32,
    torch_functions,
]


def staged_in_groups(dy, x, gamma, num_groups, eps):
    """Node by node, in the shape (N, G, C / G, *spatial)."""
    n, c, *size = x.shape
    shape = n, num_groups, c // num_groups, *size
    axes = tuple(range(2, len(shape)))
    m = x.size // (n * num_groups)
    values = x.reshape(shape)
    centred = values - values.sum(axes, keepdims=True) / m
    var = (centred**2).sum(axes, keepdims=True) / m
    std = np.sqrt(var + eps)
    x_hat = (centred / std).reshape(x.shape)

    space = tuple(range(2, x.ndim))
    dgamma = (dy * x_hat).sum(space).sum(0)
    dbeta = dy.sum(space).sum(0)
    dx_hat = (dy * gamma.reshape(1, c, *[1] * len(size))).reshape(shape)
    dvar = (dx_hat * centred).sum(axes, keepdims=True) * -0.5 / std**3
    dcentred = dx_hat / std + 2 * centred * dvar / m
    dx = dcentred - dcentred.sum(axes, keepdims=True) / m
    return dx.reshape(x.shape), dgamma, dbeta


def sums_by_channel_first(dy, x, gamma, num_groups, eps):
    """Reduces over space to (N, C), then works with gamma on those small arrays."""
    n, c = x.shape[:2]
    size = c // num_groups
    maps, upstream = x.reshape(n, c, -1), dy.reshape(n, c, -1)
    positions = maps.shape[2]

    def over_group(by_channel):
        means = by_channel.reshape(n, num_groups, size).mean(2)
        return np.repeat(means, size, axis=1)

    mean = over_group(maps.mean(2))
    inv_std = 1 / np.sqrt(over_group(np.square(maps - mean[..., None]).mean(2)) + eps)
    sum_dy = upstream.sum(2)
    sum_dy_x_hat = np.einsum("ncs,ncs->nc", upstream, maps - mean[..., None]) * inv_std
    offset = over_group(gamma * sum_dy) / positions
    along = over_group(gamma * sum_dy_x_hat) / positions
    # dx as a * dy + b * x + c with one coefficient for each map.
    a, b = gamma * inv_std, -(inv_std**2) * along
    dx = a[..., None] * upstream + b[..., None] * (maps - mean[..., None]) - (inv_std * offset)[..., None]
    return dx.reshape(x.shape), sum_dy_x_hat.sum(0), sum_dy.sum(0)


def one_jacobian_for_each_group(dy, x, gamma, num_groups, eps):
    n, c = x.shape[:2]
    size = c // num_groups
    dx, dgamma = np.empty_like(x), np.zeros(c)
    for i in range(n):
        for g in range(num_groups):
            channels = slice(g * size, (g + 1) * size)
            values = x[i, channels].ravel()
            m = values.size
            inv_std = 1 / math.sqrt(values.var() + eps)
            x_hat = (values - values.mean()) * inv_std
            jacobian = inv_std * (np.eye(m) - 1 / m - np.outer(x_hat, x_hat) / m)
            upstream = dy[i, channels].reshape(size, -1)
            dx[i, channels] = (jacobian.T @ (gamma[channels, None] * upstream).ravel()).reshape(x[i, channels].shape)
            dgamma[channels] += np.sum(upstream * x_hat.reshape(size, -1), axis=1)
    return dx, dgamma, np.moveaxis(dy, 1, 0).reshape(c, -1).sum(1)


def gradients_by_loops(dy, x, gamma, num_groups, eps):
    n, c, *space = x.shape
    size = c // num_groups
    dx, dgamma, dbeta = np.zeros_like(x), [0.0] * c, [0.0] * c
    for i in range(n):
        for g in range(num_groups):
            places = [(i, j, *p) for j in range(g * size, (g + 1) * size) for p in np.ndindex(*space)]
            m = len(places)
            mean = sum(x[p] for p in places) / m
            inv_std = (sum((x[p] - mean) ** 2 for p in places) / m + eps) ** -0.5
            offset = sum(gamma[p[1]] * dy[p] for p in places) / m
            along = sum(gamma[p[1]] * dy[p] * (x[p] - mean) for p in places) * inv_std / m
            for p in places:
                x_hat = (x[p] - mean) * inv_std
                dbeta[p[1]] += dy[p]
                dgamma[p[1]] += dy[p] * x_hat
                dx[p] = inv_std * (gamma[p[1]] * dy[p] - offset - along * x_hat)
    return [dx, dgamma, dbeta]


def orthogonal_projection(dy, x, gamma, num_groups, eps):
    """What eps changes, apart: removes the direction of the centred x wholly and gives a share of it back."""
    n, c = x.shape[:2]
    rows = x.reshape(n, num_groups, -1)
    g = (dy.reshape(n, c, -1) * gamma[:, None]).reshape(rows.shape)
    centred = rows - rows.mean(-1, keepdims=True)
    squares = np.einsum("ngm,ngm->ng", centred, centred)[..., None]
    var = squares / rows.shape[-1]
    g = g - g.mean(-1, keepdims=True)
    along = centred * np.einsum("ngm,ngm->ng", g, centred)[..., None] / squares
    dx = ((g - along) + along * eps / (var + eps)) / np.sqrt(var + eps)
    x_hat = (centred / np.sqrt(var + eps)).reshape(n, c, -1)
    upstream = dy.reshape(n, c, -1)
    return dx.reshape(x.shape), np.einsum("ncs,ncs->c", upstream, x_hat), np.einsum("ncs->c", upstream)


def complex_step_in_groups(dy, x, gamma, num_groups, eps):
    """dx from the forward pass alone, one example at a time: examples do not see each other."""
    n, c = x.shape[:2]
    shape = (num_groups, -1)

    def normalized(example):
        rows = example.reshape(shape)
        centred = rows - rows.mean(1, keepdims=True)
        return (centred / np.sqrt((centred**2).mean(1, keepdims=True) + eps)).reshape(c, -1)

    dx, dgamma = np.empty_like(x), np.zeros(c)
    for i in range(n):
        weight = gamma[:, None] * dy[i].reshape(c, -1)
        dgamma += (dy[i].reshape(c, -1) * normalized(x[i])).sum(1)
        for index in np.ndindex(x[i].shape):
            moved = x[i].astype(complex)
            moved[index] += 1e-20j
            dx[(i, *index)] = (weight * normalized(moved)).sum().imag / 1e-20
    return dx, dgamma, dy.reshape(n, c, -1).sum((0, 2))


def groups_in_float32(dy, x, gamma, num_groups, eps):
    dy, x, gamma = (value.astype(np.float32) for value in (dy, x, gamma))
    pieces = [], [], []
    axes = tuple(range(1, x.ndim))
    sums = (0, *range(2, x.ndim))
    for part, up, scale in zip(
        *(np.split(v, num_groups, 1) for v in (x, dy)), np.split(gamma, num_groups), strict=True
    ):
        centred = part - part.mean(axes, keepdims=True)
        inv_std = 1 / np.sqrt((centred**2).mean(axes, keepdims=True) + np.float32(eps))
        x_hat = centred * inv_std
        g = up * scale.reshape(-1, *[1] * (x.ndim - 2))
        dx = inv_std * (g - g.mean(axes, keepdims=True) - x_hat * (g * x_hat).mean(axes, keepdims=True))
        for piece, value in zip(pieces, (dx, (up * x_hat).sum(sums), up.sum(sums)), strict=True):
            piece.append(value)
    return np.concatenate(pieces[0], 1), np.concatenate(pieces[1]), np.concatenate(pieces[2])


def torch_group_norm(dy, x, gamma, num_groups, eps):
    import torch

    x, gamma = (torch.tensor(value, requires_grad=True) for value in (x, gamma))
    beta = torch.zeros_like(gamma, requires_grad=True)
    y = torch.nn.functional.group_norm(x, num_groups, gamma, beta, eps)
    return torch.autograd.grad(y, (x, gamma, beta), torch.from_numpy(dy))


GROUPS = [
    staged_in_groups,
    sums_by_channel_first,
    one_jacobian_for_each_group,
    gradients_by_loops,
    orthogonal_projection,
    complex_step_in_groups,
    groups_in_float32,
    torch_group_norm,
]
