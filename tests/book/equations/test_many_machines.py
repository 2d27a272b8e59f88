"""The equations of chapter 7.2: statistics and gradients across ranks, and the time of collectives."""

import math

import numpy as np
import pytest
import torch

from bncourse.kernels.collectives import (
    Network,
    collective_time,
    gathered_bytes,
    steps,
    summed_bytes,
    sync_time,
    wire_bytes,
)
from bncourse.reference import batch_norm, batch_norm_backward, moments
from tests.kernels.test_collectives import ring

COUNTS = (5, 0, 11, 2)
"""Values on each rank: uneven, and none on one of them."""


@pytest.fixture
def parts():
    rng = np.random.default_rng(0)
    return [rng.normal(10 * rank, 1 + rank, (count, 3)) for rank, count in enumerate(COUNTS)]


@pytest.mark.equation("eq-sync-statistics")
def test_statistics_of_all_follow_from_the_rows_of_the_ranks(parts):
    """Catches a part between the ranks that is not weighted with counts, and one that is left out."""
    everything = np.concatenate(parts)
    rows = [(len(x), x.mean(0) if len(x) else 0.0, moments(x, 0).m2 if len(x) else 0.0) for x in parts]
    m = sum(count for count, _, _ in rows)
    mean = sum(count * own for count, own, _ in rows) / m
    within = sum(m2 for _, _, m2 in rows) / m
    between = sum(count * (own - mean) ** 2 for count, own, _ in rows) / m
    np.testing.assert_allclose(mean, everything.mean(0))
    np.testing.assert_allclose(within + between, everything.var(0))
    assert np.all(between > 0.5 * within)


@pytest.mark.equation("eq-sync-dx")
def test_the_gradient_takes_two_sums_from_all_ranks(parts):
    """Against the closed form on the whole batch. Catches means over a rank's own values."""
    rng = np.random.default_rng(1)
    gamma, everything = rng.normal(1, 0.3, 3), np.concatenate(parts)
    dy = rng.normal(1, 2, everything.shape)
    _, cache = batch_norm(everything, gamma, np.zeros(3))
    expected, _, _ = batch_norm_backward(dy, cache)

    m, inv_std = len(everything), 1 / np.sqrt(everything.var(0) + 1e-5)
    cuts = np.cumsum(COUNTS)[:-1]
    dys = np.split(dy, cuts)
    x_hats = [(x - everything.mean(0)) * inv_std for x in parts]
    offset = sum(own.sum(0) for own in dys) / m
    slope = sum((own * x_hat).sum(0) for own, x_hat in zip(dys, x_hats, strict=True)) / m
    found = [gamma * inv_std * (own - offset - x_hat * slope) for own, x_hat in zip(dys, x_hats, strict=True)]
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-12)


@pytest.mark.equation("eq-sync-weight")
def test_weighted_losses_have_the_gradient_of_the_mean_over_all_examples(parts):
    """Through a batch norm over all ranks, with autograd; unweighted losses have another gradient."""
    parts = [part for part in parts if len(part)]
    n, ranks = sum(map(len, parts)), len(parts)
    x = torch.from_numpy(np.concatenate(parts))
    targets = torch.randn(n, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    theta = torch.eye(3, dtype=torch.float64, requires_grad=True)
    examples = (torch.nn.functional.batch_norm(x @ theta, None, None, training=True) - targets).square().sum(1)
    losses = [own.mean() for own in examples.split([len(part) for part in parts])]

    weighted = sum(ranks * len(part) / n * loss for part, loss in zip(parts, losses, strict=True)) / ranks
    expected = torch.autograd.grad(examples.sum() / n, theta, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(weighted, theta, retain_graph=True)[0], expected)
    plain = torch.autograd.grad(sum(losses) / ranks, theta)[0]
    assert (plain - expected).norm() > 0.05 * expected.norm()


NETWORK = Network(4, 11.0, 0.7, 0.9, 3.0, 5.0, (8e9, 4e9, 2e9), "made up")


@pytest.mark.equation("eq-collective-time")
@pytest.mark.parametrize("size", [24, 10**6])
def test_a_collective_takes_a_start_its_steps_and_its_bytes(size):
    """The package's time, on three machines of four, against the terms written out."""
    latency = 8 * 0.9 + 3 * 0.9 - 2 * 0.9 + 2 * 3.0  # eleven steps, two of them between machines
    assert collective_time("all_gather", size, 12, NETWORK) == pytest.approx(11 + latency + 11 * size / 2e9 * 1e6)


@pytest.mark.equation("eq-ring-gather")
@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_simulated_ranks_gather_in_so_many_steps(ranks):
    rounds, sent = ring(ranks, reduce=False)
    assert (rounds, sent) == (ranks - 1, ranks - 1)
    assert sum(steps("all_gather", "ring", ranks)) == rounds
    assert wire_bytes("all_gather", 120, ranks) == sent * 120


@pytest.mark.equation("eq-ring-reduce")
@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_simulated_ranks_add_up_in_so_many_steps(ranks):
    rounds, sent = ring(ranks, reduce=True)
    assert (rounds, sent) == (2 * (ranks - 1), 2 * (ranks - 1))
    assert sum(steps("all_reduce", "ring", ranks)) == rounds
    assert wire_bytes("all_reduce", 120, ranks) == pytest.approx(sent * 120 / ranks)


@pytest.mark.equation("eq-tree-steps")
@pytest.mark.parametrize("nodes", [1, 2, 8, 64])
def test_a_tree_takes_so_many_steps(nodes):
    """Counted on a built tree: the longest way from a rank to the root, up and down."""

    def depth(place):  # in a binary heap of machines
        return 0 if place == 1 else 1 + depth(place // 2)

    chain = 4 - 1
    between = max(depth(place) for place in range(1, nodes + 1))
    assert sum(steps("all_reduce", "tree", 4 * nodes, 4)) == 2 * chain + 2 * between
    assert 2 * between == 2 * math.log2(4 * nodes / 4)


@pytest.mark.equation("eq-sync-wait")
def test_a_step_waits_for_a_gather_and_a_sum_in_each_layer():
    channels = (64, 256, 64)
    layers = [
        collective_time("all_gather", gathered_bytes(width), 8, NETWORK)
        + collective_time("all_reduce", summed_bytes(width), 8, NETWORK)
        for width in channels
    ]
    assert sync_time(channels, 8, NETWORK) == pytest.approx(sum(layers))
    assert (gathered_bytes(64), summed_bytes(64)) == (8 * 131, 8 * 128)
