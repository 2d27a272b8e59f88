"""Where results are kept: written after every row, and gone on with after an interruption."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bncourse import results
from bncourse.kernels.bench.suite import Case

NAME = "kernels"
COMMAND = "bncourse bench kernels"
SOURCES = ("backward.py", "forward.py", "launch.py", "operator.py", "tiles.py", "view.py")

Row = dict[str, Any]


class DeviceLostError(RuntimeError):
    """The GPU no longer answers this process."""


class Record:
    """The rows measured so far, in a folder's ``kernels.json``.

    Parameters
    ----------
    folder : is made if need be.
    machine : the GPU, its driver and its clocks.
    settings : of the timing. The kernels' sources are added to them.
    fresh : forget results that are there.

    Raises
    ------
    ValueError : if results are there that were measured otherwise: on another GPU or with other versions, settings or
        kernels. Rows of two kinds in one table would compare what cannot be compared.
    """

    def __init__(self, folder: Path, machine: dict[str, Any], settings: dict[str, Any], fresh: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.settings = {**settings, "kernels": fingerprint()}
        self.rows: list[Row] = []
        self.seconds = 0.0
        packages = [name for name in ("torch", "triton") if _installed(name)]
        source = results.provenance(COMMAND, packages, threads=1, seconds=0.0)
        self.source = replace(source, machine=source.machine | machine)
        if fresh:
            (folder / f"{NAME}.json").unlink(missing_ok=True)
            self.at.unlink(missing_ok=True)
        elif (folder / f"{NAME}.json").is_file():
            self._go_on(results.load(NAME, folder))

    def _go_on(self, found: results.Record) -> None:
        now = self.source
        # Another processor or driver beside the same GPU does not keep a later run from going on.
        there = {"gpu": found.provenance.machine.get("gpu"), **_libraries(found.provenance), **found.settings}
        here = {"gpu": now.machine.get("gpu"), **_libraries(now), **self.settings}
        differ = [
            f"{part}: {there.get(part)} there, {here.get(part)} here"
            for part in {**there, **here}
            if there.get(part) != here.get(part)
        ]
        if differ:
            raise ValueError(
                f"{self.folder / NAME}.json holds results that were measured otherwise ({'; '.join(differ)}). "
                "Write elsewhere with --output, or begin anew with --fresh"
            )
        self.rows = list(found.outcome["rows"])
        self.seconds = found.provenance.seconds

    def has(self, case: Case) -> bool:
        """Whether the case is done."""
        return any(all(row[name] == value for name, value in case.key.items()) for row in self.rows)

    def add(self, row: Row, seconds: float) -> None:
        """Keep a row that took so long, and write everything."""
        self.rows.append(row)
        self.seconds += seconds
        source = replace(self.source, seconds=round(self.seconds, 1))
        results.save(results.Record(NAME, self.settings, source, {"rows": self.rows}), self.folder)
        self.at.unlink(missing_ok=True)

    @property
    def at(self) -> Path:
        """The file that says which peer of which case is running, for the one who finds the process dead."""
        return self.folder / f".{NAME}-at.json"

    def note(self, case: Case, peer: str) -> None:
        """This peer of this case runs next."""
        failed = self.failed_before(case)
        self.at.write_text(json.dumps({"case": case.key, "peer": peer, "failed": failed}), encoding="utf-8")

    def failed_before(self, case: Case) -> dict[str, str]:
        """The peers that took the process down at this case, and how."""
        there = read_note(self.at)
        return dict(there["failed"]) if there and there["case"] == case.key else {}


def read_note(path: Path) -> dict[str, Any] | None:
    """What :meth:`Record.note` wrote, or None."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content


def blame(folder: Path, reason: str) -> bool:
    """Put it down to the peer that ran last, which its case then does without; False if none ran, or it was blamed."""
    path = folder / f".{NAME}-at.json"
    there = read_note(path)
    if there is None or there["peer"] in there["failed"]:
        return False
    there["failed"][there["peer"]] = reason
    path.write_text(json.dumps(there), encoding="utf-8")
    return True


def fingerprint(folder: Path = Path(__file__).parents[1]) -> str:
    """Of the sources that decide how fast our kernels are, so that rows of two versions of them are not mixed."""
    found = sha256()
    for name in SOURCES:
        found.update((folder / name).read_bytes())
    return found.hexdigest()[:16]


def _libraries(source: results.Provenance) -> dict[str, str | None]:
    return {name: source.versions.get(name) for name in ("torch", "triton")}


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
