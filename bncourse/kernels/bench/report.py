"""Reading rows of results: speeds, shares of a copy's speed, ratios, and the printed table. Pure Python."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from bncourse.kernels import floor
from bncourse.kernels.bench.suite import DIRECTIONS, FUSIONS, OURS, SHAPES

Row = dict[str, Any]


class Reading(NamedTuple):
    """What one direction of a row says, from medians.

    Attributes
    ----------
    microseconds : of a call of ours.
    gigabytes : of the least traffic of the two-pass design that we moved per second.
    of_copy : our speed as a share of a copy's of so many bytes.
    best : the fastest other one; empty where there is none.
    ratio : its time divided by ours, so that 2 is twice as fast as it.
    """

    microseconds: float
    gigabytes: float
    of_copy: float
    best: str
    ratio: float


def reading(row: Row, direction: str, state: str = "cold", of: str = OURS) -> Reading | None:
    """What a row says of one peer, or None where it was not timed in that state.

    Parameters
    ----------
    direction : ``forward`` or ``backward``.
    state : ``cold`` or ``warm``.
    of : whom it is about.
    """
    part = row.get(direction, {})
    medians = {name: times[state][1] for name, times in part.get("peers", {}).items() if state in times}
    if of not in medians:
        return None
    own = medians.pop(of)
    best = min(medians, key=medians.__getitem__, default="")
    copy = part["copy"][state][1] if state in part["copy"] else math.nan
    return Reading(own, 1e-3 * part["bytes"] / own, copy / own, best, medians[best] / own if best else math.nan)


def lines(row: Row) -> Iterator[str]:
    """A row of the table for each direction, and one for each peer that failed."""
    shape = "x".join(map(str, row["shape"]))
    for direction in DIRECTIONS:
        name = f"{shape:<17} {row['format']:<14} {row['dtype']:<8} {direction + row['fusion']:<17}"
        for state in ("cold", "warm"):
            found = reading(row, direction, state)
            if found is not None:
                yield (
                    f"{name} {state} {found.microseconds:>9.1f} us {found.gigabytes:>6.0f} GB/s "
                    f"{percent(found.of_copy):>5} of copy  {factor(found.ratio):>6} {found.best}".rstrip()
                )
    for peer, reason in row["failed"].items():
        yield f"  {peer} failed: {reason}"


def summary(rows: Sequence[Row]) -> Iterator[str]:
    """Over all rows with the data not in the cache: medians of our share of a copy's speed, means of the ratios."""
    yield f"{len(rows)} rows; data not in the cache before:"
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        for fusion in FUSIONS:
            for direction in DIRECTIONS:
                chosen = [row for row in rows if (row["dtype"], row["fusion"]) == (dtype, fusion)]
                found = [one for one in (reading(row, direction) for row in chosen) if one is not None]
                if found:
                    yield f"  {dtype:<8} {direction + fusion:<17} {_over(found)}"
    failures = [(peer, reason) for row in rows for peer, reason in row["failed"].items()]
    for peer in dict.fromkeys(peer for peer, _ in failures):
        reasons = [reason for other, reason in failures if other == peer]
        yield f"  {peer} failed in {len(reasons)} rows, first with {reasons[0]}"


def geometric_mean(values: Iterable[float]) -> float:
    """The mean of ratios: of 2 and 1/2 it is 1. NaN for none.

    Parameters
    ----------
    values : positive numbers.
    """
    logarithms = [math.log(value) for value in values]
    return math.exp(statistics.fmean(logarithms)) if logarithms else math.nan


def floor_table(device: str = "H100 SXM", dtype: str = "bfloat16") -> Iterator[str]:
    """What can be known without measuring: bytes for each value, and the time that the suite takes at least.

    Parameters
    ----------
    device : a key of ``floor.DEVICES``.
    dtype : a key of ``floor.BYTES``.
    """
    yield f"Bytes that cross memory at least for each value, in {dtype}:"
    yield f"  {'':<20}" + "".join(f"{design:>10}" for design in floor.DESIGNS)
    for operation in floor.OPERATIONS:
        counts = (floor.bytes_per_value(operation, dtype, design) for design in floor.DESIGNS)
        yield f"  {operation:<20}" + "".join(f"{count:>10.6g}" for count in counts)
    found = floor.DEVICES[device]
    yield ""
    yield f"Microseconds that this traffic takes at the {found.bandwidth / 1e9:,.0f} GB/s that the datasheet of"
    yield f"{device} promises ({found.source}), two passes / on-chip:"
    shown = ("forward", "forward+add+relu", "backward", "backward+add+relu")
    yield f"  {'':<17}" + "".join(f"{operation:>20}" for operation in shown)
    for shape in SHAPES:
        times = [
            " / ".join(f"{floor.bound(one, shape, found.bandwidth, dtype, design):.4g}" for design in floor.DESIGNS[1:])
            for one in shown
        ]
        yield f"  {'x'.join(map(str, shape)):<17}" + "".join(f"{time:>20}" for time in times)


def _over(found: Sequence[Reading]) -> str:
    shares = [one.of_copy for one in found if not math.isnan(one.of_copy)]
    ratios = [one.ratio for one in found if not math.isnan(one.ratio)]
    share = percent(statistics.median(shares) if shares else math.nan)
    mean, ahead = factor(geometric_mean(ratios)), sum(ratio > 1 for ratio in ratios)
    return f"{share:>5} of copy; {mean:>6} the best peer's speed; first in {ahead} of {len(ratios)}"


def percent(share: float) -> str:
    """A share as whole percents, for a table."""
    return "-" if math.isnan(share) else f"{100 * share:.0f}%"


def factor(ratio: float) -> str:
    """How many times as fast, for a table."""
    return "-" if math.isnan(ratio) else f"{ratio:.2f}x"
