"""Correct ghost batches that differ from the solution in how they go about it."""

import numpy as np


def group_by_group(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    y, means, variances = [], [], []
    for part in np.split(x, len(x) // group_size):
        means.append(part.mean(axis=0))
        variances.append(part.var(axis=0, ddof=1))
        y.append(gamma * (part - means[-1]) / np.sqrt(part.var(axis=0) + eps) + beta)
    mean = running_mean + momentum * (np.mean(means, axis=0) - running_mean)
    return np.concatenate(y), mean, running_var + momentum * (np.mean(variances, axis=0) - running_var)


def block_diagonal(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    """A product with a matrix averages over each group, and leaves each example its group's average."""
    number = np.arange(len(x)) // group_size
    average = (number[:, None] == number) / group_size
    centred = x - average @ x
    var = average @ centred**2
    kept = centred.T**2 @ np.ones(len(x)) / (len(x) - len(x) // group_size)
    mean = (1 - momentum) * running_mean + momentum * x.mean(axis=0)
    return gamma * centred / np.sqrt(var + eps) + beta, mean, (1 - momentum) * running_var + momentum * kept


def repeated_statistics(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    starts = np.arange(0, len(x), group_size)
    means = np.add.reduceat(x, starts, axis=0) / group_size
    centred = x - means.repeat(group_size, axis=0)
    squares = np.add.reduceat(centred**2, starts, axis=0)
    y = centred * gamma / (squares.repeat(group_size, axis=0) / group_size + eps) ** 0.5 + beta
    mean = momentum * means.mean(0) + (1 - momentum) * running_mean
    return y, mean, momentum * (squares / (group_size - 1)).mean(0) + (1 - momentum) * running_var


def plain_loops(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    y = np.empty_like(x)
    mean, var = running_mean * (1 - momentum), running_var * (1 - momentum)
    count = len(x) // group_size
    for k in range(count):
        rows = range(k * group_size, (k + 1) * group_size)
        for c in range(x.shape[1]):
            m = sum(x[n, c] for n in rows) / group_size
            m2 = sum((x[n, c] - m) ** 2 for n in rows)
            for n in rows:
                y[n, c] = gamma[c] * (x[n, c] - m) / (m2 / group_size + eps) ** 0.5 + beta[c]
            mean[c] += momentum * m / count
            var[c] += momentum * m2 / (group_size - 1) / count
    return y, mean, var


def groups_as_features(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    """Ordinary batch norm of a batch of group_size, whose features are those of every group."""
    groups, features = len(x) // group_size, x.shape[1]
    wide = x.reshape(groups, group_size, features).swapaxes(0, 1).reshape(group_size, -1)
    batch_mean, batch_var = wide.mean(axis=0), wide.var(axis=0)
    y = np.tile(gamma, groups) * (wide - batch_mean) / np.sqrt(batch_var + eps) + np.tile(beta, groups)
    kept = []
    for old, new in ((running_mean, batch_mean), (running_var, wide.var(axis=0, ddof=1))):
        of_layer = (1 - momentum) * np.tile(old, groups) + momentum * new
        kept.append(of_layer.reshape(groups, features).mean(axis=0))
    return y.reshape(group_size, groups, features).swapaxes(0, 1).reshape(x.shape), *kept


def einsum_in_pieces(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    groups = x.reshape(len(x) // group_size, group_size, len(gamma))
    centred = groups - np.einsum("kgc->kc", groups)[:, None] / group_size
    m2 = np.einsum("kgc,kgc->kc", centred, centred)
    y = np.einsum("c,kgc,kc->kgc", gamma, centred, (m2 / group_size + eps) ** -0.5) + beta
    shares = 1 - momentum, momentum
    var = np.average([running_var, m2.mean(0) / (group_size - 1)], axis=0, weights=shares)
    return np.vstack(list(y)), np.average([running_mean, x.mean(0)], axis=0, weights=shares), var


def two_pass_in_float32(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    single = np.float32
    x, gamma, beta, running_mean, running_var = (
        value.astype(single) for value in (x, gamma, beta, running_mean, running_var)
    )
    groups = x.reshape(-1, group_size, x.shape[1])
    means = groups.mean(axis=1, keepdims=True)
    variances = np.square(groups - means).mean(axis=1, keepdims=True)
    y = gamma * ((groups - means) / np.sqrt(variances + single(eps))).reshape(x.shape) + beta
    weight = single(momentum)
    mean = (1 - weight) * running_mean + weight * means.mean(axis=(0, 1))
    correction = single(group_size / (group_size - 1))
    return y, mean, (1 - weight) * running_var + weight * correction * variances.mean(axis=(0, 1))


def torch_batch_norm(x, gamma, beta, running_mean, running_var, group_size, momentum, eps):
    """PyTorch's own, group by group, each from the old running statistics."""
    import torch

    x, gamma, beta, *old = (torch.tensor(value) for value in (x, gamma, beta, running_mean, running_var))
    y, kept = [], []
    for part in x.split(group_size):
        kept.append([statistic.clone() for statistic in old])
        y.append(torch.nn.functional.batch_norm(part, *kept[-1], gamma, beta, True, momentum, eps))
    mean, var = (torch.stack(statistics).mean(0) for statistics in zip(*kept, strict=True))
    return torch.cat(y), mean, var


GHOST = [
    group_by_group,
    block_diagonal,
    repeated_statistics,
    plain_loops,
    groups_as_features,
    einsum_in_pieces,
    two_pass_in_float32,
    torch_batch_norm,
]
