"""``bncourse bench kernels``: the suite, worked off by a process that may die, and what is said without a GPU."""

from __future__ import annotations

import importlib.util
import multiprocessing
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bncourse.kernels.bench import report
from bncourse.kernels.bench.record import NAME, DeviceLostError, Record, blame
from bncourse.kernels.bench.suite import DTYPES, OURS, PEER_NAMES, QUICK_SHAPES, SHAPES, Case, cases, parse_shape
from bncourse.kernels.floor import DEVICES
from bncourse.results import FOLDER

if TYPE_CHECKING:
    import torch

    from bncourse.kernels.bench.peers import Peer
    from bncourse.kernels.bench.timing import Timer

ROUNDS = 25
QUICK_ROUNDS = 9

CASE = "case"
"""Takes a peer's place in the notes where the case itself fails."""

LOST = 75
"""Exit status of a process whose GPU does not answer any more."""


@dataclass(frozen=True)
class Options:
    """What to measure, and where to.

    Attributes
    ----------
    peers : their names.
    folder : where ``kernels.json`` is written after every row.
    deadline : on the clock of :func:`time.time`; no case is begun that would end after it.
    fresh : forget results that are there.
    """

    cases: tuple[Case, ...]
    peers: tuple[str, ...]
    folder: Path
    rounds: int = ROUNDS
    deadline: float = float("inf")
    fresh: bool = False


def bench(
    shapes: Sequence[str] | None,
    dtypes: Sequence[str] | None,
    peers: Sequence[str] | None,
    quick: bool,
    minutes: float | None,
    output: Path | None,
    fresh: bool,
    device: str,
) -> int:
    """Check what was asked for, and do it: the suite, or without a GPU the floor. Returns the exit status."""
    try:
        chosen = tuple(parse_shape(text) for text in shapes or ()) or (QUICK_SHAPES if quick else SHAPES)
        kinds = tuple(dtypes or (DTYPES[:1] if quick else DTYPES))
        _known("dtype", kinds, DTYPES)
        _known("peer", peers or (), PEER_NAMES)
        _known("device", (device,), tuple(DEVICES))
    except ValueError as error:
        print(f"bncourse bench kernels: {error}", file=sys.stderr)
        return 2
    if reason := missing():
        print(f"Nothing is measured: {reason}. What can be known without it, the floor:\n")
        print(*report.floor_table(device, kinds[0]), sep="\n")
        return 0
    racing = tuple(name for name in PEER_NAMES if name == OURS or name in (peers or PEER_NAMES))
    rounds = QUICK_ROUNDS if quick else ROUNDS
    deadline = float("inf") if minutes is None else time.time() + 60 * minutes
    return run(Options(tuple(cases(chosen, kinds)), racing, output or FOLDER, rounds, deadline, fresh))


def _known(name: str, values: Sequence[str], known: Sequence[str]) -> None:
    for value in values:
        if value not in known:
            raise ValueError(f"expected {name} to be one of {', '.join(known)}, got {value!r}")


def missing() -> str:
    """What keeps the suite from running here, in words; empty where nothing does."""
    for library in ("torch", "triton"):
        if importlib.util.find_spec(library) is None:
            return f"{library} is not installed: pip install 'bncourse[kernels]'"
    import torch

    if torch.version.cuda is None:
        return f"this PyTorch ({torch.__version__}) is built without CUDA"
    if not torch.cuda.is_available():
        return "PyTorch finds no CUDA device"
    from bncourse.kernels.backend import INTERPRETED

    return "TRITON_INTERPRET is set: the kernels would run in the interpreter" if INTERPRETED else ""


def run(options: Options) -> int:
    """Work off the suite in a process of its own; where one dies, another goes on without the peer that did it."""
    context = multiprocessing.get_context("spawn")
    while True:
        process = context.Process(target=_work_on_gpu, args=(options,))
        process.start()
        process.join()
        code = process.exitcode or 0
        if code >= 0 and code != LOST:
            return code
        if code < 0 and not blame(options.folder, f"the process ended with signal {-code}"):
            print(f"the process ended with signal {-code} twice at the same place: giving up", file=sys.stderr)
            return 1
        print("! the process died; another one goes on without the peer that ran", flush=True)
        options = replace(options, fresh=False)


def _work_on_gpu(options: Options) -> None:
    import torch

    from bncourse.kernels.bench.timing import GpuTimer, machine

    device = torch.device("cuda", torch.cuda.current_device())
    sys.exit(work(options, GpuTimer(device), device, machine(device)))


def work(options: Options, timer: Timer, device: torch.device, machine: dict[str, Any]) -> int:
    """Measure every case that is not done yet, write and print each row, and return the process's exit status."""
    from bncourse.kernels.bench.peers import PEERS

    peers = [peer for peer in PEERS if peer.name in options.peers]
    settings = {"rounds": options.rounds, "peers": [peer.name for peer in peers]}
    try:
        record = Record(options.folder, machine, settings, options.fresh)
    except ValueError as error:
        print(f"bncourse bench kernels: {error}", file=sys.stderr)
        return 2
    print(f"{machine['gpu']}; results go to {options.folder / NAME}.json", flush=True)
    for peer in peers:
        if reason := peer.missing(device):
            print(f"  {peer.name} does not race: {reason}", flush=True)
    done = len(options.cases)
    left = [case for case in options.cases if not record.has(case)]
    done -= len(left)
    longest = 0.0
    for case in left:
        if time.time() + longest > options.deadline:
            print(f"Out of time after {done} of {len(options.cases)} cases; run it again to go on.", flush=True)
            break
        start = time.perf_counter()
        try:
            row = _row(case, peers, timer, device, options.rounds, record)
        except DeviceLostError as error:
            print(f"! {case}: {error}", flush=True)
            return LOST if blame(options.folder, str(error)) else 1
        seconds = time.perf_counter() - start
        longest = max(longest, seconds)
        record.add(row, seconds)
        done += 1
        print(f"[{done}/{len(options.cases)}] {case} ({seconds:.1f} s)", *report.lines(row), sep="\n", flush=True)
    print(*report.summary(record.rows), sep="\n", flush=True)
    return 0


def _row(
    case: Case, peers: Sequence[Peer], timer: Timer, device: torch.device, rounds: int, record: Record
) -> dict[str, Any]:
    """Measure a case. One that fails as a whole, for lack of memory say, gives a row without times that says why."""
    from torch import compiler

    from bncourse.kernels.bench.measure import measure
    from bncourse.kernels.bench.timing import describe

    failed = record.failed_before(case)
    empty = {**case.key, "errors": {}, "failed": failed}
    if CASE in failed:
        return empty
    # Until a peer runs, what goes wrong is the case's own.
    record.note(case, CASE)
    # Each case compiles for its own shape, and PyTorch limits how often the same function may be compiled.
    compiler.reset()
    timer.release()
    try:
        return measure(case, peers, timer, device, rounds, failed, partial(record.note, case))
    except Exception as error:
        reason = describe(error)
        if isinstance(error, DeviceLostError) or not timer.alive():
            raise DeviceLostError(reason) from error
    timer.release()
    return {**empty, "failed": {**failed, CASE: reason}}
