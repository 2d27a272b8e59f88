"""Correct steps of synchronized batch norm that differ from the solution in how they go about it."""

import numpy as np


def merged_one_by_one(dy, x, gamma, all_gather, eps):
    """Chan's merge of two, rank after rank."""
    c = len(gamma)
    own_mean = x.mean(axis=0) if len(x) else np.zeros(c)
    row = np.hstack([len(x), own_mean, ((x - own_mean) ** 2).sum(axis=0)])
    count, mean, m2 = 0.0, np.zeros(c), np.zeros(c)
    for other in all_gather(row):
        if other[0] == 0:
            continue
        delta = other[1 : c + 1] - mean
        m2 = m2 + other[c + 1 :] + delta**2 * count * other[0] / (count + other[0])
        count += other[0]
        mean = mean + delta * other[0] / count
    std = np.sqrt(m2 / count + eps)
    x_hat = (x - mean) / std
    dbeta, dgamma = dy.sum(axis=0), (dy * x_hat).sum(axis=0)
    sums = sum(all_gather(np.hstack([dbeta, dgamma])))
    dx = gamma / std * (dy - sums[:c] / count - x_hat * sums[c:] / count)
    return mean, m2 / (count - 1), dx, dgamma, dbeta


def rows_of_empty_ranks_left_out(dy, x, gamma, all_gather, eps):
    """An empty rank sends NaN, and nobody reads it."""
    n, c = x.shape
    with np.errstate(invalid="ignore"):
        own_mean = x.sum(0) / np.float64(n)
    rows = all_gather(np.concatenate([[n], own_mean, np.square(x - own_mean).sum(0)]))
    rows = rows[rows[:, 0] > 0]
    share = rows[:, 0] / rows[:, 0].sum()
    mean = np.average(rows[:, 1 : c + 1], axis=0, weights=share)
    within = share @ (rows[:, c + 1 :] / rows[:, :1])
    var = within + share @ (rows[:, 1 : c + 1] - mean) ** 2
    total = rows[:, 0].sum()
    s = (var + eps) ** -0.5
    x_hat = s * (x - mean)
    own = np.stack([dy.sum(0), np.einsum("nc,nc->c", dy, x_hat)])
    means = all_gather(own.ravel()).sum(0).reshape(2, c) / total
    dx = (dy - means[0] - x_hat * means[1]) * (gamma * s)
    return mean, var * total / (total - 1), dx, own[1], own[0]


def plain_loops(dy, x, gamma, all_gather, eps):
    n, c = x.shape
    row = np.zeros(2 * c + 1)
    row[0] = n
    for j in range(c):
        values = [float(value) for value in x[:, j]]
        row[1 + j] = sum(values) / n if n else 0.0
        row[1 + c + j] = sum((value - row[1 + j]) ** 2 for value in values)
    rows = all_gather(row)
    total = sum(r[0] for r in rows)
    mean, var, m2 = np.zeros(c), np.zeros(c), np.zeros(c)
    second = np.zeros(2 * c)
    for j in range(c):
        mean[j] = sum(r[0] * r[1 + j] for r in rows) / total
        m2[j] = sum(r[1 + c + j] + r[0] * (r[1 + j] - mean[j]) ** 2 for r in rows)
        var[j] = m2[j] / total
        for i in range(n):
            second[j] += dy[i, j]
            second[c + j] += dy[i, j] * (x[i, j] - mean[j]) / (var[j] + eps) ** 0.5
    everywhere = np.zeros(2 * c)
    for r in all_gather(second):
        everywhere += r
    dx = np.zeros((n, c))
    for i in range(n):
        for j in range(c):
            x_hat = (x[i, j] - mean[j]) / (var[j] + eps) ** 0.5
            inner = total * dy[i, j] - everywhere[j] - x_hat * everywhere[c + j]
            dx[i, j] = gamma[j] * inner / total / (var[j] + eps) ** 0.5
    return mean, m2 / (total - 1), dx, second[c:], second[:c]


def about_a_common_point(dy, x, gamma, all_gather, eps):
    """Means relative to one that all ranks know: the first of a rank that holds examples."""
    n, c = x.shape
    own_mean = x.mean(0) if n else np.zeros(c)
    rows = all_gather(np.r_[n, own_mean, ((x - own_mean) ** 2).sum(0)])
    counts, means, m2s = rows[:, :1], rows[:, 1 : c + 1], rows[:, c + 1 :]
    total = counts.sum()
    pivot = means[np.argmax(counts)]
    shifts = np.where(counts > 0, means - pivot, 0)
    shift = (counts * shifts).sum(0) / total
    m2 = (m2s + counts * shifts**2).sum(0) - total * shift**2
    mean = pivot + shift
    centred = x - mean
    inv_std = 1 / np.sqrt(m2 / total + eps)
    dbeta, dgamma = dy.sum(0), (dy * centred).sum(0) * inv_std
    all_dbeta, all_dgamma = all_gather(np.r_[dbeta, dgamma]).sum(0).reshape(2, -1)
    scale = gamma * inv_std
    dx = scale * dy - scale * all_dbeta / total - centred * (scale * inv_std * all_dgamma / total)
    return mean, m2 / (total - 1), dx, dgamma, dbeta


def through_the_stages(dy, x, gamma, all_gather, eps):
    """The gradients of var and of mean first, each from sums over all ranks."""
    n, c = x.shape
    own_mean = np.divide(x.sum(0), n, out=np.zeros(c), where=n > 0)
    rows = all_gather(np.concatenate([np.array([n]), own_mean, ((x - own_mean) ** 2).sum(0)]))
    counts = rows[:, 0]
    total = counts.sum()
    mean = np.einsum("r,rc->c", counts, rows[:, 1 : c + 1]) / total
    m2 = rows[:, c + 1 :].sum(0) + np.einsum("r,rc->c", counts, (rows[:, 1 : c + 1] - mean) ** 2)
    std = np.sqrt(m2 / total + eps)
    x_hat = (x - mean) / std
    dbeta, dgamma = dy.sum(0), (dy * x_hat).sum(0)
    all_rows = all_gather(np.concatenate([dbeta, dgamma]))
    d_x_hat_sum, d_x_hat_x_hat_sum = gamma * all_rows[:, :c].sum(0), gamma * all_rows[:, c:].sum(0)
    d_var = -0.5 * d_x_hat_x_hat_sum / std**2
    d_mean = -d_x_hat_sum / std
    dx = gamma * dy / std + d_var * 2 * (x - mean) / total + d_mean / total
    return mean, m2 / (total - 1), dx, dgamma, dbeta


def in_float32(dy, x, gamma, all_gather, eps):
    single = np.float32
    dy, x, gamma = (value.astype(single) for value in (dy, x, gamma))
    n, c = x.shape
    own_mean = x.mean(axis=0) if n else np.zeros(c, single)
    own_m2 = np.square(x - own_mean).sum(axis=0)
    rows = all_gather(np.concatenate([np.array([n], single), own_mean, own_m2])).astype(single)
    counts, means, m2s = rows[:, :1], rows[:, 1 : c + 1], rows[:, c + 1 :]
    total = counts.sum()
    pivot = means[counts.argmax()]
    mean = pivot + (counts * (means - pivot)).sum(axis=0) / total
    m2 = (m2s + counts * np.square(means - mean)).sum(axis=0)
    inv_std = 1 / np.sqrt(m2 / total + single(eps))
    x_hat = (x - mean) * inv_std
    dbeta, dgamma = dy.sum(axis=0), (dy * x_hat).sum(axis=0)
    sums = all_gather(np.concatenate([dbeta, dgamma])).astype(single).sum(axis=0) / total
    return mean, m2 / (total - 1), gamma * inv_std * (dy - sums[:c] - x_hat * sums[c:]), dgamma, dbeta


def with_torch(dy, x, gamma, all_gather, eps):
    import torch

    dy, x, gamma = (torch.from_numpy(value.copy()) for value in (dy, x, gamma))
    n, c = x.shape
    own_mean = x.sum(0) / max(n, 1)
    first = torch.cat([torch.tensor([float(n)], dtype=x.dtype), own_mean, (x - own_mean).square().sum(0)])
    counts, means, m2s = torch.from_numpy(all_gather(first.numpy())).split([1, c, c], dim=1)
    total = counts.sum()
    mean = (counts * means).sum(0) / total
    var = (m2s + counts * (means - mean) ** 2).sum(0) / total
    x_hat = (x - mean) * torch.rsqrt(var + eps)
    dbeta, dgamma = dy.sum(0), (dy * x_hat).sum(0)
    means_back = torch.from_numpy(all_gather(torch.cat([dbeta, dgamma]).numpy())).sum(0) / total
    dx = gamma * torch.rsqrt(var + eps) * (dy - means_back[:c] - x_hat * means_back[c:])
    return mean, var * total / (total - 1), dx, dgamma, dbeta


RANKS = [
    merged_one_by_one,
    rows_of_empty_ranks_left_out,
    plain_loops,
    about_a_common_point,
    through_the_stages,
    in_float32,
    with_torch,
]
