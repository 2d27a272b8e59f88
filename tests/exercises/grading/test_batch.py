"""A folder of anything becomes one row a file, whatever happens to the grader on the way."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from typer.testing import CliRunner

from bncourse import cli
from bncourse.exercises import bn_forward, list_exercises, merge
from bncourse.exercises.grading import batch, report, submission
from bncourse.exercises.grading.journal import JournalError
from tests.exercises.forward_mistakes import beta_missing
from tests.exercises.grading.hostile import HOSTILE
from tests.exercises.grading.notebooks import check, completed, mistaken, notebook, solution, untouched

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("sandbox")]
WORKERS = 4
SECONDS = 3.0


def grade(folder, output, exercises=(bn_forward,), **settings):
    return batch.grade_folder(folder, output, exercises, settings.pop("seconds", SECONDS), WORKERS, **settings)


def rows(output):
    return list(csv.DictReader(io.StringIO(output.read_text(encoding="utf-8"))))


def hand_in(folder, **submissions):
    folder.mkdir(exist_ok=True)
    for name, content in submissions.items():
        (folder / f"{name}.ipynb").write_bytes(content)


RIGHT = notebook(*completed(bn_forward))
WRONG = notebook(*mistaken(bn_forward, beta_missing))


def test_each_kind_of_submission_gets_its_row(tmp_path):
    class_folder = tmp_path / "class"
    hand_in(
        class_folder,
        right=RIGHT,
        wrong=WRONG,
        unfinished=notebook(*untouched(bn_forward)),
        hostile=notebook(*HOSTILE["hard exit in a cell"]),
        without_its_cells=notebook("x = 1"),
        another_name=notebook(
            solution(bn_forward).replace("def batch_norm_forward", "def mine"), check(bn_forward, "mine")
        ),
        no_check=notebook(solution(bn_forward)),
        checked_twice=notebook(
            solution(bn_forward),
            "def wrong(x, gamma, beta, eps):\n    return x",
            check(bn_forward, "wrong"),
            check(bn_forward),
        ),
        another_kernel=notebook("x <- 1", language="R"),
        old_format=notebook(*completed(bn_forward), nbformat=3),
        empty=b"",
        cut=RIGHT[: len(RIGHT) // 2],
        binary=bytes(range(256)),
        no_notebook=b'{"a": 1}',
        a_list=b"[1, 2]",
        nested=b"[" * 100_000,
        no_cells=json.dumps({"nbformat": 4, "metadata": {}}).encode(),
        odd_cells=json.dumps(
            {"nbformat": 4, "metadata": [], "cells": [1, {"cell_type": "code", "source": 5}]}
        ).encode(),
        huge=b" " * (submission.LARGEST_FILE + 1),
        syntax_error=notebook("def batch_norm_forward(x, gamma, beta, eps)\n    return x", check(bn_forward)),
        magic=notebook("%matplotlib inline\nimport numpy as np\n!pip install x\nnp.sum?", *completed(bn_forward)),
        byte_order_mark=b"\xef\xbb\xbf" + RIGHT,
    )
    (class_folder / "a script.py").write_text(solution(bn_forward))
    (class_folder / "folder").mkdir()
    (class_folder / "folder" / "right.ipynb").write_bytes(RIGHT)
    (class_folder / ".hidden.ipynb").write_bytes(RIGHT)
    (class_folder / ".ipynb_checkpoints").mkdir()
    (class_folder / ".ipynb_checkpoints" / "right.ipynb").write_bytes(RIGHT)
    (class_folder / "link.ipynb").symlink_to(class_folder / "right.ipynb")
    (class_folder / "linked folder").symlink_to(class_folder / "folder")
    os.mkfifo(class_folder / "pipe.ipynb")

    grade(class_folder, tmp_path / "out" / "grades.csv")
    found = {row["submission"]: row for row in rows(tmp_path / "out" / "grades.csv")}
    passed = {"right", "another_name", "no_check", "checked_twice", "magic", "byte_order_mark", "folder/right"}
    assert {name for name, row in found.items() if row["score"] == "1"} == {f"{name}.ipynb" for name in passed}
    assert found["wrong.ipynb"]["bn_forward mistakes"] == "beta_missing"
    outcomes = {
        "wrong": "failed",
        "unfinished": "not attempted",
        "hostile": "error",
        "without_its_cells": "not attempted",
        "syntax_error": "error",
    }
    for name, outcome in outcomes.items():
        assert (found[f"{name}.ipynb"]["bn_forward"], found[f"{name}.ipynb"]["problem"]) == (outcome, "")
    problems = {
        "another_kernel.ipynb": "runs R",
        "old_format.ipynb": "format 3",
        "empty.ipynb": "empty",
        "cut.ipynb": "not JSON",
        "binary.ipynb": "UTF-8",
        "no_notebook.ipynb": "nbformat",
        "a_list.ipynb": "nbformat",
        "nested.ipynb": "not JSON",
        "no_cells.ipynb": "no list of cells",
        "odd_cells.ipynb": "no code",
        "huge.ipynb": "10.0 MiB",
        "a script.py": "not a notebook",
        "link.ipynb": "symbolic link",
        "linked folder": "symbolic link",
        "pipe.ipynb": "not a regular file",
    }
    for name, reason in problems.items():
        assert reason in found[name]["problem"], name
        assert found[name]["score"] == "0"
    assert len(found) == len(passed) + len(outcomes) + len(problems) == len(rows(tmp_path / "out" / "grades.csv"))
    message = json.loads((tmp_path / "out" / "grades.json").read_text())["grades"]
    (syntax,) = (each["results"][0]["message"] for each in message if each["submission"] == "syntax_error.ipynb")
    assert "code cell 1" in syntax
    assert "expected ':'" in syntax


def test_every_student_gets_a_page_that_says_what_the_table_says(tmp_path):
    hand_in(tmp_path / "class", right=RIGHT, wrong=WRONG, cut=RIGHT[:100])
    grade(tmp_path / "class", tmp_path / "grades.csv")
    pages = {path.name: path.read_text() for path in (tmp_path / "grades-feedback").iterdir()}
    assert set(pages) == {"right.ipynb.html", "wrong.ipynb.html", "cut.ipynb.html"}
    assert "bn_forward: passed" in pages["right.ipynb.html"]
    assert "beta is missing" in pages["wrong.ipynb.html"]
    assert "not JSON" in pages["cut.ipynb.html"]


def test_progress_counts_every_file(tmp_path):
    hand_in(tmp_path / "class", a=RIGHT, b=WRONG, c=b"")
    told = []
    grade(tmp_path / "class", tmp_path / "grades.csv", progress=lambda *counts: told.append(counts))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_the_json_holds_the_seed_that_draws_the_probes_again(tmp_path):
    hand_in(tmp_path / "class", wrong=WRONG)
    grade(tmp_path / "class", tmp_path / "grades.csv")
    (row,) = json.loads((tmp_path / "grades.json").read_text())["grades"]
    again = bn_forward.verdict(beta_missing, bn_forward.make_probes(np.random.default_rng(row["seed"])))
    assert again.message == row["results"][0]["message"]


def test_two_gradings_of_one_notebook_use_different_probes(tmp_path):
    hand_in(tmp_path / "class", a=WRONG, b=WRONG)
    grade(tmp_path / "class", tmp_path / "grades.csv")
    seeds = {row["seed"] for row in json.loads((tmp_path / "grades.json").read_text())["grades"]}
    assert len(seeds) == 2


def test_only_new_and_changed_work_is_graded_again(tmp_path):
    folder, output = tmp_path / "class", tmp_path / "grades.csv"
    hand_in(folder, a=RIGHT, b=WRONG, c=RIGHT)
    assert grade(folder, output).reused == 0
    hand_in(folder, b=RIGHT, late=RIGHT)
    (folder / "c.ipynb").unlink()
    (tmp_path / "grades-feedback" / "a.ipynb.html").unlink()
    assert grade(folder, output).reused == 1
    assert [(row["submission"], row["score"]) for row in rows(output)] == [
        ("a.ipynb", "1"),
        ("b.ipynb", "1"),
        ("late.ipynb", "1"),
    ]
    assert (tmp_path / "grades-feedback" / "a.ipynb.html").exists(), "a lost page is written again"


def test_other_settings_need_another_journal(tmp_path):
    hand_in(tmp_path / "class", a=RIGHT)
    grade(tmp_path / "class", tmp_path / "grades.csv")
    with pytest.raises(JournalError, match="other settings"):
        grade(tmp_path / "class", tmp_path / "grades.csv", (merge,))


def start(folder, output, **options):
    command = [sys.executable, "-m", "bncourse", "grade", str(folder), "-o", str(output), "-e", "bn_forward"]
    return subprocess.Popen([*command, "--workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def lines(journal):
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


@pytest.mark.parametrize("after", [1, 2, 5, 9])
def test_a_run_that_is_killed_goes_on_where_it_was(after, tmp_path):
    """kill -9 after some rows, again and again, until it is done: every submission once, none graded twice."""
    folder, output = tmp_path / "class", tmp_path / "grades.csv"
    hand_in(folder, **{f"student{number:02}": RIGHT if number % 2 else WRONG for number in range(12)})
    journal, kills = tmp_path / "grades.journal", 0
    while not output.exists():
        process = start(folder, output)
        goal = lines(journal) + after
        while process.poll() is None and lines(journal) < goal:
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        _, errors = process.communicate()
        assert kills < 20, errors
    assert kills >= 1
    names = [json.loads(line)["submission"] for line in journal.read_text().splitlines()[1:]]
    assert sorted(names) == sorted(set(names)), "a submission was graded twice"
    assert [(row["submission"], row["score"]) for row in rows(output)] == [
        (f"student{number:02}.ipynb", str(number % 2)) for number in range(12)
    ]
    assert len(list((tmp_path / "grades-feedback").glob("*.html"))) == 12


def test_a_killed_grader_leaves_no_process_behind(tmp_path):
    """A submission that sleeps must not outlive the grader that ran it."""
    mark = f"{time.time_ns()}"
    hand_in(tmp_path / "class", a=notebook(f"import time\nx = {mark}\ntime.sleep(60)"))
    process = start(tmp_path / "class", tmp_path / "grades.csv")
    while not (begun := children(process.pid)):
        time.sleep(0.01)
        assert process.poll() is None
    process.kill()
    process.wait()
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in begun):
        assert time.monotonic() < deadline, "the sandbox outlived its grader"
        time.sleep(0.02)


def children(pid):
    """The processes named bwrap that this process started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = stat.read_text().split("(", 1)[1].rsplit(")", 1)
        except OSError:
            continue
        if name == "bwrap" and int(rest.split()[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def test_a_torn_last_line_is_graded_again(tmp_path):
    hand_in(tmp_path / "class", a=RIGHT, b=WRONG)
    grade(tmp_path / "class", tmp_path / "grades.csv")
    journal = tmp_path / "grades.journal"
    whole = journal.read_bytes()
    for cut in (1, 40, len(whole.splitlines()[-1]) + 1):
        journal.write_bytes(whole[:-cut])
        again = grade(tmp_path / "class", tmp_path / "grades.csv")
        assert again.reused == 1
        assert [row["score"] for row in rows(tmp_path / "grades.csv")] == ["1", "0"]
        assert len(journal.read_bytes().splitlines()) == 3


def test_two_runs_do_not_share_a_journal(tmp_path):
    hand_in(tmp_path / "class", a=notebook("import time\ntime.sleep(60)"))
    first = start(tmp_path / "class", tmp_path / "grades.csv")
    while not children(first.pid):
        time.sleep(0.01)
    second = start(tmp_path / "class", tmp_path / "grades.csv")
    _, errors = second.communicate()
    first.kill()
    first.communicate()
    assert second.returncode == 2
    assert b"in use" in errors


def test_a_sandbox_that_stops_starting_loses_no_row(tmp_path, monkeypatch):
    """Catches a run in which a machine that is out of processes turns into zeros for the class."""
    hand_in(tmp_path / "class", a=RIGHT, b=RIGHT, c=RIGHT)
    real, calls = batch.grade, []

    def failing(name, *rest):
        calls.append(name)
        if name == "b.ipynb":
            raise batch.SandboxError("no more processes")
        return real(name, *rest)

    monkeypatch.setattr(batch, "grade", failing)
    first = grade(tmp_path / "class", tmp_path / "grades.csv")
    assert first.not_started == ("b.ipynb",)
    assert calls.count("b.ipynb") == 2, "it was tried again"
    assert "Not graded yet" in rows(tmp_path / "grades.csv")[1]["problem"]
    monkeypatch.undo()
    second = grade(tmp_path / "class", tmp_path / "grades.csv")
    assert (second.reused, second.not_started) == (2, ())
    assert [row["score"] for row in rows(tmp_path / "grades.csv")] == ["1", "1", "1"]


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40)


@hypothesis.given(NAMES, st.text(max_size=20))
def test_no_cell_of_the_table_is_a_formula(name, problem):
    given = submission.ungraded(name, "", [bn_forward], problem)
    parsed = list(csv.reader(io.StringIO(report.as_csv([given], [bn_forward]).decode())))
    assert len(parsed) == 2
    for cell in parsed[1]:
        assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_a_name_like_a_formula_is_defused_and_still_recognized(tmp_path):
    (tmp_path / "class").mkdir()
    for name in ('=cmd|" C calc"!A0.ipynb', "@SUM(1).ipynb", "-1.ipynb", 'Ärger, "so" =1.ipynb'):
        (tmp_path / "class" / name).write_bytes(b"")
    grade(tmp_path / "class", tmp_path / "grades.csv")
    assert {row["submission"].removeprefix("'") for row in rows(tmp_path / "grades.csv")} == {
        path.name for path in (tmp_path / "class").iterdir()
    }


def test_names_that_are_no_text_are_graded_too(tmp_path):
    folder = tmp_path / "class"
    folder.mkdir()
    names = [b"latin-\xe9.ipynb", b"line\nbreak.ipynb", b"\x1b[2J.ipynb", b"n" * 249 + b".ipynb"]
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(RIGHT)
    grade(folder, tmp_path / "grades.csv")
    assert [row["score"] for row in rows(tmp_path / "grades.csv")] == ["1"] * 4
    assert "\x1b" not in (tmp_path / "grades.csv").read_text()
    assert len(list((tmp_path / "grades-feedback").iterdir())) == 4


def test_the_command_says_what_is_wrong_in_one_line(tmp_path):
    hand_in(tmp_path / "class", a=RIGHT)
    runner = CliRunner()
    (tmp_path / "none").mkdir()
    inside, outside = str(tmp_path / "class" / "grades.csv"), str(tmp_path / "grades.csv")
    for arguments, wanted in (
        (["class", "-o", inside], "outside of the folder"),
        (["none", "-o", outside], "found no file"),
        (["class", "-o", outside, "-e", "bn_backwards"], "expected an exercise among"),
    ):
        run = runner.invoke(cli.app, ["grade", str(tmp_path / arguments[0]), *arguments[1:]])
        assert run.exit_code == 2, run.output
        (line,) = run.output.splitlines()
        assert wanted in line
    assert not list(tmp_path.rglob("grades*")), "nothing is written before the arguments are right"


def test_the_command_shows_how_the_class_did(tmp_path):
    hand_in(tmp_path / "class", a=RIGHT, b=WRONG, c=WRONG)
    arguments = ["grade", str(tmp_path / "class"), "-o", str(tmp_path / "grades.csv"), "-e", "bn_forward"]
    run = CliRunner().invoke(cli.app, arguments)
    assert run.exit_code == 0, run.output
    assert ["bn_forward", "1", "2", "0", "0", "0"] in [line.split() for line in run.output.splitlines()]
    assert ["bn_forward", "beta_missing", "2"] in [line.split() for line in run.output.splitlines()]


def test_all_exercises_are_graded_where_none_is_named(tmp_path):
    hand_in(tmp_path / "class", a=notebook(*completed()))
    arguments = ["grade", str(tmp_path / "class"), "-o", str(tmp_path / "grades.csv")]
    assert CliRunner().invoke(cli.app, arguments).exit_code == 0
    (row,) = rows(tmp_path / "grades.csv")
    assert (row["score"], row["out of"]) == (str(len(list_exercises())),) * 2
