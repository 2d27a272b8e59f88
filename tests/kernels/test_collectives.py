"""The cost model counts what simulated ranks do, and ResNet-50's shapes are those of a network that is built."""

import math

import pytest
import torch
from torch import nn

from bncourse.kernels.collectives import (
    DGX_A100,
    Network,
    collective_time,
    resnet50,
    steps,
    sync_time,
    wire_bytes,
)


def ring(ranks, reduce):
    """Pass parts around a ring until every rank has all; return how many rounds it took, and parts that a rank sent."""
    # Rank r's parts: which ranks have contributed to each of them.
    held = [{part: {rank} for part in range(ranks)} if reduce else {rank: {rank}} for rank in range(ranks)]
    rounds = sent = 0
    for phase in ("reduce", "gather") if reduce else ("gather",):
        for turn in range(ranks - 1):
            first = [rank + (1 if phase == "gather" and reduce else 0) for rank in range(ranks)]
            parts = [(first[rank] - turn) % ranks for rank in range(ranks)]
            messages = [held[rank][parts[rank]] for rank in range(ranks)]
            for rank in range(ranks):
                receiver = held[(rank + 1) % ranks]
                receiver[parts[rank]] = messages[rank] | (
                    receiver.get(parts[rank], set()) if phase == "reduce" else set()
                )
            rounds, sent = rounds + 1, sent + 1
    complete = set(range(ranks)) if reduce else None
    for rank in range(ranks):
        assert all(held[rank][part] == (complete or {part}) for part in range(ranks))
    return rounds, sent


@pytest.mark.parametrize("ranks", [2, 3, 8, 16])
@pytest.mark.parametrize("collective", ["all_gather", "all_reduce"])
def test_a_ring_takes_the_steps_and_sends_the_bytes_of_simulated_ranks(collective, ranks):
    """Catches one round of the ring in place of two, and an all-gather whose bytes do not grow with the ranks."""
    per_node = 8 if ranks > 8 else ranks
    reduce = collective == "all_reduce"
    rounds, sent = ring(ranks, reduce)
    inside, outside = steps(collective, "ring", ranks, per_node)
    assert inside + outside == rounds
    assert outside == (0 if ranks <= 8 else (2 if reduce else 1) * (ranks // 8 - 1))
    size = 4 * 15 * ranks
    assert wire_bytes(collective, size, ranks) == pytest.approx(sent * (size / ranks if reduce else size))


@pytest.mark.parametrize("nodes", [1, 2, 16, 128])
def test_a_tree_goes_up_and_down_the_levels(nodes):
    levels, width = 0, nodes
    while width > 1:
        width, levels = math.ceil(width / 2), levels + 1
    assert steps("all_reduce", "tree", 8 * nodes) == (2 * 7, 2 * levels)


def test_constants_of_the_network_add_up():
    """By hand, on numbers that tell every constant from the others."""
    network = Network(4, 1000.0, 1.0, 10.0, 100.0, 300.0, (1e6, 2e6, 4e6), "made up")
    # One machine: 3 steps inside; 3 times 8 bytes at a byte a microsecond.
    assert collective_time("all_gather", 8, 4, network) == pytest.approx(1000 + 3 * 1 + 24)
    # Three machines: 9 steps inside, 2 between; 11 times 8 bytes at 4 bytes a microsecond.
    assert collective_time("all_gather", 8, 12, network) == pytest.approx(1000 + 9 * 10 + 2 * 100 + 22)
    # Two machines: the ring takes 12 * 10 + 2 * 100, the tree 6 * 1 + 2 * 300.
    assert collective_time("all_reduce", 8, 8, network) == pytest.approx(1000 + 320 + 2 * 7 / 8 * 8 / 2)
    # Eight machines: the ring 48 * 10 + 14 * 100, the tree 6 * 1 + 6 * 300, and the tree wins.
    assert collective_time("all_reduce", 8, 32, network) == pytest.approx(1000 + 1806 + 2 * 31 / 32 * 8 / 4)
    slower = network.slower(2)
    assert collective_time("all_gather", 8, 4, slower) == pytest.approx(2 * (1000 + 3) + 24)


def test_a_single_rank_sends_nothing():
    assert sync_time([64, 256], 1) == 0


def test_the_layers_add_up_in_bytes_and_in_collectives():
    """By hand: two ranks, and a byte a microsecond. Catches a gather without its header, a backward pass left out."""
    slow = Network(8, 100.0, 0.0, 0.0, 0.0, 0.0, (1e6, 1e6, 1e6), "made up")
    gathered = 100 + 8 * (2 * 3 + 3) + 100 + 8 * (2 * 3)
    assert sync_time([3], 2, slow) == pytest.approx(gathered)
    assert sync_time([3, 3], 2, slow) == pytest.approx(2 * gathered)
    assert sync_time([3], 2, slow, value=4) == pytest.approx(200 + (gathered - 200) / 2)
    summed = 3 * 100 + 8 * ((3 + 3) + 3 + 2 * 3)
    assert sync_time([3], 2, slow, forward="all_reduce") == pytest.approx(summed)


def test_a_published_measurement_lies_between_the_constants_and_three_times_them():
    """33.7 microseconds for eight A100 in a ring (NVIDIA/nccl-tests, issue 123)."""
    inside, _ = steps("all_reduce", "ring", 8)
    low = DGX_A100.start + inside * DGX_A100.inside
    assert low < 33.7 < 3 * low


class Bottleneck(nn.Module):
    def __init__(self, into, width, stride):
        super().__init__()
        out = 4 * width
        self.branch = nn.Sequential(
            *(nn.Conv2d(into, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)),
        )
        self.shortcut = nn.Identity()
        if into != out:
            self.shortcut = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        return torch.relu(self.branch(x) + self.shortcut(x))


def test_resnet50_has_the_shapes_of_a_network_that_is_built():
    """The network is known by its 25 557 032 parameters."""
    blocks, into = [], 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(count):
            blocks.append(Bottleneck(into, width, stride if block == 0 else 1))
            into = 4 * width
    stem = (nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    network = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))
    assert sum(values.numel() for values in network.parameters()) == 25_557_032

    seen = []
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda layer, inputs, output: seen.append(tuple(inputs[0].shape)))
    with torch.no_grad():
        network(torch.zeros(2, 3, 64, 64))
    assert resnet50(2, 64) == seen


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: steps("broadcast", "ring", 8),
            "expected collective to be one of all_gather, all_reduce, got 'broadcast'",
        ),
        (lambda: steps("all_gather", "tree", 8), "got 'tree' for all_gather"),
        (lambda: steps("all_reduce", "butterfly", 8), "got 'butterfly' for all_reduce"),
        (lambda: collective_time("all_reduce", 8, 12), "expected ranks to fill machines of 8"),
        (lambda: collective_time("all_reduce", 8, 0), "or to fit into one, got 0"),
        (lambda: sync_time([4], 8, forward="broadcast"), "expected forward to be one of"),
        (lambda: resnet50(1, 100), "expected pixels to be a multiple of 32, got 100"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
