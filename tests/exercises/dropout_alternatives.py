"""Correct predictions of dropout's variance shift that are found in other ways than the solution's."""

import numpy as np


def sources(layers, shares, weights, means, variances):
    """Every dropout is a source of independent noise, with a matrix that leads from it to here."""
    p, w, ratios, found = iter(shares), iter(weights), [], []
    for i, layer in enumerate(layers):
        added = sum((matrix**2 @ noise for matrix, noise in found), np.zeros(means.shape[1]))
        match layer:
            case "dropout":
                q = next(p)
                found.append((np.eye(len(added)), q / (1 - q) * (means[i] ** 2 + variances[i] + added)))
            case "linear":
                matrix = next(w)
                found = [(matrix @ before, noise) for before, noise in found]
            case "relu":
                change = (means[i + 1] ** 2 + variances[i + 1]) / (means[i] ** 2 + variances[i])
                found = [(matrix, noise * change) for matrix, noise in found]
            case "batch_norm":
                ratios.append((variances[i] + added) / variances[i])
                found = []
    return np.array(ratios)


def relu_first(layers, shares, weights, means, variances):
    """A dropout changes places with a ReLU behind it; then noise meets linear layers only."""
    order, square = list(layers), list(means**2 + variances)
    for _ in order:
        for i in range(len(order) - 1):
            if order[i : i + 2] == ["dropout", "relu"]:
                order[i : i + 2] = ["relu", "dropout"]
                square[i + 1] = square[i + 2]
    position = [i for i, layer in enumerate(layers) if layer == "batch_norm"]
    p, w, noise, ratios = list(shares), list(weights), np.zeros((len(means[0]),) * 2), []
    for i, layer in enumerate(order):
        if layer == "dropout":
            q = p.pop(0)
            noise[np.diag_indices_from(noise)] += q / (1 - q) * (square[i] + noise.diagonal())
        if layer == "linear":
            noise = np.linalg.multi_dot([w[0], noise, w.pop(0).T])
        if layer == "batch_norm":
            ratios.append(1 + noise.diagonal() / variances[position[len(ratios)]])
            noise = 0 * noise
    return np.array(ratios)


def square_root_of_the_covariance(layers, shares, weights, means, variances):
    """The noise is a matrix times independent values of variance 1: a dropout adds columns."""
    width = means.shape[1]
    p, w, root, ratios = iter(shares), iter(weights), np.zeros((width, 0)), []
    for i, layer in enumerate(layers):
        own = (root**2).sum(axis=1)
        if layer == "dropout":
            q = next(p)
            root = np.hstack([root, np.diag(np.sqrt(q / (1 - q) * (means[i] ** 2 + variances[i] + own)))])
        elif layer == "linear":
            root = next(w) @ root
        elif layer == "relu":
            change = np.sqrt((means[i + 1] ** 2 + variances[i + 1]) / (means[i] ** 2 + variances[i]))
            root = change[:, None] * root
        else:
            ratios.append(1 + own / variances[i])
            root = np.zeros((width, 0))
    return np.stack(ratios)


def plain_loops(layers, shares, weights, means, variances):
    width, dropouts, linears, ratios = means.shape[1], 0, 0, []
    units = range(width)
    noise = [[0.0 for _ in units] for _ in units]
    for i, layer in enumerate(layers):
        if layer == "dropout":
            p = shares[dropouts]
            dropouts += 1
            for j in units:
                noise[j][j] = (noise[j][j] + p * (means[i][j] ** 2 + variances[i][j])) / (1 - p)
        if layer == "linear":
            w = weights[linears]
            linears += 1
            noise = [[sum(w[a][j] * noise[j][k] * w[b][k] for j in units for k in units) for b in units] for a in units]
        if layer == "relu":
            for j in units:
                before, after = (means[k][j] ** 2 + variances[k][j] for k in (i, i + 1))
                noise[j][j] *= after / before
        if layer == "batch_norm":
            ratios.append([1 + noise[j][j] / variances[i][j] for j in units])
            noise = [[0.0 for _ in units] for _ in units]
    return ratios


def from_each_batch_norm_back(layers, shares, weights, means, variances):
    """The stretch before each batch norm by itself, with second moments instead of added variances."""
    ends = [i for i, layer in enumerate(layers) if layer == "batch_norm"]
    ratios = []
    for start, end in zip([0, *[end + 1 for end in ends[:-1]]], ends, strict=True):
        p, w = iter(shares[layers[:start].count("dropout") :]), iter(weights[layers[:start].count("linear") :])
        noise = np.zeros((means.shape[1], means.shape[1]))
        for i in range(start, end):
            second = means[i] ** 2 + variances[i]
            if layers[i] == "dropout":
                in_training = second + np.diag(noise)
                np.fill_diagonal(noise, in_training / (1 - next(p)) - second)
            elif layers[i] == "linear":
                noise = np.einsum("aj,jk,bk->ab", (matrix := next(w)), noise, matrix)
            else:
                after = means[i + 1] ** 2 + variances[i + 1]
                noise = np.diag((second + np.diag(noise)) * after / second - after)
        ratios.append((variances[end] + np.diag(noise)) / variances[end])
    return np.array(ratios)


def all_in_float32(layers, shares, weights, means, variances):
    shares, weights, means, variances = (a.astype(np.float32) for a in (shares, weights, means, variances))
    return sources(layers, shares, weights, means, variances).astype(np.float32)


def torch_covariances(layers, shares, weights, means, variances):
    import torch

    shares, weights, means, variances = map(torch.tensor, (shares, weights, means, variances))
    square, p, w = means.square() + variances, iter(shares), iter(weights)
    noise, ratios = torch.zeros_like(weights[0]), []
    for i, layer in enumerate(layers):
        if layer == "dropout":
            q = next(p)
            noise = noise + torch.diag(q / (1 - q) * (square[i] + noise.diagonal()))
        elif layer == "linear":
            matrix = next(w)
            noise = matrix @ noise @ matrix.mT
        elif layer == "relu":
            noise = torch.diag(noise.diagonal() / square[i] * square[i + 1])
        else:
            ratios.append(1 + noise.diagonal() / variances[i])
            noise = torch.zeros_like(noise)
    return torch.stack(ratios)


DROPOUT = [
    sources,
    relu_first,
    square_root_of_the_covariance,
    plain_loops,
    from_each_batch_norm_back,
    all_in_float32,
    torch_covariances,
]
