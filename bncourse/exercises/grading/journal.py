"""Remembers every graded submission at once, so that a run that is killed loses none and repeats none."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from io import BufferedRandom
from pathlib import Path
from typing import Any

from bncourse.exercises.grading.submission import Grade
from bncourse.exercises.result import Result, Table


class JournalError(RuntimeError):
    """A journal cannot be continued; the message says why, and what to do."""


class Journal:
    """Grades on disk, one line of JSON each, behind a line that says under which settings they were made.

    Made by :func:`open_journal`. A line counts once its newline is written; what a kill left of a last one is cut off.
    """

    def __init__(self, file: BufferedRandom, settings: Mapping[str, Any], path: Path) -> None:
        self._file = file
        self._grades: dict[tuple[str, str], Grade] = {}
        lines = file.read().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b"\n")]
        file.truncate(sum(map(len, whole)))
        file.seek(0, os.SEEK_END)
        if not whole:
            self._append(dict(settings))
            return
        if _parse(whole[0]) != settings:
            raise JournalError(
                f"{path} was begun with other settings or another version of bncourse ({whole[0].decode().strip()}). "
                "Move it away to grade everything afresh, or give another output file."
            )
        for document in filter(None, map(_parse, whole[1:])):
            grade = _grade(document)
            self._grades[grade.submission, grade.fingerprint] = grade

    def find(self, submission: str, fingerprint: str) -> Grade | None:
        """The grade of this very content under this very name, if it was given already."""
        return self._grades.get((submission, fingerprint))

    def add(self, grade: Grade) -> None:
        """Write a grade to the disk; when this returns, a power cut does not lose it."""
        self._append(asdict(grade))
        self._grades[grade.submission, grade.fingerprint] = grade

    def _append(self, document: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(document).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def open_journal(path: Path, settings: Mapping[str, Any]) -> Iterator[Journal]:
    """The journal at ``path``, begun if there is none, and kept from other runs while it is open.

    Raises
    ------
    JournalError : if another run holds it, or if it was begun with other settings.
    """
    path.touch()
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(f"{path} is in use: another run is grading into it") from None
        yield Journal(file, settings, path)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _grade(document: Mapping[str, Any]) -> Grade:
    results = []
    for fields in document["results"]:
        table = fields["table"] and Table(
            tuple(fields["table"]["header"]), tuple(tuple(row) for row in fields["table"]["rows"])
        )
        results.append(Result(**{**fields, "faults": tuple(fields["faults"]), "table": table}))
    cells = tuple(document["failed_cells"])
    return Grade(**{**document, "results": tuple(results), "failed_cells": cells})
