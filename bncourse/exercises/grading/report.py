"""Writes what a class earned: a table for spreadsheets, the same with all details, and a page for each student."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from bncourse.exercises.exercise import Exercise
from bncourse.exercises.grading.submission import Grade
from bncourse.exercises.result import OUTCOMES, Table

# A spreadsheet takes a cell that begins with one of these for a formula, whatever its column is about.
FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
LONGEST_NAME = 240
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; }}
section {{ border-top: 1px solid; margin-top: 1.5rem; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside ``path`` and move into place, so that nobody ever reads half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def shown_name(name: str) -> str:
    """A file's name as text: bytes that are not UTF-8, and signs that steer a terminal, are spelled out."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def as_csv(grades: Sequence[Grade], exercises: Sequence[Exercise]) -> bytes:
    """A row for each submission: its score, and for each exercise the outcome and the mistakes named."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = [name for exercise in exercises for name in (exercise.id, f"{exercise.id} mistakes")]
    writer.writerow(["submission", "score", "out of", "problem", *columns])
    for grade in grades:
        cells = [text for result in grade.results for text in (result.outcome, " ".join(result.faults))]
        row = [shown_name(grade.submission), grade.score, len(grade.results), " ".join(grade.problem.split()), *cells]
        writer.writerow([_no_formula(cell) if isinstance(cell, str) else cell for cell in row])
    return stream.getvalue().encode()


def as_json(grades: Sequence[Grade], settings: Mapping[str, Any]) -> bytes:
    """Everything that is known of each grade, with the seed of its probes."""
    document = {
        **settings,
        "grades": [
            {
                "submission": shown_name(grade.submission),
                "sha256": grade.fingerprint,
                "score": grade.score,
                "out of": len(grade.results),
                "problem": grade.problem,
                "failed cells": grade.failed_cells,
                "seed": grade.seed,
                "seconds": round(grade.seconds, 3),
                "results": [
                    {"exercise": r.exercise, "outcome": r.outcome, "mistakes": r.faults, "message": r.message}
                    for r in grade.results
                ],
            }
            for grade in grades
        ],
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def as_page(grade: Grade) -> bytes:
    """The feedback for one student: a page without scripts, in which nothing of the submission is markup."""
    title = f"{shown_name(grade.submission)}: {grade.score} of {len(grade.results)}"
    if grade.problem:
        parts = [f"<p>{escape(grade.problem)}</p>"]
    else:
        parts = [f"<section>\n{result.as_html()}\n</section>" for result in grade.results]
    if grade.failed_cells:
        items = "\n".join(f"<li>{escape(cell)}</li>" for cell in grade.failed_cells)
        parts.append(
            "<section>\n<p><strong>Cells that did not run to their end</strong></p>\n"
            "<p>Cells run from top to bottom in a fresh Python, without network or the package's own answers.</p>\n"
            f"<ul>\n{items}\n</ul>\n</section>"
        )
    return PAGE.format(title=escape(title), body="\n".join(parts)).encode("utf-8", "backslashreplace")


def page_path(folder: Path, grade: Grade) -> Path:
    """Where a submission's feedback goes: the submission's own name with ``.html`` behind it."""
    path = folder / f"{grade.submission}.html"
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        path = path.with_name(f"{hashlib.sha256(os.fsencode(path.name)).hexdigest()}.html")
    return path


def summary(grades: Sequence[Grade], exercises: Sequence[Exercise]) -> str:
    """How the class did: outcomes by exercise, and the mistakes that were named most often."""
    outcomes = Table(
        ("exercise", *OUTCOMES),
        tuple(
            (
                exercise.id,
                *(str(sum(grade.results[place].outcome == outcome for grade in grades)) for outcome in OUTCOMES),
            )
            for place, exercise in enumerate(exercises)
        ),
    )
    counts = Counter(
        (result.exercise, fault) for grade in grades for result in grade.results for fault in result.faults
    )
    parts = [outcomes.as_text()]
    if counts:
        rows = tuple((exercise, fault, str(count)) for (exercise, fault), count in counts.most_common(5))
        parts.append(Table(("exercise", "mistake", "how often"), rows).as_text())
    if problems := sum(bool(grade.problem) for grade in grades):
        parts.append(f"{problems} of {len(grades)} files could not be graded: the column `problem` says why.")
    return "\n\n".join(parts)


def _no_formula(text: str) -> str:
    """Text that no spreadsheet computes: an apostrophe before it where it would."""
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA_STARTS) else text
