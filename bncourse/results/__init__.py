"""Recorded results: one JSON file for each experiment, with what is needed to make it again.

A chapter shows what :func:`load` returns and trains nothing of that size itself. An experiment writes its file with
:func:`save`.
"""

import json
import os
import platform
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Provenance:
    """Where a result comes from.

    Attributes
    ----------
    command : makes the result again.
    date : of the run, in UTC.
    commit : the version of the code that ran; ends in ``-modified`` if the package differed from that commit, and is
        ``unknown`` outside a repository.
    versions : of Python and of the packages that the numbers depend on.
    machine : processor, number of its cores, and operating system.
    threads : that computed at the same time.
    seconds : that the run took.
    """

    command: str
    date: str
    commit: str
    versions: dict[str, str]
    machine: dict[str, str | int]
    threads: int
    seconds: float


@dataclass(frozen=True)
class Record:
    """A recorded result: what was asked, what came out, and where it comes from. All of it is plain JSON.

    The record of an experiment also holds what its rules made of the outcome (:mod:`bncourse.results.verdicts`).

    Attributes
    ----------
    experiment : its name.
    settings : of the run.
    provenance : where it comes from.
    outcome : what came out.
    verdicts : what the rules made of it; empty where there are none.
    """

    experiment: str
    settings: dict[str, Any]
    provenance: Provenance
    outcome: dict[str, Any]
    verdicts: list[dict[str, Any]] = field(default_factory=list)


def load(experiment: str, folder: Path = FOLDER) -> Record:
    """Read and check a recorded result.

    Parameters
    ----------
    experiment : its name.
    folder : of the records.

    Raises
    ------
    LookupError : if there is none of that name; the message lists those that there are.
    ValueError : if the file is not JSON, or lacks a part, or has one that is unknown or of the wrong kind.

    Examples
    --------
    >>> from bncourse import results
    >>> record = results.load("output_variance")
    >>> record.provenance.command, record.verdicts[0]["claim"]
    ('python -m bncourse.experiments.output_variance', 'C21')
    """
    path = folder / f"{experiment}.json"
    if not path.is_file():
        known = ", ".join(sorted(other.stem for other in folder.glob("*.json"))) or "none"
        raise LookupError(f"no result is recorded for experiment {experiment!r}; recorded are: {known}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except ValueError as error:
        raise ValueError(f"{path.name} is not a recorded result: {error}") from error
    _check_parts(content, Record, path.name)
    _check_parts(content["provenance"], Provenance, f"{path.name}, provenance")
    if content["experiment"] != experiment:
        raise ValueError(f"{path.name} holds experiment {content['experiment']!r}, expected {experiment!r}")
    for part in ("settings", "outcome"):
        if not isinstance(content[part], dict):
            raise ValueError(f"{path.name}: expected {part} to be an object, got {type(content[part]).__name__}")
    return Record(**{**content, "provenance": Provenance(**content["provenance"])})


def save(record: Record, folder: Path = FOLDER) -> Path:
    """Write a record as JSON: aside first, then moved into place, so that a reader never sees half a file.

    Parameters
    ----------
    record : what to write, as ``<experiment>.json``.
    folder : to write it into.

    Raises
    ------
    ValueError : if a number in it is infinite or NaN, which JSON cannot hold.
    """
    content = asdict(record)
    if not record.verdicts:
        del content["verdicts"]
    text = json.dumps(content, indent=1, allow_nan=False)
    text = _join_innermost_lists(text) + "\n"
    path = folder / f"{record.experiment}.json"
    with tempfile.NamedTemporaryFile(
        "w", dir=folder, prefix=f".{record.experiment}-", delete=False, encoding="utf-8"
    ) as aside:
        aside.write(text)
    Path(aside.name).chmod(0o644)
    Path(aside.name).replace(path)
    return path


def provenance(command: str, packages: Sequence[str], threads: int, seconds: float) -> Provenance:
    """Describe this machine, this code and these package versions; nothing in it names the computer or its user.

    Parameters
    ----------
    command : makes the result again.
    packages : whose versions the numbers depend on.
    threads : that computed at the same time.
    seconds : that the run took.
    """
    return Provenance(
        command=command,
        date=datetime.now(UTC).date().isoformat(),
        commit=_commit(),
        versions={"python": platform.python_version(), **{name: version(name) for name in packages}},
        machine={"processor": _processor(), "cores": os.cpu_count() or 1, "system": platform.system()},
        threads=threads,
        seconds=round(seconds, 1),
    )


def _check_parts(content: Any, kind: type[Record] | type[Provenance], where: str) -> None:
    known = {part.name for part in fields(kind)}
    needed = {part.name for part in fields(kind) if part.default_factory is MISSING}
    found = set(content) if isinstance(content, dict) else set()
    if not needed <= found <= known:
        raise ValueError(
            f"{where}: expected the parts {sorted(needed)}; missing {sorted(needed - found)}, "
            f"unknown {sorted(found - known)}"
        )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, and every number must be finite")


def _join_innermost_lists(text: str) -> str:
    """Put each list of plain values on one line, which keeps a file of per-seed values readable."""
    return re.sub(r"\[[^\[\]{}]*\]", lambda found: re.sub(r"\s*\n\s*", " ", found[0]), text)


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=FOLDER, capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.strip()

    try:
        sources = ("../clinic", "../lab", "../experiments", "../reference", "../exercises", "../kernels", "../layers")
        modified = git("status", "--porcelain", "--", *sources)
        return git("rev-parse", "HEAD") + ("-modified" if modified else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
