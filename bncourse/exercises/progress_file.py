"""Remembers which exercises were attempted and passed, in one small file that may be lost, broken or unwritable."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

VERSION = 1
STATES = ("not attempted", "attempted", "passed")

# What could not be written, so that progress is at least kept while Python runs.
_unsaved: dict[str, str] = {}


def progress_path() -> Path:
    """The progress file: in the folder ``BNCOURSE_DATA`` where that is set, else in the user's data folder."""
    if folder := os.environ.get("BNCOURSE_DATA"):
        return Path(folder) / "progress.json"
    from platformdirs import user_data_path

    return user_data_path("bncourse", appauthor=False) / "progress.json"


def load_states() -> dict[str, str]:
    """The state of every exercise that was attempted.

    A file that cannot be understood is renamed to ``progress.corrupt.json`` and counts as empty.
    """
    path = progress_path()
    states: dict[str, str] = {}
    try:
        states = _parse(path.read_bytes())
    except ValueError:
        with suppress(OSError):
            path.replace(path.with_suffix(".corrupt.json"))
    except OSError:
        pass
    return _merge(states, _unsaved)


def record(exercise_id: str, outcome: str) -> None:
    """Note the outcome of a check. What was passed once stays passed; "not attempted" changes nothing."""
    if outcome == "not attempted":
        return
    state = "passed" if outcome == "passed" else "attempted"
    before = load_states()
    after = _merge(before, {exercise_id: state})
    if after != before or _unsaved:
        _save(after)


def is_saved() -> bool:
    """Whether everything recorded has reached the file."""
    return not _unsaved


def export_progress(path: str | os.PathLike[str]) -> None:
    """Write the progress to ``path``, to carry it to another machine.

    Parameters
    ----------
    path : of the file to write.

    Raises
    ------
    OSError : if ``path`` cannot be written.
    """
    _write(Path(path), load_states())


def import_progress(path: str | os.PathLike[str]) -> None:
    """Add the progress in ``path`` to the one here; of two states of an exercise the further one stays.

    Parameters
    ----------
    path : of a file that :func:`export_progress` wrote.

    Raises
    ------
    ValueError : if ``path`` holds something else than exported progress.
    OSError : if ``path`` cannot be read.
    """
    try:
        states = _parse(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"expected path to hold exported progress, got {os.fspath(path)!r}: {error}") from error
    _save(_merge(load_states(), states))


def _parse(content: bytes) -> dict[str, str]:
    try:
        document = json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise ValueError(f"it is not a progress file of version {VERSION}")
    states = document.get("exercises")
    if not isinstance(states, dict) or not all(state in STATES for state in states.values()):
        raise ValueError("its exercises are not a table of states")
    return states


def _merge(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    merged = dict(first)
    for exercise_id, state in second.items():
        merged[exercise_id] = max(merged.get(exercise_id, STATES[0]), state, key=STATES.index)
    return merged


def _save(states: Mapping[str, str]) -> None:
    try:
        _write(progress_path(), states)
        _unsaved.clear()
    except OSError:
        _unsaved.update(states)


def _write(path: Path, states: Mapping[str, str]) -> None:
    """Write beside ``path`` and move into place, so that a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"version": VERSION, "exercises": dict(sorted(states.items()))}
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(document, stream, indent=1)
            stream.write("\n")
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
