"""Correct measurements of a gradient's growth that differ from the solution in how they go about it."""

import math

import numpy as np


def norms_by_linalg(gradients):
    squared_norms = np.linalg.norm(gradients, axis=(2, 3)) ** 2
    networks, layers = squared_norms.shape
    whole = np.prod(squared_norms[:, 0] / squared_norms[:, -1])
    return squared_norms, whole ** (1 / (networks * (layers - 1)))


def step_by_step(gradients):
    """The geometric mean of the growths of all steps of all networks."""
    flat = gradients.reshape(*gradients.shape[:2], -1)
    squared_norms = np.einsum("slv,slv->sl", flat, flat)
    steps = np.log2(squared_norms[:, :-1]) - np.log2(squared_norms[:, 1:])
    return squared_norms, 2 ** steps.mean()


def plain_loops(gradients):
    squared_norms, growths = [], []
    for network in gradients.tolist():
        squared_norms.append([math.fsum(value * value for row in layer for value in row) for layer in network])
        q = squared_norms[-1]
        growths.append((q[0] / q[-1]) ** (1 / (len(q) - 1)))
    return squared_norms, math.prod(growths) ** (1 / len(growths))


def singular_values(gradients):
    """The squared Frobenius norm is the sum of the squares of all singular values."""
    squared_norms = (np.linalg.svd(gradients, compute_uv=False) ** 2).sum(axis=-1)
    logarithms = np.log10(squared_norms)
    return squared_norms, 10 ** np.mean((logarithms[:, 0] - logarithms[:, -1]) / (len(squared_norms[0]) - 1))


def examples_first(gradients):
    of_examples = np.sum(gradients * gradients, axis=-1)
    squared_norms = of_examples.sum(axis=-1)
    first, last = squared_norms[:, 0], squared_norms[:, -1]
    roots = np.power(first / last, 1 / (gradients.shape[1] - 1))
    return squared_norms, np.exp(np.average(np.log(roots)))


def traces(gradients):
    squared_norms = np.trace(gradients @ np.swapaxes(gradients, 2, 3), axis1=2, axis2=3)
    growth = 1.0
    for first, *_, last in squared_norms[:, [0, *range(gradients.shape[1])]]:
        growth *= first / last
    return squared_norms, growth ** (1 / (gradients.shape[0] * (gradients.shape[1] - 1)))


def norms_in_float32(gradients):
    squared_norms = np.square(gradients.astype(np.float32)).sum(axis=(2, 3))
    logarithms = np.log(squared_norms)
    return squared_norms, np.exp((logarithms[:, 0] - logarithms[:, -1]).mean() / np.float32(gradients.shape[1] - 1))


def statistics_module(gradients):
    from statistics import geometric_mean

    squared_norms = (gradients**2).sum((2, 3))
    return squared_norms, geometric_mean((squared_norms[:, 0] / squared_norms[:, -1]) ** (1 / (len(gradients[0]) - 1)))


def torch_norms(gradients):
    import torch

    squared_norms = torch.tensor(gradients).flatten(2).square().sum(2)
    return squared_norms, (-squared_norms.log().diff(dim=1)).mean().exp()


GROWTH = [
    norms_by_linalg,
    step_by_step,
    plain_loops,
    singular_values,
    examples_first,
    traces,
    norms_in_float32,
    statistics_module,
    torch_norms,
]
