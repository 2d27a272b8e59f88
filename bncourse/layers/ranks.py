"""What ranks tell each other: rows of numbers side by side, or their sum, and errors that say where to look."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import Tensor

PRIME = 2**31 - 1
"""Names are compared by their remainder, a number that float64 holds."""


@dataclass(frozen=True)
class Ranks:
    """The ranks of a process group, seen from one of them and by one layer.

    Attributes
    ----------
    group : the process group.
    layer : what errors call the layer.
    """

    group: dist.ProcessGroup
    layer: str

    @property
    def count(self) -> int:
        return dist.get_world_size(self.group)

    def gather(self, row: Tensor) -> Tensor:
        """The rows of all ranks, (ranks, K), in the same order on each of them. A row is (K,).

        Raises
        ------
        RuntimeError : if a rank does not take part; after the group's timeout, if it is alive.
        """
        rows = row.new_empty(self.count, len(row))
        with self._explained("forward"):
            dist.all_gather(list(rows.unbind()), row, self.group)
        return rows

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the ranks, in place. Raises as :meth:`gather` does."""
        with self._explained("backward"):
            dist.all_reduce(values, group=self.group)
        return values

    @contextmanager
    def _explained(self, direction: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RuntimeError(
                f"{self.layer}: rank {dist.get_rank(self.group)} of {self.count} waited in vain for the others in the "
                f"{direction} pass. One of them may have stopped with an error (look for the first error of all "
                "ranks), may make fewer steps (a rank without data takes part with an empty batch), may take another "
                "way through the model, or may need longer than the process group's timeout. What was reported here "
                f"is: {error}"
            ) from error


@dataclass
class _Roll:
    """The layers that have met in a process group, by number."""

    last: int = 0
    numbers: WeakKeyDictionary[torch.nn.Module, int] = field(default_factory=WeakKeyDictionary)


_rolls: WeakKeyDictionary[dist.ProcessGroup, _Roll] = WeakKeyDictionary()


def number_of(layer: torch.nn.Module, name: str, ranks: Ranks, device: torch.device, **settings: float) -> int:
    """A layer's number, the same on every rank and another one for every layer of the group.

    At a layer's first call the ranks gather what they must agree about before they can gather anything else: rows of
    ``num_features`` numbers, say. Beside it they gather the name, as a number, and how many layers each has numbered
    so far. Afterwards the number is at hand.

    Raises
    ------
    ValueError : if a setting differs, on every rank.
    RuntimeError : if the name differs.
    """
    roll = _rolls.setdefault(ranks.group, _Roll())
    if layer not in roll.numbers:
        mine = [roll.last, int.from_bytes(name.encode(), "big") % PRIME, *settings.values()]
        rows = ranks.gather(torch.tensor(mine, dtype=torch.float64, device=device))
        last, names, *columns = rows.T.tolist()
        check_same_layer(names, ranks)
        for setting, column in zip(settings, columns, strict=True):
            if len(set(column)) > 1:
                raise ValueError(f"{ranks.layer}: expected the same {setting} on every rank, got {column}")
        roll.last = int(max(last)) + 1
        roll.numbers[layer] = roll.last
    return roll.numbers[layer]


def check_same_layer(marks: list[float], ranks: Ranks) -> None:
    """Raise a RuntimeError, on every rank, if the ranks sent the marks of different layers."""
    here = dist.get_rank(ranks.group)
    elsewhere = [rank for rank, mark in enumerate(marks) if mark != marks[here]]
    if elsewhere:
        raise RuntimeError(
            f"{ranks.layer}: while rank {here} is in this layer, ranks {elsewhere} are in another one. "
            "Ranks must call a model's synchronized layers in the same order"
        )


def ranks_of(process_group: dist.ProcessGroup | None, layer: str) -> Ranks | None:
    """The ranks to synchronize with, or None where there is no other one.

    Raises
    ------
    ValueError : if this rank is not in the group.
    """
    if not dist.is_available() or not dist.is_initialized():
        return None
    group = process_group or dist.group.WORLD
    assert group is not None
    ranks = Ranks(group, layer)
    if ranks.count < 1:
        raise ValueError(f"{layer}: expected a process_group with this rank in it, which is rank {dist.get_rank()}")
    return ranks if ranks.count > 1 else None
