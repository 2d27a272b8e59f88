"""Timing functions on a GPU against each other: rotating data, captured graphs, rounds in turn, medians."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import gc
import math
import statistics
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch

Call = Callable[[], object]
Plan = Callable[[], float]
"""Runs what was planned once, and says how many microseconds a call took."""

MAX_SETS = 256
"""Sets of data over which a function rotates at most."""

REPLAY = 400.0
"""Microseconds that one timed stretch lasts at least, roughly: long against the clock's resolution."""


class Timer(Protocol):
    """What the suite needs of a device."""

    l2: int
    """Bytes of its cache."""

    def plan(self, calls: Sequence[Call], sets: int) -> tuple[Plan, bool]:
        """Prepare to run these calls in a row, of which ``sets`` in a row use different data.

        Returns
        -------
        plan : what to run for a measurement.
        captured : whether the calls are in a graph, so that launching them costs nothing.
        """

    def alive(self) -> bool:
        """Whether the device still answers, after something failed."""

    def release(self) -> None:
        """Give back memory that nobody uses."""


class GpuTimer:
    """Times captured graphs by events; where a function cannot be captured, the bare calls.

    It takes the process to a stream of its own: what a graph captures has to run on one that is not the default, and a
    backward pass runs where its forward pass did.

    Parameters
    ----------
    device : a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.l2 = int(torch.cuda.get_device_properties(device).L2_cache_size)
        self.stream = torch.cuda.Stream(device)
        torch.cuda.set_stream(self.stream)
        self._start, self._end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def plan(self, calls: Sequence[Call], sets: int) -> tuple[Plan, bool]:
        """As :class:`Timer`."""
        # Compiles, chooses and allocates what the first calls do; a second time, for what happens only then.
        for call in (*calls[:sets], calls[0]):
            call()
        torch.cuda.synchronize(self.device)
        kept: list[object] = [None] * sets

        def run() -> None:
            for index, call in enumerate(calls):
                # Kept until its turn comes again, so that results rotate as the data does.
                kept[index % sets] = call()

        captured = True
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self.stream):
                run()
            again: Call = graph.replay
        except Exception:
            torch.cuda.synchronize(self.device)
            captured, again = False, run

        return partial(self._stretch, again, len(calls), kept), captured

    def _stretch(self, again: Call, calls: int, kept: list[object]) -> float:
        """Microseconds a call. ``kept`` are the results, which live as long as the graph that writes to them."""
        # The first one is not timed: it keeps the GPU at work until the second one is on its way.
        again()
        self._start.record(self.stream)
        again()
        self._end.record(self.stream)
        self._end.synchronize()
        return 1e3 * float(self._start.elapsed_time(self._end)) / calls

    def alive(self) -> bool:
        """As :class:`Timer`. An illegal access leaves a process without its GPU for good."""
        try:
            torch.cuda.synchronize(self.device)
        except Exception:
            return False
        return True

    def release(self) -> None:
        """As :class:`Timer`."""
        gc.collect()
        torch.cuda.empty_cache()


def rotation(nbytes: int, l2: int) -> int | None:
    """How many sets of data of so many bytes it takes to find none in the cache: at least two, at least twice its size.

    None where that would be more than ``MAX_SETS``: data that small stays in the cache.

    Parameters
    ----------
    nbytes : of one set of data.
    l2 : bytes of the GPU's second cache.
    """
    sets = max(2, math.ceil(2 * l2 / max(nbytes, 1)))
    return sets if sets <= MAX_SETS else None


def repeats(sets: int, nbytes: int) -> int:
    """How often to go round, so that a stretch lasts about ``REPLAY``, at the speed of a fast GPU."""
    guess = max(3.0, nbytes / 3e6)
    return max(1, math.ceil(REPLAY / (sets * guess)))


def race(plans: dict[str, Plan], rounds: int) -> dict[str, list[float]]:
    """Run all plans in every round, each time beginning with another one: what drifts, drifts for all.

    Parameters
    ----------
    plans : what to time, by name.
    rounds : how often.
    """
    times: dict[str, list[float]] = {name: [] for name in plans}
    names = list(plans)
    for turn in range(rounds):
        shift = turn % len(names) if names else 0
        for name in names[shift:] + names[:shift]:
            times[name].append(plans[name]())
    return times


def quartiles(values: Sequence[float]) -> list[float]:
    """The lower quartile, the median and the upper quartile, in microseconds to the nanosecond.

    Parameters
    ----------
    values : times in microseconds.
    """
    if len(values) == 1:
        return [round(values[0], 3)] * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return [round(value, 3) for value in (low, middle, high)]


def describe(error: BaseException) -> str:
    """What went wrong, in one line that is not too long for a table of results."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


def machine(device: torch.device) -> dict[str, Any]:
    """The GPU, its driver and its clocks, as far as they can be read."""
    properties = torch.cuda.get_device_properties(device)
    found: dict[str, Any] = {
        "gpu": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "compute capability": f"{properties.major}.{properties.minor}",
        "memory MiB": properties.total_memory // 2**20,
        "L2 MiB": int(properties.L2_cache_size) // 2**20,
        "CUDA": str(torch.version.cuda),
        "cuDNN": int(torch.backends.cudnn.version() or 0),
    }
    fields = {"driver_version": "driver", "clocks.max.sm": "max SM clock", "clocks.max.memory": "max memory clock"}
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader", "-i", str(device.index or 0)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
        found |= dict(zip(fields.values(), done.stdout.strip().split(", "), strict=True))
    except (OSError, ValueError, subprocess.SubprocessError):
        found["driver"] = "unknown"
    return found
