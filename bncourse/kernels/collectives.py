"""The time of collectives, counted: what the ranks of a group send each other, in how many steps, and for how long.

Pure Python, as :mod:`bncourse.kernels.floor`. A collective's time is a constant, a latency for each step, and the bytes
that pass a rank's link over the link's rate: the alpha-beta model (R. Thakur, R. Rabenseifner and W. Gropp,
Optimization of Collective Communication Operations in MPICH, International Journal of High Performance Computing
Applications 19(1), 2005). :class:`Network` holds such constants, and ``DGX_A100`` those with which NCCL chooses between
its own algorithms (``src/graph/tuning.cc``, functions ``ncclTopoTuneModel`` and ``getNetOverhead``).
:func:`gathered_bytes` and :func:`summed_bytes` are what :class:`bncourse.layers.SyncBatchNorm` sends, forward and
backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

COLLECTIVES = ("all_gather", "all_reduce")


@dataclass(frozen=True)
class Network:
    """Constants of the ranks' connections: microseconds, and bytes per second.

    Attributes
    ----------
    ranks_per_node : ranks that share a machine.
    start : of a collective, before anything is sent.
    inside : a step between ranks of one machine.
    ring_inside : the same in a ring that also leaves the machine. There it is the overhead of posting to the network
        that counts, as it does in NCCL's model.
    ring_outside, tree_outside : a step between machines, in a ring and in a tree.
    rates : bytes per second that pass a rank in one machine, in two, and in more.
    source : where the constants come from.
    """

    ranks_per_node: int
    start: float
    inside: float
    ring_inside: float
    ring_outside: float
    tree_outside: float
    rates: tuple[float, float, float]
    source: str

    def slower(self, factor: float) -> Network:
        """The same network with each latency multiplied by ``factor``; the rates stay.

        Parameters
        ----------
        factor : above 1 for a slower network.
        """
        names = ("start", "inside", "ring_inside", "ring_outside", "tree_outside")
        return replace(self, **{name: factor * getattr(self, name) for name in names})


DGX_A100 = Network(
    ranks_per_node=8,
    start=6.7,
    inside=0.6,
    ring_inside=2.0,
    ring_outside=2.7,
    tree_outside=5.0,
    rates=(87.7e9, 22.5e9, 19.0e9),
    source="NCCL, src/graph/tuning.cc: tables baseLat, hwLat and llMaxBws, protocol LL, Ampere, processors of AMD",
)
"""Eight A100 a machine on NVLink, machines on InfiniBand: what NCCL itself assumes of small messages.

Its start is 6.6 in a ring and 6.8 in a tree. LL is its protocol for small messages: half of what is sent are flags,
hence the low rates.
"""


def steps(collective: str, algorithm: str, ranks: int, ranks_per_node: int = 8) -> tuple[int, int]:
    """How many steps follow one another inside a machine, and how many between machines.

    A ring passes every part on to the next rank. A tree has a chain in each machine and a binary tree over the
    machines, and is walked up and down. Its levels are rounded down, as in NCCL.

    Parameters
    ----------
    collective : ``all_gather`` or ``all_reduce``.
    algorithm : ``ring`` or ``tree``.
    ranks : that take part.
    ranks_per_node : ranks that share a machine.

    Raises
    ------
    ValueError : for an unknown collective or algorithm, for a gathering tree, and for ranks that do not fill machines.
    """
    if collective not in COLLECTIVES:
        raise ValueError(f"expected collective to be one of {', '.join(COLLECTIVES)}, got {collective!r}")
    if algorithm not in ("ring", "tree") or (collective, algorithm) == ("all_gather", "tree"):
        raise ValueError(f"expected algorithm to be ring, or tree for all_reduce, got {algorithm!r} for {collective}")
    nodes = _nodes(ranks, ranks_per_node)
    if algorithm == "tree":
        return 2 * (ranks // nodes - 1), 2 * (nodes.bit_length() - 1)
    rounds = 2 if collective == "all_reduce" else 1
    return rounds * (ranks - nodes), rounds * (nodes - 1)


def _nodes(ranks: int, ranks_per_node: int) -> int:
    if ranks < 1 or (ranks > ranks_per_node and ranks % ranks_per_node):
        raise ValueError(f"expected ranks to fill machines of {ranks_per_node}, or to fit into one, got {ranks}")
    return max(1, ranks // ranks_per_node)


def wire_bytes(collective: str, size: int, ranks: int) -> float:
    """Bytes that pass a rank's link, in and out alike.

    In an all-gather the parts of all other ranks arrive. In an all-reduce W - 1 of the W pieces pass twice, before and
    after they are complete.

    Parameters
    ----------
    collective : ``"all_gather"`` or ``"all_reduce"``.
    size : bytes that each rank brings in.
    ranks : in the group.
    """
    if collective == "all_gather":
        return (ranks - 1) * size
    return 2 * size * (ranks - 1) / ranks


def collective_time(collective: str, size: int, ranks: int, network: Network = DGX_A100) -> float:
    """Microseconds for one collective over all ranks, by the faster algorithm.

    Parameters
    ----------
    collective : ``"all_gather"`` or ``"all_reduce"``.
    size : bytes that each rank brings in.
    ranks : in the group; either within one machine or filling machines.
    network : its constants.

    Raises
    ------
    ValueError : as :func:`steps`.
    """
    algorithms = ("ring", "tree") if collective == "all_reduce" else ("ring",)
    latency = min(_latency(collective, algorithm, ranks, network) for algorithm in algorithms)
    nodes = _nodes(ranks, network.ranks_per_node)
    return latency + 1e6 * wire_bytes(collective, size, ranks) / network.rates[min(nodes, 3) - 1]


def _latency(collective: str, algorithm: str, ranks: int, network: Network) -> float:
    inside, outside = steps(collective, algorithm, ranks, network.ranks_per_node)
    if not inside + outside:
        return 0.0
    if algorithm == "tree":
        return network.start + inside * network.inside + outside * network.tree_outside
    one_machine = ranks <= network.ranks_per_node
    return (
        network.start
        + inside * (network.inside if one_machine else network.ring_inside)
        + outside * network.ring_outside
    )


def gathered_bytes(channels: int, value: int = 8) -> int:
    """Bytes of a rank's row on the way forward: a mean and a sum of squares for each channel, and three numbers more.

    These are the count of values, whether a gradient is wanted, and the number of the layer.

    Parameters
    ----------
    channels : of the layer.
    value : bytes of a number; 8, since the layer sends float64.
    """
    return value * (2 * channels + 3)


def summed_bytes(channels: int, value: int = 8) -> int:
    """Bytes that are summed over the ranks on the way back: of ``dy`` and of ``dy * x_hat``, for each channel.

    Parameters
    ----------
    channels : C.
    value : bytes of a number.
    """
    return value * 2 * channels


def sync_time(
    channels: Sequence[int], ranks: int, network: Network = DGX_A100, forward: str = "all_gather", value: int = 8
) -> float:
    """Microseconds that a training step waits for the statistics of its batch norm layers.

    Nothing can hide it: a layer's output needs its statistics, and the next layer needs its output. So the layers'
    times add up.

    Parameters
    ----------
    channels : of each layer.
    ranks, network : as :func:`collective_time`.
    forward : ``"all_gather"``, of count, mean and sum of squares in one collective; or ``"all_reduce"``, twice: the
        counts and sums, then the squares about the common mean.
    value : bytes of a number.

    Raises
    ------
    ValueError : as :func:`steps`, and for another ``forward``.
    """
    if forward not in COLLECTIVES:
        raise ValueError(f"expected forward to be one of {', '.join(COLLECTIVES)}, got {forward!r}")
    total = 0.0
    for width in channels:
        if forward == "all_gather":
            total += collective_time("all_gather", gathered_bytes(width, value), ranks, network)
        else:
            total += collective_time("all_reduce", value * (width + 3), ranks, network)
            total += collective_time("all_reduce", value * width, ranks, network)
        total += collective_time("all_reduce", summed_bytes(width, value), ranks, network)
    return total


def resnet50(images: int = 1, pixels: int = 224) -> list[tuple[int, int, int, int]]:
    """Shapes that the 53 batch norm layers of ResNet-50 see, in order; the stride is in the 3 by 3 convolutions.

    Parameters
    ----------
    images : N, of the first axis.
    pixels : height and width of an image.

    Raises
    ------
    ValueError : if ``pixels`` is not a multiple of 32.
    """
    if pixels % 32:
        raise ValueError(f"expected pixels to be a multiple of 32, got {pixels}")
    shapes, side = [(images, 64, pixels // 2, pixels // 2)], pixels // 4
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for block in range(blocks):
            before = side
            if block == 0 and stage > 0:
                side //= 2
            shapes.append((images, width, before, before))
            shapes += [(images, width, side, side), (images, 4 * width, side, side)]
            if block == 0:  # the shortcut has a projection with a norm of its own
                shapes.append((images, 4 * width, side, side))
    return shapes
