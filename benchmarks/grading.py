"""Measure the graders: what importing and checking cost a learner, and how fast a class is graded.

    python benchmarks/grading.py

Two hundred submissions are made, of every kind that hands itself in: right, wrong, unfinished, without the cells,
broken, of another language, hostile. They are graded by as many workers as there are cores, with and without the
hostile ones. The exercises about kernels, which load Triton, are a class of their own. The result goes into the
package's recorded results.
"""

# mypy: disable-error-code="import-untyped, no-untyped-call"
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bncourse import results  # noqa: E402
from bncourse.exercises import Exercise, list_exercises  # noqa: E402
from bncourse.exercises.grading.batch import grade_folder  # noqa: E402

COMMAND = "python benchmarks/grading.py"
TIME_LIMIT = 10.0
COUNTS = {
    "right": 90,
    "wrong": 40,
    "unfinished": 20,
    "missing cells": 10,
    "broken": 10,
    "another language": 10,
    "hostile": 20,
}
KERNEL_COUNTS = {"right": 40}
REPEATS = 11


def main() -> int:
    """Measure, print and record."""
    start = time.perf_counter()
    # For the checks of kernels in this process: one is for Triton, the other for the tests' banks.
    os.environ |= {"TRITON_INTERPRET": "1", "BNCOURSE_TEST_KERNELS": "1"}
    outcome = {"import": imports(), "check": checks(), "batch": batches()}
    print(json.dumps(outcome, indent=1))
    settings = {
        "submissions": COUNTS,
        "with kernels": KERNEL_COUNTS,
        "time limit": TIME_LIMIT,
        "workers": cores(),
        "repeats": REPEATS,
    }
    seconds = time.perf_counter() - start
    source = results.provenance(COMMAND, ["numpy"], threads=cores(), seconds=seconds)
    results.save(results.Record("grading", settings, source, outcome))
    return 0


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def imports() -> dict[str, float]:
    """Seconds to start Python and import, in turn: NumPy alone, and the exercises with all their files."""
    programs = {
        "numpy": "import numpy",
        "bncourse.exercises": "import bncourse.exercises",
        "all exercises": "from bncourse.exercises import list_exercises; list_exercises()",
    }
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(REPEATS):
        for name, program in programs.items():
            times[name].append(timed(partial(subprocess.run, [sys.executable, "-c", program], check=True)))
    return {name: statistics.median(values) for name, values in times.items()}


def checks() -> dict[str, dict[str, float]]:
    """Seconds that one check takes: of the solution, of the slowest mistake with a name, and of one without."""
    from tests.exercises.bank import solved
    from tests.exercises.test_mistakes import BANK

    def slowest(exercise: Exercise, functions: list[object]) -> float:
        def verdict(function: object) -> None:
            with np.errstate(all="ignore"):
                exercise.verdict(function, exercise.make_probes(np.random.default_rng()))

        return max(
            statistics.median(timed(partial(verdict, function)) for _ in range(REPEATS)) for function in functions
        )

    found = {}
    for exercise in list_exercises():
        bank = BANK[exercise.id]
        found[exercise.id] = {
            "right": slowest(exercise, [solved(exercise)]),
            "named": slowest(exercise, list(bank.SINGLES.values())),
            "not named": slowest(exercise, list(bank.UNNAMED)),
        }
    return found


def batches() -> dict[str, dict[str, object]]:
    """Seconds to grade the class, and submissions a second; without the hostile ones, with them, and of kernels."""
    without = {kind: count for kind, count in COUNTS.items() if kind != "hostile"}
    kernels = [exercise for exercise in list_exercises() if exercise.kernels]
    return {
        "without hostile ones": batch(without, without_kernels()),
        "all": batch(COUNTS, without_kernels()),
        "with kernels": batch(KERNEL_COUNTS, kernels),
    }


def without_kernels() -> list[Exercise]:
    """The exercises that need NumPy alone."""
    return [exercise for exercise in list_exercises() if not exercise.kernels]


def batch(counts: dict[str, int], exercises: list[Exercise]) -> dict[str, object]:
    """One class: how long it took as a whole, and one submission of each kind in the median and at most."""
    with tempfile.TemporaryDirectory() as folder:
        submissions, output = Path(folder, "class"), Path(folder, "out", "grades.csv")
        count = hand_in(submissions, counts, exercises)
        took = timed(lambda: grade_folder(submissions, output, exercises, TIME_LIMIT, cores()))
        grades = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))["grades"]
    assert len(grades) == count
    seconds: dict[str, list[float]] = {kind: [] for kind in counts}
    for grade in grades:
        seconds[grade["submission"].rsplit(" ", 1)[0]].append(grade["seconds"])
    return {
        "submissions": count,
        "seconds": took,
        "submissions a second": count / took,
        "median": {kind: statistics.median(values) for kind, values in seconds.items()},
        "longest": {kind: max(values) for kind, values in seconds.items()},
    }


def hand_in(folder: Path, counts: dict[str, int], exercises: list[Exercise]) -> int:
    """Write submissions of these kinds; each grades all these exercises, and no two files are the same."""
    from tests.exercises.grading.hostile import HOSTILE
    from tests.exercises.grading.notebooks import completed, mistaken, notebook, untouched
    from tests.exercises.test_mistakes import BANK

    wrong = [(exercise, function) for exercise in exercises for function in BANK[exercise.id].SINGLES.values()]
    # The first of them is one that only the time limit ends.
    slowest = "endless loop that swallows its alarm"
    hostile = [HOSTILE[slowest], *(cells for name, cells in HOSTILE.items() if name != slowest)]
    whole = notebook(*completed(*exercises))
    make: dict[str, Callable[[int], bytes]] = {
        "right": lambda number: notebook(f"number = {number}", *completed(*exercises)),
        "wrong": lambda number: notebook(
            f"number = {number}", *completed(*exercises), *mistaken(*wrong[7 * number % len(wrong)])
        ),
        "unfinished": lambda number: notebook(
            f"number = {number}", *completed(exercises[0]), *untouched(*exercises[1:])
        ),
        "missing cells": lambda number: notebook(f"number = {number}", *completed(*exercises[: 1 + number % 3])),
        "broken": lambda number: whole[: len(whole) * (number + 1) // 20],
        "another language": lambda number: notebook(f"number <- {number}", language="R"),
        "hostile": lambda number: notebook(*hostile[3 * number % len(hostile)], f"number = {number}"),
    }
    folder.mkdir()
    for kind, count in counts.items():
        for number in range(count):
            Path(folder, f"{kind} {number:03}.ipynb").write_bytes(make[kind](number))
    return sum(counts.values())


def timed(act: Callable[[], object]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    sys.exit(main())
