"""Many runs of one function, spread over processes or a cluster, and none of them done twice."""

import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from bncourse.lab.cache import load_entry, store_entry
from bncourse.lab.encoding import decode, encode
from bncourse.lab.fingerprint import importable_name, run_key

if TYPE_CHECKING:
    import pandas as pd
    from _typeshed import DataclassInstance

SettingsType = TypeVar("SettingsType", bound="DataclassInstance")
ResultType = TypeVar("ResultType", bound="pd.DataFrame | Mapping[str, Any]")


class RunError(RuntimeError):
    """Some runs failed; the message names their settings. The results of the others are in the cache."""


@dataclass(frozen=True)
class _Failure:
    """What a run has to say instead of a result: the text of its exception."""

    text: str


def run_all(
    function: Callable[[SettingsType], ResultType],
    settings: Iterable[SettingsType],
    *,
    jobs: int = -1,
    cache: bool = True,
    progress: bool = False,
) -> list[ResultType]:
    """The results of ``function`` for each of ``settings``, in their order.

    What the cache holds is read from it; equal settings are run once. The rest is spread over processes with one
    thread each, and every result goes into the cache as it arrives: a call that was interrupted goes on where it
    stopped when it is made again. A result belongs to the settings, the code and the versions that made it
    (:func:`~bncourse.lab.fingerprint.run_key`); change any of them, and it is computed anew.

    On a cluster of machines the same call runs inside joblib's context for Dask::

        from distributed import Client
        from joblib import parallel_config

        with Client("scheduler:8786"), parallel_config(backend="dask"):
            frames = run_all(function, settings)

    The runs of a worker that dies are then given to others. The cache is the one of the machine that calls.

    Parameters
    ----------
    function : defined at the top of a module, so that other processes can import it. Its result is a frame, or a
        dictionary of arrays and frames, and depends on nothing but its settings.
    settings : dataclasses whose values JSON can hold.
    jobs : number of processes; -1 for one on each core. A cluster uses the workers that it has.
    cache : whether results are read from the cache and written to it.
    progress : whether to show a bar.

    Raises
    ------
    RunError : if runs failed, after all others have ended, or if a process died.
    ValueError, TypeError : if ``function`` or ``settings`` are not of the kind described.
    """
    name = importable_name(function)
    asked = [(run_key(function, each), each) for each in settings]
    contents = {key: content for key, _ in asked if cache and (content := load_entry(key)) is not None}
    missing = {key: each for key, each in asked if key not in contents}
    failures: dict[str, _Failure] = {}
    with _bar(name, len(contents) + len(missing), len(contents), progress) as advance:
        for key, outcome in _outcomes(function, missing, jobs):
            advance()
            if isinstance(outcome, _Failure):
                failures[key] = outcome
                continue
            contents[key] = outcome
            if cache:
                cache = _keep(key, outcome)
    if failures:
        raise RunError(_report(name, {key: missing[key] for key in failures}, failures, len(asked)))
    return [decode(contents[key]) for key, _ in asked]


def _outcomes(
    function: Callable[[SettingsType], Any], missing: Mapping[str, SettingsType], jobs: int
) -> Iterator[tuple[str, bytes | _Failure]]:
    """Key and outcome of each run, in the order in which they end."""
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="all")
    try:
        yield from parallel(delayed(_run)(function, each, key) for key, each in missing.items())
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise RunError(
            f"the processes that ran {function.__qualname__} stopped: {reason}. "
            f"A process that was killed may have run out of memory: try fewer jobs. "
            f"Where there is a cache, it has what had ended, and the same call goes on from there"
        ) from error


def _run(function: Callable[[SettingsType], Any], settings: SettingsType, key: str) -> tuple[str, bytes | _Failure]:
    """One run, on one thread, wherever it happens to be."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if run_key(function, settings) != key:
            return key, _Failure(
                "This process has another version of the code, of Python, NumPy or torch than the one that asked: "
                "install the same on all machines, and start Python anew after editing the package."
            )
        return key, encode(function(settings))
    except Exception:
        return key, _Failure(traceback.format_exc())
    finally:
        torch.set_num_threads(threads)


def _keep(key: str, content: bytes) -> bool:
    """Store a result; where that is impossible, warn once and go on without."""
    try:
        store_entry(key, content)
    except OSError as error:
        warnings.warn(f"results are not kept, since the cache cannot be written: {error}", stacklevel=3)
        return False
    return True


def _report(name: str, settings: Mapping[str, object], failures: Mapping[str, _Failure], asked: int) -> str:
    """Every settings that failed, under the text of its error; equal texts stand once."""
    by_text: dict[str, list[object]] = {}
    for key, failure in failures.items():
        by_text.setdefault(failure.text, []).append(settings[key])
    parts = ["\n".join([*(f"with {each!r}:" for each in group), text.rstrip()]) for text, group in by_text.items()]
    return f"{len(failures)} of {asked} runs of {name} failed\n\n" + "\n\n".join(parts)


@contextmanager
def _bar(name: str, total: int, done: int, shown: bool) -> Iterator[Callable[[], object]]:
    """A function that notes the end of one run, on a bar if one is wanted."""
    if not shown:
        yield lambda: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, initial=done, desc=name.rpartition(".")[2], unit="run") as bar:
        yield bar.update
