"""A second build of the book, after one page has changed."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.book.sample import write_sample

pytestmark = pytest.mark.slow


def build(folder: Path) -> None:
    """Build what has changed since the last build."""
    command = [str(Path(sys.executable).parent / "jupyter-book"), "build", "-W", "--keep-going", str(folder)]
    variables = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", str(folder))}
    result = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    assert result.returncode == 0, result.stderr[-2000:]


def test_a_page_that_has_not_changed_is_not_written_again(tmp_path: Path) -> None:
    """Catches numbers of equations and figures that look new to Sphinx at each build; and numbers that change."""
    folder = write_sample(tmp_path)
    build(folder)
    site = folder / "_build/html/book/1_one"
    written = {name: (site / f"{name}.html").stat().st_mtime_ns for name in ("2_first", "exercises")}
    source = folder / "book/1_one/exercises.ipynb"
    changed = nbformat.read(source, as_version=4)  # type: ignore[no-untyped-call]
    changed.cells[0].source += "\n\nOne more paragraph, and {eq}`eq-sum`."
    nbformat.write(changed, source)  # type: ignore[no-untyped-call]
    build(folder)
    again = {name: (site / f"{name}.html").stat().st_mtime_ns for name in written}
    assert again["exercises"] > written["exercises"]
    assert again["2_first"] == written["2_first"]
    assert "(1.2.3)" in (site / "exercises.html").read_text(encoding="utf-8")
