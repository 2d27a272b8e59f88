"""The same grader on Gradescope: makes the archive that is uploaded there, and is what runs there.

The layout, the fields of ``results.json`` and the advice to run students' code as an unprivileged user are those of
Gradescope's own documentation (gradescope-autograders.readthedocs.io: specs, base images, best practices,
troubleshooting). Each submission runs there in a container of its own, which is thrown away.
"""

from __future__ import annotations

import io
import json
import math
import os
import sys
import zipfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import bncourse
from bncourse.exercises import list_exercises
from bncourse.exercises.exercise import Exercise
from bncourse.exercises.grading.report import shown_name, write_atomically
from bncourse.exercises.grading.sandbox import SandboxError, open_sandbox
from bncourse.exercises.grading.submission import (
    Grade,
    UnreadableSubmissionError,
    grade,
    read_submission,
    ungraded,
)

# What grading needs of the package and of others; an instructor's versions are those that were tried.
PARTS = ("__init__.py", "exercises", "reference")
REQUIREMENTS = ("numpy", "jaxtyping")
# What an exercise about kernels needs besides: its interpreter, which does without PyTorch.
KERNEL_REQUIREMENTS = ("triton",)
SETTINGS = "settings.json"
# By default a container there has 768 MB, of which the grader itself needs some.
MEMORY = 2**29
# Triton's library is mapped into the address space as a whole, and little of it is ever in memory.
KERNEL_MEMORY = MEMORY + 2**29

SETUP = """#!/usr/bin/env bash
# Runs once, as root, when the image is built.
set -euo pipefail

# The default image, Ubuntu 22.04, has Python 3.10, and 3.11 among its packages; newer ones have what is needed.
python=python3
if ! python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  apt-get update
  if python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    apt-get install -y python3-venv
  else
    apt-get install -y python3.11 python3.11-venv
    python=python3.11
  fi
fi
# Used where the container lets it make namespaces; where not, an unprivileged user is the wall.
command -v bwrap >/dev/null || apt-get install -y bubblewrap || echo "going on without bubblewrap"

umask 022
"$python" -m venv /autograder/environment
/autograder/environment/bin/pip install --quiet --disable-pip-version-check -r /autograder/source/requirements.txt
packages=$(/autograder/environment/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cp -r /autograder/source/bncourse "$packages/"
# A submission runs as nobody: it may read the libraries, and neither the answers nor what was uploaded.
chmod -R go-rwx "$packages/bncourse" /autograder/source
"""
RUN = """#!/usr/bin/env bash
# Runs as root in a fresh container, once for each submission.
set -euo pipefail
chmod -R go-rwx /autograder/results /autograder/submission /autograder/submission_metadata.json 2>/dev/null || true
exec /autograder/environment/bin/python -m bncourse.exercises.grading.gradescope /autograder
"""


def export(output: Path, exercises: Sequence[Exercise], seconds: float) -> None:
    """Write the archive to upload: its bytes depend on the package, the exercises and the limit alone.

    Parameters
    ----------
    output : the zip file.
    exercises : what is graded, one point each.
    seconds : what one submission may take.
    """
    settings = {"exercises": [exercise.id for exercise in exercises], "time limit": seconds}
    needed = REQUIREMENTS + (KERNEL_REQUIREMENTS if any(exercise.kernels for exercise in exercises) else ())
    requirements = "".join(f"{name}=={version(name)}\n" for name in needed)
    files = {
        "setup.sh": SETUP.encode(),
        "run_autograder": RUN.encode(),
        "requirements.txt": requirements.encode(),
        SETTINGS: (json.dumps(settings, indent=1) + "\n").encode(),
        **dict(_package_files()),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)
            member.compress_type = zipfile.ZIP_DEFLATED
            mode = 0o755 if content.startswith(b"#!") else 0o644
            member.external_attr = (0o100000 | mode) << 16
            archive.writestr(member, content)
    write_atomically(output, buffer.getvalue())


def run(folder: Path) -> None:
    """Grade the one notebook in ``folder/submission`` and write ``folder/results/results.json``.

    Raises
    ------
    SandboxError : if no wall holds. Then no result is written, and the platform reports that the autograder failed: an
        empty mark, not a wrong one.
    """
    settings = json.loads((folder / "source" / SETTINGS).read_text(encoding="utf-8"))
    exercises = [exercise for exercise in list_exercises() if exercise.id in settings["exercises"]]
    results = folder / "results" / "results.json"
    results.unlink(missing_ok=True)
    given = _grade(folder / "submission", exercises, settings["time limit"], [results, folder / "source" / SETTINGS])
    write_atomically(results, (json.dumps(as_results(given, exercises), indent=1) + "\n").encode())


def as_results(given: Grade, exercises: Sequence[Exercise]) -> dict[str, Any]:
    """A grade in the platform's format; every text is declared to be text, so that nothing in it is markup."""
    parts = [given.problem, *given.failed_cells]
    return {
        "output": "\n".join(filter(None, parts)) or f"{given.score} of {len(exercises)} exercises passed.",
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "execution_time": math.ceil(given.seconds),
        "extra_data": {"bncourse": bncourse.__version__, "seed": given.seed},
        "tests": [
            {
                "name": f"{exercise.id}: {exercise.title}",
                "score": int(result.outcome == "passed"),
                "max_score": 1,
                "status": "passed" if result.outcome == "passed" else "failed",
                "output": result.as_text(),
                "extra_data": {"outcome": result.outcome, "mistakes": list(result.faults)},
            }
            for exercise, result in zip(exercises, given.results, strict=True)
        ],
    }


def _grade(folder: Path, exercises: Sequence[Exercise], seconds: float, hidden: Sequence[Path]) -> Grade:
    notebooks = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() == ".ipynb" and not path.name.startswith(".")
    )
    if len(notebooks) != 1:
        names = ", ".join(shown_name(path.name) for path in notebooks) or "none"
        return ungraded("", "", exercises, f"Hand in one notebook (.ipynb); there are {len(notebooks)}: {names}.")
    (path,) = notebooks
    try:
        content = read_submission(path)
    except UnreadableSubmissionError as problem:
        return ungraded(path.name, "", exercises, str(problem))
    memory = KERNEL_MEMORY if any(exercise.kernels for exercise in exercises) else MEMORY
    with open_sandbox(seconds, hidden, memory=memory, platform_is_the_wall=True) as sandbox:
        return grade(path.name, content, exercises, sandbox)


def _package_files() -> Iterator[tuple[str, bytes]]:
    """The package's own modules as they are installed, by their place in the archive."""
    root = Path(bncourse.__file__).parent
    for part in PARTS:
        path = root / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            yield f"bncourse/{file.relative_to(root).as_posix()}", file.read_bytes()


if __name__ == "__main__":
    try:
        run(Path(sys.argv[1]))
    except SandboxError as error:
        print(f"Nothing was graded, because nothing untrusted runs here safely: {error}", file=sys.stderr)
        sys.exit(os.EX_UNAVAILABLE)
