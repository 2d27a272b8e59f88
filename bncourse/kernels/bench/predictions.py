"""What was predicted before anything was measured on a device, and what the recorded rows say to it. Pure Python."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from bncourse import results
from bncourse.kernels import floor
from bncourse.kernels.bench.report import Reading, Row, factor, geometric_mean, percent, reading
from bncourse.kernels.bench.suite import DIRECTIONS, OURS

SHARE = 0.8
"""Predicted of a large batch: at least so much of a copy's speed."""

OF_TRAFFIC = 0.8
"""Predicted of a fused layer: at least so much of the advantage that counting bytes promises."""

NOISE = 0.03
"""Predicted of two names for the same code: no further apart than this."""

UNFUSED = ("PyTorch", "PyTorch native", "cuDNN")


class Found(NamedTuple):
    """What the rows say: whether the prediction held, and the number behind it.

    Attributes
    ----------
    held : whether it did.
    number : in words.
    """

    held: bool
    number: str


class Prediction(NamedTuple):
    """A statement made in advance.

    Attributes
    ----------
    says : the statement.
    check : takes the rows and the device's number of multiprocessors; None where no row can decide.
    """

    says: str
    check: Callable[[Sequence[Row], int], Found | None]


def verdicts(record: results.Record | None) -> Iterator[str]:
    """Every prediction with what the record says to it, two lines each.

    Parameters
    ----------
    record : of the race, or None.
    """
    for number, prediction in enumerate(PREDICTIONS, start=1):
        yield f"{number}. {prediction.says}"
        if record is None:
            yield "   not measured yet"
            continue
        cores = int(record.provenance.machine.get("multiprocessors", 0))
        found = prediction.check(record.outcome["rows"], cores)
        if found is None:
            yield "   no row decides it"
        else:
            yield f"   {'held' if found.held else 'did not hold'}: {found.number}"


def _share_of_copy(rows: Sequence[Row], cores: int) -> Found | None:
    found = [one.of_copy for row in _large(rows, "") for one in _readings(row, OURS)]
    if not found:
        return None
    middle = statistics.median(found)
    return Found(middle >= SHARE, f"{percent(middle)} in the median of {len(found)}")


def _fusion(rows: Sequence[Row], cores: int) -> Found | None:
    """Against the fastest that runs one function after another; both sides are geometric means over the same rows."""
    measured: list[float] = []
    counted: list[float] = []
    for row in _large(rows, "+add+relu"):
        for direction in DIRECTIONS:
            times = _medians(row, direction)
            others = [times[name] for name in UNFUSED if name in times]
            if OURS in times and others:
                measured.append(min(others) / times[OURS])
                eager, fused = (
                    floor.bytes_per_value(direction + row["fusion"], row["dtype"], design)
                    for design in ("eager", "two-pass")
                )
                counted.append(eager / fused)
    if not measured:
        return None
    got, promised = geometric_mean(measured), geometric_mean(counted)
    return Found(got >= OF_TRAFFIC * promised, f"{factor(got)}, where the bytes promise {factor(promised)}")


def _nearest(rows: Sequence[Row], cores: int) -> Found | None:
    best = [one.best for row in rows if row["fusion"] for one in _readings(row, OURS) if one.best]
    if not best:
        return None
    compiled = sum(name.startswith("torch.compile") for name in best)
    return Found(2 * compiled > len(best), f"in {compiled} of {len(best)}")


def _starved(rows: Sequence[Row], cores: int) -> Found | None:
    """How many times as fast as one program for each channel we are, with few channels and with enough."""
    few: list[float] = []
    enough: list[float] = []
    for row in _large(rows, ""):
        for direction in DIRECTIONS:
            times = _medians(row, direction)
            if {OURS, "one program per channel"} <= times.keys():
                behind = times["one program per channel"] / times[OURS]
                (few if row["shape"][1] < cores else enough).append(behind)
    if not few or not enough:
        return None
    less, more = geometric_mean(enough), geometric_mean(few)
    return Found(more > less, f"{factor(more)} with fewer, {factor(less)} with as many or more")


def _same_code(rows: Sequence[Row], cores: int) -> Found | None:
    """Pairs of names behind which the same code runs: what they differ by is the noise of the race."""
    ratios = []
    for row in rows:
        for direction in DIRECTIONS:
            times = _medians(row, direction)
            if row.get("selected") == "Native" and {"PyTorch", "PyTorch native"} <= times.keys():
                ratios.append(times["PyTorch"] / times["PyTorch native"])
    if not ratios:
        return None
    apart = statistics.median(abs(ratio - 1) for ratio in ratios)
    return Found(apart <= NOISE, f"{100 * apart:.1f}% apart in the median of {len(ratios)}")


def _narrow(rows: Sequence[Row], cores: int) -> Found | None:
    """Maps with an odd number of positions: where those lie side by side, the compiler loads one value at a time."""
    times: dict[tuple[object, ...], dict[str, float]] = {}
    for row in rows:
        if math.prod(row["shape"][2:]) % 2 and len(row["shape"]) > 2:
            for direction in DIRECTIONS:
                own = _medians(row, direction).get(OURS)
                if own is not None:
                    case = (*row["shape"], row["dtype"], row["fusion"], direction)
                    times.setdefault(case, {})[row["format"]] = own
    both = [by["channels_first"] / by["channels_last"] for by in times.values() if len(by) == 2]
    if not both:
        return None
    ratio = geometric_mean(both)
    return Found(ratio > 1, f"{factor(ratio)} as long, over {len(both)} pairs")


def _instructions(rows: Sequence[Row], cores: int) -> Found | None:
    """Bytes of bfloat16 leave less time than the statistics' instructions take, those of float32 more (chapter 3.5)."""
    shares: dict[tuple[object, ...], dict[str, float]] = {}
    for row in _large(rows, ""):
        found = reading(row, "forward")
        if found is not None and not math.isnan(found.of_copy):
            shares.setdefault((*row["shape"], row["format"]), {})[row["dtype"]] = found.of_copy
    both = [by for by in shares.values() if {"bfloat16", "float32"} <= by.keys()]
    if not both:
        return None
    narrow, wide = (geometric_mean(by[dtype] for by in both) for dtype in ("bfloat16", "float32"))
    return Found(narrow < wide, f"{percent(wide)} in float32, {percent(narrow)} in bfloat16, over {len(both)} pairs")


PREDICTIONS = (
    Prediction(
        f"Alone and in batches larger than the cache: {percent(SHARE)} of a copy's speed or more", _share_of_copy
    ),
    Prediction(f"Fused with a sum and a ReLU: {percent(OF_TRAFFIC)} or more of what the bytes promise", _fusion),
    Prediction("Fused, the fastest of the others is torch.compile, in most rows", _nearest),
    Prediction("One program per channel lags more with fewer channels than multiprocessors", _starved),
    Prediction(
        f"PyTorch and its native kernels, where they are the same, differ by {percent(NOISE)} or less", _same_code
    ),
    Prediction("Maps of 7 by 7 take us longer with channels first than with channels last", _narrow),
    Prediction("Forward, alone and large, we are nearer to a copy's speed in float32 than in bfloat16", _instructions),
)


def _large(rows: Iterable[Row], fusion: str) -> Iterator[Row]:
    """Rows of this fusion with more bytes than the cache has: the suite times those in the cold state only."""
    for row in rows:
        states = {state for one in DIRECTIONS for state in row.get(one, {}).get("peers", {}).get(OURS, {})}
        if row["fusion"] == fusion and states == {"cold"}:
            yield row


def _readings(row: Row, of: str) -> Iterator[Reading]:
    found = (reading(row, direction, of=of) for direction in DIRECTIONS)
    yield from (one for one in found if one is not None)


def _medians(row: Row, direction: str) -> dict[str, float]:
    """Microseconds of everyone, with the data not in the cache before."""
    peers = row.get(direction, {}).get("peers", {})
    return {name: times["cold"][1] for name, times in peers.items() if "cold" in times}
