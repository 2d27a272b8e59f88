"""One case, from its data to its row of results: every peer is checked against float64, and then they race."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bncourse.kernels import floor
from bncourse.kernels.bench.batch import Answer, Batch, answer, make_batch
from bncourse.kernels.bench.peers import Function, Peer, selected_backend
from bncourse.kernels.bench.record import DeviceLostError
from bncourse.kernels.bench.suite import DIRECTIONS, Case
from bncourse.kernels.bench.timing import Call, Plan, Timer, describe, quartiles, race, repeats, rotation

COPY = "copy"

Row = dict[str, Any]


class WrongError(ValueError):
    """A peer's answer is not batch norm."""


def measure(
    case: Case,
    peers: Iterable[Peer],
    timer: Timer,
    device: torch.device,
    rounds: int,
    failed: Mapping[str, str] | None = None,
    note: Callable[[str], None] = lambda name: None,
) -> Row:
    """Check and time one case.

    Parameters
    ----------
    failed : peers that are left out, and why: those that took the process down before.
    note : is told the name of each peer before it does something new.

    Returns
    -------
    row : plain JSON. ``forward`` and ``backward`` hold the least bytes of the two-pass design, and for every peer and
        the copy of so many bytes the quartiles of microseconds a call, ``cold`` and ``warm``: with the data not in the
        cache before, or in it, where there is such a state; ``uncaptured`` are those that were timed without a graph.
        ``errors`` are each peer's largest one, relative, against float64. ``failed`` says why a peer is left out, and
        ``selected`` what PyTorch itself chose.

    Raises
    ------
    DeviceLostError : if the GPU does not answer any more. The peer that was last noted did it.
    """
    row: Row = {**case.key, "errors": {}, "failed": dict(failed or {})}
    batch = make_batch(case, device)
    with suppress(Exception):
        row["selected"] = selected_backend(batch)
    right = answer(batch)
    functions: dict[str, Function] = {}
    for peer in peers:
        if peer.missing(device) or not peer.takes(case) or peer.name in row["failed"]:
            continue
        note(peer.name)
        with _failure_of(peer.name, row, timer):
            function = peer.make(case)
            errors = check(function, batch.copy(), right)
            row["errors"][peer.name] = float(f"{max(errors.values()):.3g}")
            functions[peer.name] = function
    del right
    for direction in DIRECTIONS:
        timer.release()
        row[direction] = _time(direction, case, batch, functions, timer, rounds, row, note)
    return row


def check(function: Function, batch: Batch, right: Answer) -> dict[str, float]:
    """Relative errors of one call, its gradients and the running statistics.

    Parameters
    ----------
    function : a peer's, made for this case.
    batch : to call it on.
    right : what :func:`~bncourse.kernels.bench.batch.answer` says of the batch.

    Raises
    ------
    WrongError : if one exceeds what two roundings to the dtype, and sums in float32, explain.
    """
    tolerance = dict.fromkeys(
        ("y", "dx", "dweight", "dbias", "dresidual"), max(1e-4, 2 * torch.finfo(batch.x.dtype).eps)
    )
    # Whatever the dtype, these come from float32 sums.
    tolerance |= {"running_mean": 2e-5, "running_var": 2e-5}
    y = function(batch)
    gradients = torch.autograd.grad(y, batch.wanted, batch.dy)
    names = ["dx", "dweight", "dbias", "dresidual"][: len(gradients)]
    errors = {"y": _relative(y, right.y, None)}
    for name, ours, theirs in zip(names, gradients, right.gradients, strict=True):
        errors[name] = _relative(ours, theirs, right.undecided)
    errors["running_mean"] = _relative(batch.running_mean, right.running_mean, None)
    errors["running_var"] = _relative(batch.running_var, right.running_var, None)
    # Also true of NaN.
    wrong = {name: error for name, error in errors.items() if not error <= tolerance[name]}
    if wrong:
        raise WrongError("off by " + ", ".join(f"{error:.2g} in {name}" for name, error in wrong.items()))
    return errors


def _relative(ours: Tensor, theirs: Tensor, undecided: Tensor | None) -> float:
    if ours.shape != theirs.shape:
        raise WrongError(f"shape {tuple(ours.shape)} instead of {tuple(theirs.shape)}")
    with torch.no_grad():
        difference = ours.double().sub_(theirs)
        if undecided is not None and undecided.shape == difference.shape:
            difference.masked_fill_(undecided, 0.0)
        return float(difference.norm() / theirs.norm())


def _time(
    direction: str,
    case: Case,
    batch: Batch,
    functions: dict[str, Function],
    timer: Timer,
    rounds: int,
    row: Row,
    note: Callable[[str], None],
) -> dict[str, Any]:
    nbytes = floor.least_bytes(direction + case.fusion, case.shape, case.dtype)
    bare: set[str] = set()
    result: dict[str, Any] = {"bytes": nbytes, COPY: {}, "peers": {name: {} for name in functions}}
    for state in ("cold", "warm"):
        sets = rotation(batch.nbytes, timer.l2) if state == "cold" else 1 if nbytes <= timer.l2 else None
        if sets is None:
            continue
        batches = [batch, *(batch.copy() for _ in range(sets - 1))]
        plans: dict[str, Plan] = {}
        for name, function in functions.items():
            if name in row["failed"]:
                continue
            note(name)
            with _failure_of(name, row, timer):
                calls = [_call(direction, function, one) for one in batches]
                plan, captured = timer.plan(calls * repeats(sets, nbytes), sets)
                plan()
                bare |= set() if captured else {name}
                plans[name] = plan
        copies = rotation(nbytes // 2, timer.l2) if state == "cold" else 1
        if copies is not None and COPY not in row["failed"]:
            note(COPY)
            with _failure_of(COPY, row, timer):
                calls = _copies(nbytes, copies, batch.x.device)
                plans[COPY], _ = timer.plan(calls * repeats(copies, nbytes), copies)
        for name, times in race(plans, rounds).items():
            (result[COPY] if name == COPY else result["peers"][name])[state] = quartiles(times)
        del plans, batches
        timer.release()
    result["peers"] = {name: times for name, times in result["peers"].items() if times}
    return {**result, "uncaptured": sorted(bare)}


def _call(direction: str, function: Function, batch: Batch) -> Call:
    if direction == "forward":
        return lambda: function(batch)
    y = function(batch)
    return lambda: torch.autograd.grad(y, batch.wanted, batch.dy, retain_graph=True)


def _copies(nbytes: int, sets: int, device: torch.device) -> list[Call]:
    """Copies that read and write so many bytes together."""
    size = (2, max(nbytes // 2, 1))
    arrays = [torch.randint(256, size, dtype=torch.uint8, device=device) for _ in range(sets)]
    return [partial(array[1].copy_, array[0]) for array in arrays]


@contextmanager
def _failure_of(name: str, row: Row, timer: Timer) -> Iterator[None]:
    """Whatever a peer raises is written down, and the others go on."""
    try:
        yield
    except Exception as error:
        row["failed"][name] = describe(error)
        if not timer.alive():
            raise DeviceLostError(row["failed"][name]) from error
    if name in row["failed"]:
        timer.release()
