"""Ranks of a distributed run as threads of one process: the same program for each, and collectives between them.

Each rank has its own copy of the network and its own data, and whatever it learns of the others goes through
:meth:`Rank.all_reduce`, as in ``torch.distributed``. What would hang there, because one rank waits in a collective that
another never joins, is an error here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

T = TypeVar("T")


class RanksError(RuntimeError):
    """The ranks do not meet in a collective: on a cluster the run would hang, until its timeout."""


class Rank:
    """What a rank knows of the group.

    Attributes
    ----------
    index : which rank this is, from 0.
    size : how many there are.
    """

    def __init__(self, index: int, group: _Group) -> None:
        self.index = index
        self.size = group.size
        self._group = group

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """The sum of what all ranks give, on each of them; gradients come back as the sum of all ranks' gradients.

        Raises
        ------
        RanksError : if another rank has ended, or gives a tensor of another shape.
        """
        total: Tensor = _AllReduce.apply(tensor, self)  # type: ignore[no-untyped-call]
        return total

    def _sum(self, tensor: Tensor) -> Tensor:
        given = self._group.exchange(self.index, tensor.detach().clone())
        shapes = [tuple(each.shape) for each in given]
        if len(set(shapes)) > 1:
            listed = ", ".join(f"rank {rank} gives {shape}" for rank, shape in enumerate(shapes))
            raise RanksError(f"the ranks meet in different calls of all_reduce: {listed}")
        return torch.stack(given).sum(dim=0)


class _AllReduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, rank: Rank) -> Tensor:
        ctx.rank = rank
        return rank._sum(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.rank._sum(gradient), None


class SyncBatchNorm(nn.BatchNorm1d):
    """``BatchNorm1d`` over the batches of all ranks together, of whatever size they are.

    Parameters
    ----------
    num_features : C.
    rank : what :func:`run_ranks` gives to the worker that uses the layer.
    """

    def __init__(self, num_features: int, rank: Rank) -> None:
        super().__init__(num_features)
        self.rank = rank

    def forward(self, input: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        if not self.training:
            return super().forward(input)
        count = self.rank.all_reduce(torch.tensor(float(len(input))))
        mean = self.rank.all_reduce(input.sum(dim=0)) / count
        var = self.rank.all_reduce((input - mean).square().sum(dim=0)) / count
        assert self.running_mean is not None
        assert self.running_var is not None
        with torch.no_grad():
            self.running_mean.lerp_(mean, 0.1)
            self.running_var.lerp_(var * count / (count - 1), 0.1)
        return self.weight * (input - mean) * torch.rsqrt(var + self.eps) + self.bias

    def __deepcopy__(self, memo: dict[int, Any]) -> nn.BatchNorm1d:
        """A copy is for evaluation, and belongs to no group."""
        copied = nn.BatchNorm1d(self.num_features)
        copied.load_state_dict(self.state_dict())
        return copied.train(self.training)


def run_ranks(worker: Callable[[Rank], T], size: int = 2) -> list[T]:
    """Call ``worker`` on so many ranks at once; what each returned, in their order.

    Parameters
    ----------
    worker : is called with its :class:`Rank`, in a thread of its own.
    size : number of ranks.

    Raises
    ------
    RanksError : if they do not meet in a collective. What else a worker raises is raised here.

    Examples
    --------
    >>> from bncourse.clinic import run_ranks
    >>> run_ranks(lambda rank: rank.index, size=3)
    [0, 1, 2]
    """
    group = _Group(size)
    returned: dict[int, T] = {}
    raised: dict[int, BaseException] = {}

    def run(index: int) -> None:
        try:
            returned[index] = worker(Rank(index, group))
        except BaseException as error:
            raised[index] = error
        finally:
            group.leave(index)

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A rank that waits for one that has failed only tells of it.
    causes = sorted(raised.values(), key=lambda error: isinstance(error, RanksError))
    if causes:
        raise causes[0]
    return [returned[index] for index in range(size)]


class _Group:
    """Where the ranks meet: each gives something and waits for what the others give."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._meeting = threading.Condition()
        self._number = 0
        self._given: dict[int, Tensor] = {}
        self._last: list[Tensor] = []
        self._left: set[int] = set()

    def exchange(self, index: int, tensor: Tensor) -> list[Tensor]:
        with self._meeting:
            number = self._number
            self._given[index] = tensor
            if len(self._given) == self.size:
                self._last = [self._given[rank] for rank in range(self.size)]
                self._given = {}
                self._number += 1
                self._meeting.notify_all()
            while number == self._number:
                if self._left:
                    ended = ", ".join(str(rank) for rank in sorted(self._left))
                    raise RanksError(
                        f"rank {index} waits in all_reduce number {number + 1}, and rank {ended} has ended: "
                        "on a cluster it would wait until the timeout"
                    )
                self._meeting.wait()
            return self._last

    def leave(self, index: int) -> None:
        with self._meeting:
            self._left.add(index)
            self._meeting.notify_all()
