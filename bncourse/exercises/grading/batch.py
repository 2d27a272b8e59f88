"""Grades a folder: every file gets one row, whatever it is, and an interrupted run goes on where it was."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from bncourse import __version__
from bncourse.exercises.exercise import Exercise
from bncourse.exercises.grading import report
from bncourse.exercises.grading.journal import Journal, open_journal
from bncourse.exercises.grading.sandbox import Sandbox, SandboxError, open_sandbox
from bncourse.exercises.grading.submission import (
    Grade,
    UnreadableSubmissionError,
    grade,
    read_submission,
    ungraded,
)

NOT_STARTED = "Not graded yet: the sandbox did not start. Run the same command again."


class Class(NamedTuple):
    """What :func:`grade_folder` found.

    Attributes
    ----------
    grades : one for each file, by name.
    reused : how many of them an earlier run had given already.
    not_started : the files on which the sandbox failed; they are graded when the command runs again.
    """

    grades: tuple[Grade, ...]
    reused: int
    not_started: tuple[str, ...]


def grade_folder(
    folder: Path,
    output: Path,
    exercises: Sequence[Exercise],
    seconds: float,
    workers: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Class:
    """Grade every file in ``folder`` and below, and write the results.

    Beside ``output``, a CSV file, this writes the same as JSON, a folder with a page for each student, and a journal.
    With the journal there, only what is new or has changed is graded.

    Parameters
    ----------
    folder : the submissions; their names are what students are called.
    output : the CSV file, outside of ``folder``.
    exercises : what is graded, in this order.
    seconds : what one submission may take.
    workers : how many are graded at once.
    progress : called with the number of files done and of all files.

    Raises
    ------
    ValueError : if there is nothing in ``folder``, or if ``output`` lies in it.
    SandboxError : if there is no sandbox that holds; nothing was run.
    JournalError : if another run is grading into the same journal, or if it was begun with other settings.
    """
    names = sorted(_names(folder))
    if not names:
        raise ValueError(f"expected SUBMISSIONS to hold notebooks, found no file in {folder}")
    if output.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"expected the output outside of the folder of submissions, got {output}")
    settings = {"bncourse": __version__, "exercises": [exercise.id for exercise in exercises], "time limit": seconds}
    output.parent.mkdir(parents=True, exist_ok=True)
    journal_path = output.with_suffix(".journal")
    with (
        open_journal(journal_path, settings) as journal,
        open_sandbox(seconds, [folder / names[0], journal_path]) as sandbox,
    ):
        one = _Grader(folder, exercises, sandbox, journal, pages_folder(output))
        grades = []
        pool = ThreadPoolExecutor(workers)
        try:
            progress(0, len(names))
            for future in as_completed([pool.submit(one.grade, name) for name in names]):
                grades.append(future.result())
                progress(len(grades), len(names))
        except BaseException:
            sandbox.stop()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
    grades.sort(key=lambda each: each.submission)
    report.write_atomically(output, report.as_csv(grades, exercises))
    report.write_atomically(output.with_suffix(".json"), report.as_json(grades, settings))
    return Class(tuple(grades), one.reused, tuple(one.not_started))


def pages_folder(output: Path) -> Path:
    """Where the students' pages go."""
    return output.with_name(f"{output.stem}-feedback")


class _Grader:
    """Grades one file at a time, in any thread; the page is on disk before the journal says so."""

    def __init__(
        self, folder: Path, exercises: Sequence[Exercise], sandbox: Sandbox, journal: Journal, pages: Path
    ) -> None:
        self.folder, self.exercises, self.sandbox, self.journal, self.pages = folder, exercises, sandbox, journal, pages
        self.reused = 0
        self.not_started: list[str] = []
        self._lock = threading.Lock()

    def grade(self, name: str) -> Grade:
        try:
            content = read_submission(self.folder / name)
        except UnreadableSubmissionError as problem:
            return self._page(ungraded(name, "", self.exercises, str(problem)))
        fingerprint = hashlib.sha256(content).hexdigest()
        known = self.journal.find(name, fingerprint)
        if known is not None:
            with self._lock:
                self.reused += 1
            return known if report.page_path(self.pages, known).exists() else self._page(known)
        try:
            fresh = self._run(name, content)
        except SandboxError:
            with self._lock:
                self.not_started.append(name)
            return ungraded(name, fingerprint, self.exercises, NOT_STARTED)
        self._page(fresh)
        with self._lock:
            self.journal.add(fresh)
        return fresh

    def _run(self, name: str, content: bytes) -> Grade:
        try:
            return grade(name, content, self.exercises, self.sandbox)
        except SandboxError:  # a machine under load may fail to start a process once
            return grade(name, content, self.exercises, self.sandbox)

    def _page(self, given: Grade) -> Grade:
        report.write_atomically(report.page_path(self.pages, given), report.as_page(given))
        return given


def _names(folder: Path) -> Iterator[str]:
    """Every file and every link below ``folder``, but what programs hide beside them; links are not followed."""
    for root, folders, files in os.walk(folder):
        links = [name for name in folders if Path(root, name).is_symlink()]
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        for name in (*files, *links):
            if not name.startswith("."):
                yield str(Path(root, name).relative_to(folder))
