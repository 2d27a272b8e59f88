"""Count what NumPy code does to memory: operations on each value, and how often an array comes and goes.

The code runs as it is, on arrays that note every function called on them. A cache is simulated beside it: what was
used last, up to a number of bytes, is at hand, and what has been pushed out has to be fetched again.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np

SMALL = 2**16
"""Arrays of fewer bytes, such as one value for each feature, are not counted."""


class Memory:
    """A cache that forgets what was used longest ago, and counts.

    Parameters
    ----------
    capacity : bytes that it holds.

    Attributes
    ----------
    read, written : bytes that came from memory, and bytes that were produced and have to go there.
    operations : values that were computed or added up.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.read = self.written = self.operations = 0
        self._held: OrderedDict[tuple[int, int], bool] = OrderedDict()

    def call(self, inputs: list[np.ndarray], outputs: list[np.ndarray]) -> None:
        """Note one function: its inputs are read, its outputs written."""
        large = [array for array in inputs if array.nbytes >= SMALL]
        for array in large:
            if not self._touch(array, changed=False):
                self.read += array.nbytes
        for array in outputs:
            if array.nbytes >= SMALL:
                self._touch(array, changed=True)
        self.operations += max((array.size for array in [*inputs, *outputs]), default=0)

    def flush(self) -> None:
        """Write back what was changed and is still held."""
        while self._held:
            self._forget()

    def _touch(self, array: np.ndarray, changed: bool) -> bool:
        """Move an array to the front; whether it was at hand."""
        place = array.__array_interface__["data"][0], array.nbytes
        held = place in self._held
        self._held[place] = changed or self._held.get(place, False)
        self._held.move_to_end(place)
        while sum(size for _, size in self._held) > self.capacity:
            self._forget()
        return held

    def _forget(self) -> None:
        (_, size), changed = self._held.popitem(last=False)
        self.written += size if changed else 0


class Watched(np.ndarray):
    """An array that reports to ``Watched.memory`` what is computed with it, and whose results do so too."""

    memory: Memory
    kept: list[np.ndarray]

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = (), **keyword: Any) -> Any:
        bare = [_bare(value) for value in inputs]
        if out:
            keyword["out"] = tuple(_bare(value) for value in out)
        result = getattr(ufunc, method)(*bare, **keyword)
        arrays = [value for value in bare if isinstance(value, np.ndarray)]
        # A result that is freed would lend its address to the next one, which would look as if it were at hand.
        Watched.kept.append(result)
        Watched.memory.call(arrays, [result] if isinstance(result, np.ndarray) else [])
        # Watched even where out= was a bare array, so that what is computed with it later is seen.
        return watched(result)


def watched(value: Any) -> Any:
    """The same array, watched; anything else as it is."""
    return value.view(Watched) if isinstance(value, np.ndarray) else value


def traffic(function: Callable[..., object], *arguments: np.ndarray, capacity: int) -> dict[str, float]:
    """What one call does, per value of its first argument.

    Returns
    -------
    operations : on each value.
    read, written : how often an array of that size comes from memory, and goes there.
    """
    Watched.memory, Watched.kept = Memory(capacity), []
    try:
        # These two would hand out bare arrays.
        with patch.object(np, "asarray", np.asanyarray), patch.object(np, "ascontiguousarray", np.asanyarray):
            function(*(watched(argument) for argument in arguments))
        Watched.memory.flush()
        first, memory = arguments[0], Watched.memory
        return {
            "operations": memory.operations / first.size,
            "read": memory.read / first.nbytes,
            "written": memory.written / first.nbytes,
        }
    finally:
        Watched.kept = []


def _bare(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, Watched) else value
