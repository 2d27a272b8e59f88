"""Trains with a learner's function and examines what it hands over."""

from __future__ import annotations

import ast
import inspect
import linecache
import math
import textwrap
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from bncourse.clinic.ranks import RanksError
from bncourse.clinic.recording import Record, Watch
from bncourse.exercises.result import Result, Table

if TYPE_CHECKING:
    from bncourse.clinic.case import Case

NOT_ATTEMPTED = (
    "This is the broken run as it came. Change what is wrong in it, run the cell, and then this check again."
)
PASSED = "On two fresh splits of the digits your run came out healthy: {goal}"
# Steps between two measurements in a check: the curves are not shown, but to measure may be part of the fault.
SELDOM = 25
ELSEWHERE = "It hands over what was trained elsewhere: no image of this run has gone through a network for a gradient."
FAILED = "Your run was trained on two fresh splits of the digits, and is still not healthy."


@dataclass(frozen=True)
class Finding:
    """One thing that the examination looks at.

    Parameters
    ----------
    what : that was looked at.
    found, wanted : in words or numbers.
    good : whether that will do.
    why : what it means if not; a sentence for the learner.
    """

    what: str
    found: str
    wanted: str
    good: bool
    why: str = ""


def at_least(what: str, value: float, goal: float, why: str = "") -> Finding:
    """A share that has to reach a goal; in percent, rounded down, so that one that falls short never looks equal."""
    return Finding(what, f"{math.floor(100 * value)}%", f"{goal:.0%} at least", value >= goal, why)


def fitting(factor: float) -> Finding:
    """Running variances that have to be those of the images, up to noise."""
    found = f"off by a factor of {factor:.1f}" if math.isfinite(factor) else "none, or none of use"
    return Finding(
        "running variances, against those of the images",
        found,
        "a factor of 2 at most",
        factor <= 2,
        "The running statistics are not those of what the layers meet in inference.",
    )


def verdict(case: Case, train: Any, seeds: Sequence[int]) -> Result:
    """The verdict on a function: it is trained and examined once for each seed; nothing is shown."""

    def result(outcome: str, message: str, table: Table | None = None) -> Result:
        return Result(outcome, message, exercise=case.id, table=table)

    if problem := _interface_problem(train):
        return result("wrong interface", problem)
    if _same_code(train, case.code(case.broken)):
        return result("not attempted", NOT_ATTEMPTED)
    rows: list[tuple[str, ...]] = []
    reasons: list[str] = []
    for number, seed in enumerate(seeds, 1):
        try:
            findings = run(case, train, seed)
        except RanksError as error:
            return result("failed", f"{FAILED}\nIt does not come to its end: {error}.")
        except (Exception, SystemExit) as error:
            return result("error", _explain(train, error))
        rows += [(f"run {number}", each.what, each.found, each.wanted) for each in findings]
        reasons += [each.why for each in findings if not each.good]
    if reasons:
        because = "\n".join(dict.fromkeys(reason for reason in reasons if reason))
        message = f"{FAILED}\n{because}" if because else FAILED
        return result("failed", message, Table(("run", "what", "found", "wanted"), tuple(rows), "Your runs, examined"))
    return result("passed", PASSED.format(goal=case.goal))


def run(case: Case, train: Callable[..., Any], seed: int) -> Sequence[Finding]:
    """Train and examine once. Whatever ``train`` raises is raised."""
    with _apart(seed):
        record = Record(None, case.measure, SELDOM)
        returned, watch = _train(case, train, seed, record)
        trained = Finding("passes through linear layers", "0", "some", watch.linear_calls > 0, ELSEWHERE)
        return [*case.examine(returned, seed, watch), *([] if trained.good else [trained])]


def curves(case: Case, train: Callable[..., Any], seed: int) -> Record:
    """Train once and keep the curves, to the point where the ranks no longer meet if they do not."""
    record = Record(None, case.measure, case.every)
    with _apart(seed), suppress(RanksError):
        _train(case, train, seed, record)
    return record


def handed_over(case: Case, train: Callable[..., Any], seed: int) -> tuple[Any, Any]:
    """Train once; the task, and what the run hands over."""
    record = Record(None, case.measure, SELDOM)
    with _apart(seed):
        returned, _ = _train(case, train, seed, record)
    return record.task, returned


def _train(case: Case, train: Callable[..., Any], seed: int, record: Record) -> tuple[Any, Watch]:
    record.task = case.prepare(seed)
    record.watch = Watch()
    torch.manual_seed(seed)
    with record.watch.on():
        returned = train(record.task, record)
    return returned, record.watch


@contextmanager
def _apart(seed: int) -> Iterator[None]:
    """Seeded, and on one thread, since for networks this small more would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def _interface_problem(train: Any) -> str:
    if not callable(train):
        return f"`check` takes your function itself, as in `check(train)`; it got {type(train).__name__}."
    try:
        inspect.signature(train).bind(None, None)
    except TypeError as error:
        return f"The check calls train(task, record), and yours does not take that: {error}."
    except ValueError:
        return ""
    return ""


def _same_code(train: Callable[..., Any], starter: str) -> bool:
    """Whether a function is the starter but for comments and layout; no, where its source cannot be found."""
    try:
        (mine,) = ast.parse(textwrap.dedent(inspect.getsource(train))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return False
    (given,) = ast.parse(starter).body
    assert isinstance(given, ast.FunctionDef)
    return isinstance(mine, ast.FunctionDef) and _bodies(mine) == _bodies(given)


def _bodies(function: ast.FunctionDef) -> list[str]:
    return [ast.dump(statement) for statement in function.body]


def _explain(train: Callable[..., Any], error: BaseException) -> str:
    """Type and message, and the line of the learner's own code on which it happened."""
    lines = str(error).strip().splitlines() or ["(no message)"]
    text = f"Your run ended with {type(error).__name__}: {lines[0].removesuffix('.')}."
    code = getattr(inspect.unwrap(train), "__code__", None)
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if code and frame.filename == code.co_filename]
    if code and not own:
        return f"{text}\nThat was in the examination: return what the broken run returns, or the like."
    if not own or own[-1].lineno is None:
        return text
    source = linecache.getline(own[-1].filename, own[-1].lineno).strip()
    return f"{text}\nIt happened on line {own[-1].lineno}" + (f": `{source}`" if source else " of your code.")
