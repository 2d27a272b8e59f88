"""The instructor's page is followed to the letter: each file written, each command run, each answer compared."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from bncourse.exercises import list_exercises

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "book" / "appendix" / "instructors.ipynb"
FENCE = re.compile(r"^```(bash|text|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(cell_id):
    """The fenced blocks of one section, in order, as (language, content)."""
    (cell,) = (cell for cell in nbformat.read(PAGE, as_version=4).cells if cell.id == cell_id)
    return FENCE.findall(cell.source)


@pytest.fixture
def clone(tmp_path):
    """A copy of what git knows of this repository, and the environment in which its own package is imported."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    ).stdout.splitlines()
    if not names:
        pytest.skip("no repository to clone")
    for name in names:
        if (ROOT / name).is_file() and name.startswith(("bncourse/", "tests/", "scripts/", "book/1_transform/")):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(tmp_path), "BNCOURSE_DATA": str(tmp_path / "data")}
    return tmp_path, environment


def follow(section, clone):
    """Do what a section says; every block of text must be what the command before it prints."""
    folder, environment = clone
    said = ""
    for language, content in blocks(section):
        if language == "python":
            name = re.match(r"# (\S+)\n", content)[1]
            (folder / name).write_text(content.partition("\n")[2])
        elif language == "bash":
            run = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", content], cwd=folder, env=environment, capture_output=True, text=True
            )
            assert run.returncode == 0, f"{content}\n{run.stdout}{run.stderr}"
            said = run.stdout
        else:
            assert said.strip().splitlines() == content.strip().splitlines(), section
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="the grader needs Linux")
def test_a_class_is_graded_as_the_page_says(clone):
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    folder = follow("grade", clone)
    follow("report", clone)
    follow("gradescope", clone)
    assert {path.name for path in (folder / "grades-feedback").iterdir()} == {
        "forgetful.ipynb.html",
        "solved.ipynb.html",
        "untouched.ipynb.html",
    }


@pytest.mark.skipif(sys.platform != "linux", reason="the page's commands are a Linux machine's")
def test_an_exercise_is_written_as_the_page_says(clone):
    """Catches a step that a newcomer could not take: the file must work as it stands, and its banks hold."""
    pytest.importorskip("cosmic_ray")
    follow("write", clone)


def test_the_page_shows_the_exercise_in_the_house_style(clone, tmp_path):
    (source,) = (content for language, content in blocks("write") if language == "python")
    path = tmp_path / "bn_inverse.py"
    path.write_text(source.partition("\n")[2])
    ruff = Path(sys.executable).with_name("ruff")
    for command in (
        ["check", "--config", ROOT / "pyproject.toml"],
        ["format", "--check", "--config", ROOT / "pyproject.toml"],
    ):
        run = subprocess.run([ruff, *command, path], capture_output=True, text=True)
        assert run.returncode == 0, run.stdout


def syllabi():
    """The three tables of the syllabus: for each week its chapters' numbers and its exercises."""
    (cell,) = (cell for cell in nbformat.read(PAGE, as_version=4).cells if cell.id == "syllabus")
    rows = re.findall(r"^\| (\d+) \| (.*?) \| (.*?) \|", cell.source, re.MULTILINE)
    tables = []
    for week, chapters, names in rows:
        if week == "1":
            tables.append([])
        tables[-1].append((re.findall(r"`(\d\.\d) <", chapters), re.findall(r"`(\w+)`", names)))
    return tables


def test_the_syllabi_are_of_the_lengths_that_they_say_and_the_longest_has_everything():
    tables = syllabi()
    assert [len(table) for table in tables] == [4, 8, 14]
    files = [path.relative_to(ROOT / "book") for path in (ROOT / "book").glob("[1-7]_*/[1-9]_*.ipynb")]
    numbers = sorted(f"{str(path)[0]}.{path.name[0]}" for path in files)
    assert [number for chapters, _ in tables[-1] for number in chapters] == numbers
    assert sorted(name for _, names in tables[-1] for name in names) == sorted(e.id for e in list_exercises())


@pytest.mark.parametrize("table", syllabi(), ids=len)
def test_an_exercise_is_set_when_its_chapter_was_read_or_is_being_read(table):
    chapter = {exercise.id: exercise.chapter for exercise in list_exercises()}
    for week, (chapters, names) in enumerate(table, start=1):
        for name in names:
            assert chapter[name] <= max(chapters), f"week {week}: {name} belongs to {chapter[name]}"


@pytest.mark.parametrize("table", syllabi(), ids=len)
def test_chapters_come_in_their_order(table):
    order = [number for chapters, _ in table for number in chapters]
    assert order == sorted(set(order))
