"""Memory for a kernel in Triton's interpreter: every read and write of it is looked at.

Each array lies at an address of its own that no other array is near, however far a pointer strays. What is read outside
an array is a number that could be somebody's, what is written there is dropped, and both are noted. So are values that
nobody writes, values that are read before, inputs that are written over, and places at which two programs meet: these
the interpreter, which runs one program after the other, cannot show. Nor does it show that a masked load without
`other` leaves lanes undefined: it puts 0 there. Here they hold what a launch is told to put there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from bncourse.exercises.probe import Empty, Stray

# Addresses are shared out in regions of this many bits; an array begins in the middle of its own.
REGION_BITS = 40
MIDDLE = 1 << (REGION_BITS - 1)
NEIGHBOUR = 1e4
NOBODY = -1


class Memory:
    """The arrays among the arguments of a launch.

    Parameters
    ----------
    arguments : by name; arrays are inputs, and every :class:`Empty` becomes an array of NaN.
    undefined : what a masked lane of a load without `other` holds.

    Attributes
    ----------
    left_undefined : whether there has been such a lane.
    """

    def __init__(self, arguments: Mapping[str, Any], undefined: float = 0.0) -> None:
        self.undefined, self.left_undefined = undefined, False
        self._arrays: list[_Array] = []
        self._by_name: dict[str, _Array] = {}
        for name, value in arguments.items():
            if isinstance(value, np.ndarray | Empty):
                array = _Array(name, value, ((len(self._arrays) + 1) << REGION_BITS) + MIDDLE)
                self._arrays.append(array)
                self._by_name[name] = array

    def argument(self, name: str, value: Any) -> Any:
        """What a kernel gets for an argument: the address of an array, and everything else as it is."""
        return self._by_name.get(name, value)

    def read(self, name: str) -> np.ndarray:
        """The present values of an array, in float32 at least."""
        data = self._by_name[name].data
        return data.astype(np.promote_types(data.dtype, np.float32))

    def strays(self, results: tuple[str, ...]) -> tuple[Stray, ...]:
        """Everything that was noted, and which values of the results nobody wrote."""
        found = []
        for array in self._arrays:
            found += [Stray(kind, array.name, count, place) for kind, (count, place) in array.noted.items()]
            if array.name in results and not array.written.all():
                missing = np.flatnonzero(~array.written)
                found.append(Stray("left_out", array.name, missing.size, int(missing[0])))
        return tuple(found)

    def changed(self, other: Memory, results: tuple[str, ...]) -> tuple[Stray, ...]:
        """Where results are not what they are in ``other``, after the same launches with other undefined lanes."""
        found = []
        for name in results:
            one, two = self.read(name).ravel(), other.read(name).ravel()
            places = np.flatnonzero((one != two) & ~(np.isnan(one) & np.isnan(two)))
            if places.size:
                found.append(Stray("lanes_undefined", name, places.size, int(places[0])))
        return tuple(found)

    @contextmanager
    def launch(self) -> Iterator[None]:
        """Let the interpreter's reads and writes, during one launch, go to these arrays."""
        from triton.runtime import interpreter, jit

        for array in self._arrays:
            array.writer[:] = NOBODY
        builder = interpreter.interpreter_builder
        native, mangle_type, options = interpreter._interpreter, jit.mangle_type, builder.options
        semantic = interpreter.TritonSemantic
        native_load = semantic.load
        watch = _Watch(native, builder, self, self._arrays)

        # What the builder is told does not do: of a block of one value, `other=0.0` does not get there.
        def load(own: Any, pointer: Any, mask: Any, other: Any, boundary: Any, padding: Any, *options: Any) -> Any:
            watch.undefined = other is None and not padding
            try:
                return native_load(own, pointer, mask, other, boundary, padding, *options)
            finally:
                watch.undefined = False

        interpreter._interpreter, semantic.load = watch, load
        jit.mangle_type = _type_of
        # A GPU does not ask of every sum of integers whether it overflows, and asking takes half of the time here.
        builder.options = replace(options, sanitize_overflow=False)
        try:
            yield
        finally:
            interpreter._interpreter, jit.mangle_type, builder.options = native, mangle_type, options
            semantic.load = native_load


class _Array:
    """One array, and as much of a tensor's interface as Triton's interpreter asks for."""

    def __init__(self, name: str, value: np.ndarray | Empty, address: int) -> None:
        self.name, self.address = name, address
        self.is_input = isinstance(value, np.ndarray)
        if isinstance(value, Empty):
            self.data = np.full(value.shape, np.nan, value.dtype)
        else:
            self.data = np.array(value, order="C")
        self.written = np.full(self.data.size, self.is_input)
        self.writer = np.full(self.data.size, NOBODY)
        self.noted: dict[str, tuple[int, int]] = {}

    def note(self, kind: str, places: np.ndarray) -> None:
        """Count these places under ``kind``, and remember the very first of them."""
        if places.size:
            count, first = self.noted.get(kind, (0, int(places[0])))
            self.noted[kind] = count + places.size, first

    def data_ptr(self) -> int:
        return self.address

    # The interpreter copies what a launch is given to the CPU and back. This is there already.
    def untyped_storage(self) -> _Array:
        return self

    def cpu(self) -> _Array:
        return self

    def copy_(self, other: _Array) -> None:
        pass

    def new_empty(self, *size: int, device: str) -> _Array:
        return self

    def set_(self, storage: _Array, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        pass

    def storage_offset(self) -> int:
        return 0

    def size(self) -> tuple[int, ...]:
        return self.data.shape

    def stride(self) -> tuple[int, ...]:
        return tuple(step // self.data.itemsize for step in self.data.strides)


def _type_of(argument: _Array | int, specialize: bool = False) -> str:
    """Triton's name for the type of an argument. Its own function would load PyTorch to see whether it is a tensor."""
    if isinstance(argument, _Array):
        return f"*fp{8 * argument.data.itemsize}"
    return "i32" if -(2**31) <= argument < 2**31 else "i64"


class _Watch:
    """Stands in for the interpreter's own access to memory.

    Attributes
    ----------
    undefined : whether the present load says nothing of its masked lanes.
    """

    def __init__(self, native: Any, builder: Any, memory: Memory, arrays: list[_Array]) -> None:
        self._native, self._builder, self._memory, self._arrays = native, builder, memory, arrays
        self.undefined = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._native, name)

    def load(self, pointers: np.ndarray, mask: np.ndarray, other: np.ndarray, dtype: Any) -> np.ndarray:
        mask = np.asarray(mask)  # of a block pointer it is a view of memory
        addresses, inside = self._look(pointers, mask, reads=True, writes=False)
        values: np.ndarray = self._native.load(addresses, inside, other, dtype)
        values[mask & ~inside] = NEIGHBOUR
        if self.undefined and not mask.all() and np.issubdtype(values.dtype, np.floating):
            self._memory.left_undefined = True
            values[~mask] = self._memory.undefined
        return values

    def store(self, pointers: np.ndarray, values: np.ndarray, mask: np.ndarray) -> Any:
        addresses, inside = self._look(pointers, mask, reads=False, writes=True)
        return self._native.store(addresses, values, inside)

    def atomic_rmw(
        self, operation: Any, pointers: np.ndarray, values: np.ndarray, mask: np.ndarray, order: Any
    ) -> np.ndarray:
        addresses, inside = self._look(pointers, mask, reads=True, writes=True, atomic=True)
        result: np.ndarray = self._native.atomic_rmw(operation, addresses, values, inside, order)
        return result

    def atomic_cas(self, *arguments: Any) -> np.ndarray:
        raise ValueError("tl.atomic_cas is not supported by this check: no two programs need to write to one place")

    def _look(
        self, pointers: np.ndarray, mask: np.ndarray, *, reads: bool, writes: bool, atomic: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """The true addresses, and the lanes of ``mask`` that lie inside an array; everything else is noted."""
        addresses, inside = np.zeros_like(pointers), np.zeros(pointers.shape, bool)
        regions = (pointers >> np.uint64(REGION_BITS)).astype(np.int64) - 1
        if ((regions[mask] < 0) | (regions[mask] >= len(self._arrays))).any():
            raise ValueError("an address was used that belongs to no array: a place is one pointer plus whole numbers")
        program = self._program()
        for number in np.unique(regions[mask]):
            array = self._arrays[number]
            lanes = mask & (regions == number)
            places = (pointers[lanes].astype(np.int64) - array.address) // array.data.itemsize
            known = (places >= 0) & (places < array.data.size)
            array.note("written_outside" if writes else "read_outside", places[~known])
            inside[lanes] = known
            places = places[known]
            addresses[inside & lanes] = array.data.ctypes.data + places * array.data.itemsize
            if reads:
                array.note("read_unwritten", places[~array.written[places]])
            if not atomic:
                met = array.writer[places]
                array.note("race", places[(met != NOBODY) & (met != program)])
            if writes:
                if array.is_input:
                    array.note("in_place", places)
                array.written[places] = True
                if not atomic:
                    array.writer[places] = program
        return addresses, inside

    def _program(self) -> int:
        (x, y, z), (_, height, depth) = self._builder.grid_idx, self._builder.grid_dim
        return int((x * height + y) * depth + z)
