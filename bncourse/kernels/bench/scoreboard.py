"""The recorded race, row by row: what was measured where, and for every shape our share of a copy's speed and our rank.

The book's chapter on the race prints and draws what this module returns. Pure Python; without a record it says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bncourse import results
from bncourse.kernels.bench.record import COMMAND, NAME, fingerprint
from bncourse.kernels.bench.report import Reading, Row, factor, percent, reading
from bncourse.kernels.bench.suite import SHAPES, cases

SHORT = {
    "PyTorch native": "native",
    "torch.compile": "compile",
    "torch.compile, cooperative": "compile, coop.",
    "one program per channel": "per channel",
    "apex groupbn": "apex",
}
"""Names of peers that fit a column."""


class Standing(NamedTuple):
    """How we stand at one shape.

    Attributes
    ----------
    shape : as in ``"256x64x56x56"``.
    format : ``channels_first`` or ``channels_last``.
    state : ``cold``, or ``warm`` where the batch is so small that it is in the cache whatever one does.
    forward, backward : our reading, or None where we failed.
    """

    shape: str
    format: str
    state: str
    forward: Reading | None
    backward: Reading | None


def recorded(folder: Path | None = None) -> results.Record | None:
    """The recorded race, or None where none is recorded.

    Parameters
    ----------
    folder : of ``kernels.json``; none: the package's results.

    Raises
    ------
    ValueError : if the file is there and is not a record.
    """
    folder = folder or results.FOLDER
    return results.load(NAME, folder) if (folder / f"{NAME}.json").is_file() else None


def origin(record: results.Record | None) -> Iterator[str]:
    """Where the numbers come from, or that there are none.

    Parameters
    ----------
    record : of the race, or None.
    """
    if record is None:
        yield "Device measurements are not recorded yet."
        yield f"On a machine with an NVIDIA GPU, `{COMMAND}` makes them."
        return
    source, machine = record.provenance, record.provenance.machine
    rows = record.outcome["rows"]
    cores, cache = (machine.get(name, "?") for name in ("multiprocessors", "L2 MiB"))
    yield f"{machine['gpu']}, {cores} multiprocessors, {cache} MiB of L2"
    yield (
        f"torch {source.versions.get('torch', '?')}, triton {source.versions.get('triton', '?')}, "
        f"CUDA {machine.get('CUDA', '?')}, cuDNN {machine.get('cuDNN', '?')}, driver {machine.get('driver', '?')}"
    )
    keys = [{name: row[name] for name in ("shape", "format", "dtype", "fusion")} for row in rows]
    done = sum(case.key in keys for case in cases())
    yield f"{source.date}; {done} of the suite's {len(cases())} cases, {record.settings['rounds']} rounds each"
    if record.settings["kernels"] != fingerprint():
        yield "The kernels have been changed since: these are the times of an earlier version."


def standings(rows: Sequence[Row], dtype: str, fusion: str) -> list[Standing]:
    """Every shape and format that was measured in this dtype and with this fusion, in the suite's order.

    Parameters
    ----------
    rows : of a record.
    dtype, fusion : which of them.
    """
    chosen = [row for row in rows if (row["dtype"], row["fusion"]) == (dtype, fusion)]
    order = {shape: place for place, shape in enumerate(SHAPES)}
    chosen.sort(key=lambda row: order.get(tuple(row["shape"]), len(order)))
    return [_standing(row) for row in chosen]


def table(rows: Sequence[Row], dtype: str, fusion: str) -> Iterator[str]:
    """Standings as lines: percent of a copy's speed, and how many times as fast as the best other one.

    Parameters
    ----------
    rows, dtype, fusion : as in :func:`standings`.
    """
    found = standings(rows, dtype, fusion)
    if not found:
        yield f"{dtype}{fusion}: not measured"
        return
    yield f"{dtype}, batch norm{fusion}"
    yield f"{'':21}{'of a copy':>10}   {'times as fast as the best other':>31}"
    yield f"{'shape':15}{'C':6}{'fwd':>5}{'bwd':>5}   {'forward':<21}{'backward'}"
    for one in found:
        last = "last" if one.format == "channels_last" else "first"
        parts = one.forward, one.backward
        shares = "".join(f"{'-' if part is None else percent(part.of_copy):>5}" for part in parts)
        against = "".join(f"{_against(part):<21}" for part in parts)
        mark = " (warm)" if one.state == "warm" else ""
        yield f"{one.shape:15}{last:6}{shares}   {against}{mark}".rstrip()


def _standing(row: Row) -> Standing:
    state = next((state for state in ("cold", "warm") if reading(row, "forward", state)), "cold")
    shape = "x".join(map(str, row["shape"]))
    return Standing(shape, row["format"], state, reading(row, "forward", state), reading(row, "backward", state))


def _against(part: Reading | None) -> str:
    if part is None:
        return "failed"
    return f"{factor(part.ratio):>6} {SHORT.get(part.best, part.best)}".rstrip()
