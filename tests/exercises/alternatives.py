"""Correct functions that differ from the solution in how they go about it."""

import math

import numpy as np


def einsum(x, gamma, beta, eps):
    m = x.shape[0]
    centred = x - np.einsum("nc->c", x) / m
    var = np.einsum("nc,nc->c", centred, centred) / m
    return np.einsum("nc,c,c->nc", centred, gamma, (var + eps) ** -0.5) + beta


def loops(x, gamma, beta, eps):
    n, c = x.shape
    y = [[0.0] * c for _ in range(n)]
    for j in range(c):
        mean = sum(x[i, j] for i in range(n)) / n
        var = sum((x[i, j] - mean) ** 2 for i in range(n)) / n
        for i in range(n):
            y[i][j] = gamma[j] * (x[i, j] - mean) / math.sqrt(var + eps) + beta[j]
    return y


def welford(x, gamma, beta, eps):
    mean, m2 = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for count, row in enumerate(x, start=1):
        delta = row - mean
        mean += delta / count
        m2 += delta * (row - mean)
    return gamma * (x - mean) / np.sqrt(m2 / len(x) + eps) + beta


def scale_and_shift_folded(x, gamma, beta, eps):
    scale = gamma / np.sqrt(np.var(x, axis=0) + eps)
    return x * scale + (beta - np.mean(x, axis=0) * scale)


def transposed(x, gamma, beta, eps):
    rows = x.T
    x_hat = (rows - rows.mean(1, keepdims=True)) / np.sqrt(rows.var(1, keepdims=True) + eps)
    return (gamma[:, None] * x_hat + beta[:, None]).T


def vectorized_by_feature(x, gamma, beta, eps):
    def one(column, scale, shift):
        return scale * (column - column.mean()) / np.sqrt(column.var() + eps) + shift

    return np.stack([one(*args) for args in zip(x.T, gamma, beta, strict=True)], axis=1)


def variance_from_pairs(x, gamma, beta, eps):
    """var = sum over pairs of (x_i - x_j)² / (2 m²): no mean in it."""
    differences = x[:, None] - x[None, :]
    var = (differences**2).mean(axis=(0, 1)) / 2
    return gamma * (differences.mean(axis=1)) / np.sqrt(var + eps) + beta


def centring_matrix(x, gamma, beta, eps):
    m = len(x)
    centred = (np.eye(m) - np.ones((m, m)) / m) @ x
    return gamma * centred / np.sqrt(np.diag(centred.T @ centred) / m + eps) + beta


def float32_two_pass(x, gamma, beta, eps):
    x, gamma, beta = (value.astype(np.float32) for value in (x, gamma, beta))
    centred = x - x.mean(axis=0)
    return gamma * centred / np.sqrt((centred**2).mean(axis=0) + np.float32(eps)) + beta


def float32_var(x, gamma, beta, eps):
    x = np.asarray(x, dtype=np.float32)
    y = gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta
    return y.astype(np.float32)


def in_place_on_a_copy(x, gamma, beta, eps):
    x = x.copy()
    x -= x.mean(0)
    x /= np.sqrt((x * x).mean(0) + eps)
    x *= gamma
    x += beta
    return x


def extended_precision(x, gamma, beta, eps):
    x = x.astype(np.longdouble)
    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta


def torch_functional(x, gamma, beta, eps):
    import torch

    x, gamma, beta = (torch.from_numpy(value) for value in (x, gamma, beta))
    return torch.nn.functional.batch_norm(x, None, None, gamma, beta, training=True, eps=eps)


def torch_float32(x, gamma, beta, eps):
    import torch

    x, gamma, beta = (torch.tensor(value, dtype=torch.float32) for value in (x, gamma, beta))
    return torch.nn.functional.batch_norm(x, None, None, gamma, beta, training=True, eps=eps).numpy()


FORWARD = [
    einsum,
    loops,
    welford,
    scale_and_shift_folded,
    transposed,
    vectorized_by_feature,
    variance_from_pairs,
    centring_matrix,
    float32_two_pass,
    float32_var,
    in_place_on_a_copy,
    extended_precision,
    torch_functional,
    torch_float32,
]


def staged(dy, x, gamma, eps):
    m = x.shape[0]
    mean = x.sum(axis=0) / m
    centred = x - mean
    var = (centred**2).sum(axis=0) / m
    std = np.sqrt(var + eps)
    inv_std = 1 / std
    x_hat = centred * inv_std

    dbeta = dy.sum(axis=0)
    dgamma = (dy * x_hat).sum(axis=0)
    dx_hat = dy * gamma
    dinv_std = (dx_hat * centred).sum(axis=0)
    dstd = -dinv_std / std**2
    dvar = 0.5 * dstd / std
    dcentred = dx_hat * inv_std + 2 * centred * dvar / m
    dmean = -dcentred.sum(axis=0)
    return dcentred + dmean / m, dgamma, dbeta


def sums_over_m(dy, x, gamma, eps):
    m = len(x)
    inv_std = (x.var(0) + eps) ** -0.5
    x_hat = (x - x.mean(0)) * inv_std
    dgamma, dbeta = np.sum(dy * x_hat, 0), np.sum(dy, 0)
    return gamma * inv_std / m * (m * dy - dbeta - x_hat * dgamma), dgamma, dbeta


def jacobian_matrices(dy, x, gamma, eps):
    """dx = J^T dy with the m by m Jacobian of each feature, entry by entry."""
    m, features = x.shape
    dx, dgamma = np.empty_like(x), np.empty(features)
    for j in range(features):
        inv_std = 1 / math.sqrt(x[:, j].var() + eps)
        x_hat = (x[:, j] - x[:, j].mean()) * inv_std
        jacobian = gamma[j] * inv_std * (np.eye(m) - 1 / m - np.outer(x_hat, x_hat) / m)
        dx[:, j] = jacobian.T @ dy[:, j]
        dgamma[j] = x_hat @ dy[:, j]
    return dx, dgamma, dy.sum(0)


def plain_loops(dy, x, gamma, eps):
    n, c = x.shape
    dx, dgamma, dbeta = [[0.0] * c for _ in range(n)], [0.0] * c, [0.0] * c
    for j in range(c):
        mean = sum(x[i, j] for i in range(n)) / n
        inv_std = 1 / math.sqrt(sum((x[i, j] - mean) ** 2 for i in range(n)) / n + eps)
        for i in range(n):
            dbeta[j] += dy[i, j]
            dgamma[j] += dy[i, j] * (x[i, j] - mean) * inv_std
        for i in range(n):
            x_hat = (x[i, j] - mean) * inv_std
            dx[i][j] = gamma[j] * inv_std * (dy[i, j] - dbeta[j] / n - x_hat * dgamma[j] / n)
    return [dx, dgamma, dbeta]


def einsum_backward(dy, x, gamma, eps):
    m = len(x)
    centred = x - np.einsum("nc->c", x) / m
    inv_std = (np.einsum("nc,nc->c", centred, centred) / m + eps) ** -0.5
    dgamma = np.einsum("nc,nc,c->c", dy, centred, inv_std)
    dbeta = np.einsum("nc->c", dy)
    along = np.einsum("nc,c,c->nc", centred, inv_std, dgamma)
    return np.einsum("c,c,nc->nc", gamma, inv_std, dy - (dbeta + along) / m), dgamma, dbeta


def complex_step(dy, x, gamma, eps):
    """Derivatives from the forward pass alone, by a step along the imaginary axis."""

    def loss(x, gamma, beta):
        centred = x - x.mean(0)
        return ((gamma * centred / np.sqrt((centred**2).mean(0) + eps) + beta) * dy).sum()

    def derivative(function, at):
        gradient = np.empty_like(at)
        for index in np.ndindex(at.shape):
            moved = at.astype(complex)
            moved[index] += 1e-20j
            gradient[index] = function(moved).imag / 1e-20
        return gradient

    beta = np.zeros_like(gamma)
    return (
        derivative(lambda value: loss(value, gamma, beta), x),
        derivative(lambda value: loss(x, value, beta), gamma),
        derivative(lambda value: loss(x, gamma, value), beta),
    )


def float32_closed_form(dy, x, gamma, eps):
    dy, x, gamma = (value.astype(np.float32) for value in (dy, x, gamma))
    centred = x - x.mean(0)
    inv_std = 1 / np.sqrt((centred**2).mean(0) + np.float32(eps))
    x_hat = centred * inv_std
    dgamma, dbeta = (dy * x_hat).sum(0), dy.sum(0)
    return gamma * inv_std * (dy - dbeta / len(x) - x_hat * dgamma / len(x)), dgamma, dbeta


def float32_staged(dy, x, gamma, eps):
    return staged(*(value.astype(np.float32) for value in (dy, x, gamma)), np.float32(eps))


def in_place_on_copies(dy, x, gamma, eps):
    x_hat, dx = x - x.mean(0), dy.copy()
    inv_std = 1 / np.sqrt((x_hat**2).mean(0) + eps)
    x_hat *= inv_std
    dgamma, dbeta = (dy * x_hat).sum(0), dy.sum(0)
    dx -= dbeta / len(x)
    x_hat *= dgamma / len(x)
    dx -= x_hat
    dx *= gamma * inv_std
    return dx, dgamma, dbeta


def two_projections(dy, x, gamma, eps):
    """Centre dy, then take off the part along x_hat. x_hat is orthogonal to 1, so the order is free."""
    centred = x - x.mean(0)
    inv_std = 1 / np.sqrt((centred * centred).mean(0) + eps)
    x_hat = centred * inv_std
    without_mean = dy - dy.mean(0)
    return (
        gamma * inv_std * (without_mean - x_hat * (without_mean * x_hat).mean(0)),
        (without_mean * x_hat).sum(0),
        dy.sum(0),
    )


def autograd(dy, x, gamma, eps):
    import torch

    x, gamma = (torch.tensor(value, requires_grad=True) for value in (x, gamma))
    beta = torch.zeros_like(gamma, requires_grad=True)
    y = torch.nn.functional.batch_norm(x, None, None, gamma, beta, training=True, eps=eps)
    return torch.autograd.grad(y, (x, gamma, beta), torch.from_numpy(dy))


def autograd_float32(dy, x, gamma, eps):
    import torch

    x, gamma = (torch.tensor(value, dtype=torch.float32, requires_grad=True) for value in (x, gamma))
    beta = torch.zeros_like(gamma, requires_grad=True)
    y = torch.nn.functional.batch_norm(x, None, None, gamma, beta, training=True, eps=eps)
    return torch.autograd.grad(y, (x, gamma, beta), torch.tensor(dy, dtype=torch.float32))


BACKWARD = [
    staged,
    sums_over_m,
    jacobian_matrices,
    plain_loops,
    einsum_backward,
    complex_step,
    float32_closed_form,
    float32_staged,
    in_place_on_copies,
    two_projections,
    autograd,
    autograd_float32,
]


def lerp(x, running_mean, running_var, momentum):
    def towards(old, new):
        return old + momentum * (new - old)

    return towards(running_mean, np.mean(x, 0)), towards(running_var, np.var(x, 0, ddof=1))


def biased_then_corrected(x, running_mean, running_var, momentum):
    n = len(x)
    var = x.var(axis=0) * n / (n - 1)
    keep = 1.0 - momentum
    return keep * running_mean + momentum * x.sum(0) / n, keep * running_var + momentum * var


def by_feature(x, running_mean, running_var, momentum):
    means, variances = [], []
    for j, column in enumerate(x.T.tolist()):
        mean = math.fsum(column) / len(column)
        var = math.fsum((value - mean) ** 2 for value in column) / (len(column) - 1)
        means.append((1 - momentum) * running_mean[j] + momentum * mean)
        variances.append((1 - momentum) * running_var[j] + momentum * var)
    return means, variances


def covariance_diagonal(x, running_mean, running_var, momentum):
    batch = np.stack([x.mean(0), np.diagonal(np.atleast_2d(np.cov(x, rowvar=False)))])
    mean, var = np.average([np.stack([running_mean, running_var]), batch], axis=0, weights=[1 - momentum, momentum])
    return mean, var


def in_float32(x, running_mean, running_var, momentum):
    x, running_mean, running_var = (value.astype(np.float32) for value in (x, running_mean, running_var))
    momentum = np.float32(momentum)
    mean = (1 - momentum) * running_mean + momentum * x.mean(0)
    return mean, (1 - momentum) * running_var + momentum * x.var(0, ddof=1)


def torch_layer(x, running_mean, running_var, momentum):
    import torch

    mean, var = torch.tensor(running_mean), torch.tensor(running_var)
    torch.nn.functional.batch_norm(torch.tensor(x), mean, var, training=True, momentum=momentum)
    return mean, var


RUNNING = [lerp, biased_then_corrected, by_feature, covariance_diagonal, in_float32, torch_layer]


def by_sums(a, b):
    (n, mean_a, m2_a), (k, mean_b, m2_b) = a, b
    count = n + k
    mean = (n * mean_a + k * mean_b) / count if count else 0.0
    return count, mean, m2_a + n * (mean_a - mean) ** 2 + m2_b + k * (mean_b - mean) ** 2


def early_return(a, b):
    if not a[0]:
        return b
    if not b[0]:
        return a
    count, delta = a[0] + b[0], a[1] - b[1]
    return count, b[1] + delta * a[0] / count, a[2] + b[2] + delta * delta / (1 / a[0] + 1 / b[0])


def as_arrays(a, b):
    parts = np.array([a, b])
    counts = parts[:, 0]
    count = counts.sum()
    mean = np.average(parts[:, 1], weights=counts) if count else np.float64(0)
    return count, mean, parts[:, 2].sum() + (counts * (parts[:, 1] - mean) ** 2).sum()


def value_by_value(a, b):
    """Welford's update with stand-ins for b's values that have its mean and its m2."""
    count, mean, m2 = a
    n, mean_b, m2_b = b
    for _ in range(n):
        count += 1
        delta = mean_b - mean
        mean += delta / count
        m2 += delta * (mean_b - mean)
    return count, mean, m2 + m2_b


def list_returned(a, b):
    return list(by_sums(b, a))


def merge_in_float32(a, b):
    (n, mean_a, m2_a), (k, mean_b, m2_b) = (map(np.float32, part) for part in (a, b))
    count = n + k
    share = k / count if count else np.float32(0)
    delta = mean_b - mean_a
    return count, mean_a + delta * share, m2_a + m2_b + delta * delta * n * share


def stored_then_two_passes(values):
    data = np.array(list(values))
    return data.mean(), np.square(data - data.mean()).mean()


def by_merging_single_values(values):
    count, mean, m2 = 0, 0.0, 0.0
    for x in values:
        delta = x - mean
        m2 += delta**2 * count / (count + 1)
        mean = (count * mean + x) / (count + 1)
        count += 1
    return mean, m2 / count


def shifted_by_the_first_value(values):
    shift = next(values)
    total = squares = 0.0
    count = 1
    for x in values:
        total += x - shift
        squares += (x - shift) ** 2
        count += 1
    return shift + total / count, (squares - total**2 / count) / count


def the_standard_library(values):
    import statistics

    data = list(values)
    return statistics.fmean(data), statistics.pvariance(data)


def in_blocks(values):
    from itertools import islice

    count, mean, m2 = 0, 0.0, 0.0
    while block := list(islice(values, 4)):
        part = np.array(block)
        delta, total = part.mean() - mean, count + part.size
        m2 += np.square(part - part.mean()).sum() + delta**2 * count * part.size / total
        mean += delta * part.size / total
        count = total
    return mean, m2 / count


def stream_in_float32(values):
    count, mean, m2 = 0, np.float32(0), np.float32(0)
    for value in values:
        x = np.float32(value)
        count += 1
        delta = x - mean
        mean = mean + delta / np.float32(count)
        m2 = m2 + delta * (x - mean)
    return mean, m2 / np.float32(count)


def frozen_by_loops(dy, x, gamma, running_mean, running_var, eps):
    n, c = x.shape
    dx, dgamma, dbeta = [[0.0] * c for _ in range(n)], [0.0] * c, [0.0] * c
    for j in range(c):
        slope = 1 / math.sqrt(running_var[j] + eps)
        for i in range(n):
            dx[i][j] = dy[i, j] * gamma[j] * slope
            dgamma[j] += dy[i, j] * (x[i, j] - running_mean[j]) * slope
            dbeta[j] += dy[i, j]
    return dx, dgamma, dbeta


def frozen_by_einsum(dy, x, gamma, running_mean, running_var, eps):
    inv_std = (running_var + eps) ** -0.5
    dgamma = np.einsum("nc,nc->c", dy, x) - running_mean * np.einsum("nc->c", dy)
    return np.einsum("nc,c,c->nc", dy, gamma, inv_std), dgamma * inv_std, np.einsum("nc->c", dy)


def frozen_node_by_node(dy, x, gamma, running_mean, running_var, eps):
    std = np.sqrt(running_var + eps)
    x_hat = (x - running_mean) / std
    dx_hat = dy * gamma
    return dx_hat / std, np.sum(dy * x_hat, axis=0), np.sum(dy, axis=0)


def frozen_transposed(dy, x, gamma, running_mean, running_var, eps):
    inv_std = 1 / np.sqrt(running_var + eps)[:, None]
    rows = (x.T - running_mean[:, None]) * inv_std
    return (gamma[:, None] * inv_std * dy.T).T, (dy.T * rows).sum(1), dy.T.sum(1)


def frozen_in_float32(dy, x, gamma, running_mean, running_var, eps):
    inv_std = 1 / np.sqrt(running_var + eps)
    gradients = gamma * inv_std * dy, (dy * (x - running_mean) * inv_std).sum(0), dy.sum(0)
    return tuple(gradient.astype(np.float32) for gradient in gradients)


def frozen_autograd(dy, x, gamma, running_mean, running_var, eps):
    import torch

    x, gamma = (torch.tensor(value, requires_grad=True) for value in (x, gamma))
    beta = torch.zeros_like(gamma, requires_grad=True)
    statistics = torch.tensor(running_mean), torch.tensor(running_var)
    y = torch.nn.functional.batch_norm(x, *statistics, gamma, beta, training=False, eps=eps)
    y.backward(torch.tensor(dy))
    return x.grad.numpy(), gamma.grad.numpy(), beta.grad.numpy()


INFERENCE = [
    frozen_by_loops,
    frozen_by_einsum,
    frozen_node_by_node,
    frozen_transposed,
    frozen_in_float32,
    frozen_autograd,
]
WELFORD = [
    stored_then_two_passes,
    by_merging_single_values,
    shifted_by_the_first_value,
    the_standard_library,
    in_blocks,
    stream_in_float32,
]
MERGE = [by_sums, early_return, as_arrays, value_by_value, list_returned, merge_in_float32]


def mean_from_the_direct_part(dy, x, gamma, eps):
    """In the form of Ioffe and Szegedy: what comes through the squares sums to zero, so dmean may leave it out."""
    m = len(x)
    centred = x - x.mean(0)
    var = (centred**2).mean(0)
    dx_hat = dy * gamma
    dvar = (dx_hat * centred * -0.5 * (var + eps) ** -1.5).sum(0)
    dmean = (-dx_hat / np.sqrt(var + eps)).sum(0)
    dx = dx_hat / np.sqrt(var + eps) + dvar * 2 * centred / m + dmean / m
    return dx, (dy * centred / np.sqrt(var + eps)).sum(0), dy.sum(0)


def squares_of_what_is_not_centred(dy, x, gamma, eps):
    """2 * x for 2 * centred: they differ by the same number in the whole batch, which dmean takes off again."""
    centred = x - x.mean(0)
    inv_std = 1 / np.sqrt(x.var(0) + eps)
    dx_hat = dy * gamma
    dvar = -0.5 * inv_std**3 * (dx_hat * centred).sum(0)
    dcentred = dx_hat * inv_std + 2 * x * dvar / len(x)
    return dcentred - dcentred.mean(0), (dy * centred * inv_std).sum(0), dy.sum(0)


def nodes_as_matrices(dy, x, gamma, eps):
    """Every node of one feature is a Jacobian matrix, and going back multiplies by its transpose."""
    m, features = x.shape
    centring = np.eye(m) - np.full((m, m), 1 / m)
    dx, dgamma = np.empty_like(x), np.empty(features)
    for j in range(features):
        centred = centring @ x[:, j]
        var = centred @ centred / m
        inv_std = (var + eps) ** -0.5
        var_by_centred = 2 / m * centred[None, :]
        inv_std_by_centred = np.array([[-0.5 * (var + eps) ** -1.5]]) @ var_by_centred
        x_hat_by_centred = inv_std * np.eye(m) + centred[:, None] @ inv_std_by_centred
        dx[:, j] = centring.T @ x_hat_by_centred.T @ (gamma[j] * dy[:, j])
        dgamma[j] = dy[:, j] @ centred * inv_std
    return dx, dgamma, dy.sum(0)


class Tracked:
    """A number that remembers how it was made: reverse mode, one scalar at a time."""

    def __init__(self, value, made_from=()):
        self.value, self.made_from, self.gradient, self.uses = value, made_from, 0.0, 0
        for source, _ in made_from:
            source.uses += 1

    def __add__(self, other):
        return Tracked(self.value + other.value, ((self, 1.0), (other, 1.0)))

    def __mul__(self, other):
        return Tracked(self.value * other.value, ((self, other.value), (other, self.value)))

    def power(self, exponent, offset=0.0):
        base = self.value + offset
        return Tracked(base**exponent, ((self, exponent * base ** (exponent - 1)),))

    def times(self, number):
        return Tracked(self.value * number, ((self, number),))

    def pass_on(self, gradient):
        """Collects a gradient, and goes on when all uses have given theirs."""
        self.gradient += gradient
        self.uses -= 1
        if self.uses <= 0:
            for source, derivative in self.made_from:
                source.pass_on(self.gradient * derivative)


def number_by_number(dy, x, gamma, eps):
    features = x.shape[1]
    dx, dgamma, dbeta = np.empty_like(x), np.empty(features), np.empty(features)
    for j in range(features):
        xs, scale, shift = [Tracked(float(value)) for value in x[:, j]], Tracked(float(gamma[j])), Tracked(0.0)
        mean = mean_of(xs)
        centred = [value + mean.times(-1.0) for value in xs]
        inv_std = mean_of([value * value for value in centred]).power(-0.5, eps)
        ys = [scale * (value * inv_std) + shift for value in centred]
        for y, gradient in zip(ys, dy[:, j], strict=True):
            y.pass_on(float(gradient))
        dx[:, j], dgamma[j], dbeta[j] = [value.gradient for value in xs], scale.gradient, shift.gradient
    return dx, dgamma, dbeta


def mean_of(values):
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total.times(1 / len(values))


def torch_nodes(dy, x, gamma, eps):
    """Autograd over the seven nodes, written out."""
    import torch

    x, gamma = (torch.tensor(value, requires_grad=True) for value in (x, gamma))
    beta = torch.zeros_like(gamma, requires_grad=True)
    centred = x - x.mean(0)
    inv_std = ((centred**2).mean(0) + eps) ** -0.5
    y = gamma * (centred * inv_std) + beta
    return torch.autograd.grad(y, (x, gamma, beta), torch.from_numpy(dy))


STAGED = [
    staged,
    float32_staged,
    mean_from_the_direct_part,
    squares_of_what_is_not_centred,
    nodes_as_matrices,
    number_by_number,
    torch_nodes,
    sums_over_m,
    complex_step,
    autograd_float32,
]
