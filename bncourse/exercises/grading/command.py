"""What ``bncourse grade`` does: its arguments checked, its progress shown, its errors in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bncourse.exercises import list_exercises
from bncourse.exercises.exercise import Exercise
from bncourse.exercises.grading import gradescope, report
from bncourse.exercises.grading.batch import grade_folder, pages_folder
from bncourse.exercises.grading.journal import JournalError
from bncourse.exercises.grading.sandbox import SandboxError

INSTALL_TRITON = "kernels run in Triton's interpreter, which is not installed here: pip install 'bncourse[kernels]'"


def grade(submissions: Path, output: Path, exercise_ids: Sequence[str], seconds: float, workers: int) -> int:
    """Grade a folder, show the progress on standard error and the summary on standard output; the exit status."""
    columns = (TextColumn("grading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        exercises = choose(exercise_ids)
        with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
            task = bar.add_task("grading", total=None)
            found = grade_folder(
                submissions,
                output,
                exercises,
                seconds,
                workers or len(os.sched_getaffinity(0)),
                lambda done, total: bar.update(task, completed=done, total=total),
            )
    except (ValueError, OSError, JournalError, SandboxError) as error:
        print(f"bncourse grade: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bncourse grade: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    print(report.summary(found.grades, exercises))
    earlier = f", {found.reused} of them graded by an earlier run" if found.reused else ""
    print(
        f"\n{len(found.grades)} submissions{earlier}: {output}, {output.with_suffix('.json')}, {pages_folder(output)}"
    )
    if found.not_started:
        print(f"bncourse grade: the sandbox did not start for {', '.join(found.not_started)}", file=sys.stderr)
        return 1
    return 0


def export(platform: str, output: Path, exercise_ids: Sequence[str], seconds: float) -> int:
    """Write the archive for another platform; the exit status."""
    try:
        if platform != "gradescope":
            raise ValueError(f"expected --export gradescope, the one platform that is known, got {platform}")
        gradescope.export(output, choose(exercise_ids), seconds)
    except (ValueError, OSError) as error:
        print(f"bncourse grade: {error}", file=sys.stderr)
        return 2
    print(f"{output}: upload it as the assignment's autograder")
    return 0


def choose(ids: Sequence[str]) -> list[Exercise]:
    """The exercises of these ids, or all that can be graded here.

    Raises
    ------
    ValueError : for an id that does not exist, and for an exercise about kernels where Triton is not installed.
    """
    exercises = {exercise.id: exercise for exercise in list_exercises()}
    if unknown := [id for id in ids if id not in exercises]:
        raise ValueError(f"expected an exercise among {', '.join(exercises)}, got {', '.join(unknown)}")
    chosen = [exercises[id] for id in ids] if ids else list(exercises.values())
    without = [exercise.id for exercise in chosen if exercise.kernels and find_spec("triton") is None]
    if without and ids:
        raise ValueError(f"{', '.join(without)}: {INSTALL_TRITON}")
    if without:
        print(f"bncourse grade: leaving out {', '.join(without)}: {INSTALL_TRITON}", file=sys.stderr)
    return [exercise for exercise in chosen if exercise.id not in without]
