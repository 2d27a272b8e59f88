"""Imports run down the floors of the package, and importing it is quick and loads little."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.book.chapters import ROOT

HEAVY = ("torch", "triton", "matplotlib", "pandas", "scipy", "sklearn")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of pyproject.toml on the package in ``folder``."""
    program = str(Path(sys.executable).parent / "lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [program, "--no-cache"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_imports_run_down_the_floors() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("reference/planted.py", "import bncourse.exercises"),
        ("reference/planted.py", "import bncourse.lab"),
        ("lab/planted.py", "from bncourse.reference import batch_norm"),
        ("exercises/planted.py", "import bncourse.experiments"),
        ("reference/planted.py", "import torch"),
        ("reference/planted.py", "def late() -> None:\n    import bncourse.cli"),
    ],
)
def test_an_import_against_the_floors_is_found(module: str, line: str, tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.json")
    shutil.copytree(ROOT / "bncourse", tmp_path / "bncourse", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "bncourse" / module).write_text(f'"""Planted."""\n\n{line}\n')
    result = lint(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "planted" in result.stdout


@pytest.mark.parametrize("module", ["bncourse", "bncourse.reference", "bncourse.exercises", "bncourse.plots"])
def test_importing_is_quick_and_loads_nothing_heavy(module: str) -> None:
    code = (
        "import sys, time\n"
        "start = time.process_time()\n"
        f"import {module}\n"
        "print(time.process_time() - start)\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    seconds, loaded = output.split("\n")[:2]
    assert loaded == ""
    # CPU time of one process, several times what it takes: a heavy import costs seconds.
    assert float(seconds) < (0.1 if module == "bncourse" else 1.0)
