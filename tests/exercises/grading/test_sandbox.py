"""The walls stand, and where one is missing nothing runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bncourse.exercises import bn_forward, tasks
from bncourse.exercises.grading import confine, prove, sandbox, submission
from bncourse.exercises.grading.sandbox import SandboxError, open_sandbox
from tests.exercises.grading.notebooks import check, notebook, solution

pytestmark = pytest.mark.slow

SEARCH = """
import os

def holds_an_answer(path):
    with open(path, "rb") as file:
        content = file.read()
    return b"def faulty_batch_norm" in content or b"batch_norm_inference" in content and b"bncourse" in content

seen, found = 0, []
for folder, folders, files in os.walk("/"):
    for name in files:
        if name.endswith((".py", ".pyc", ".ipynb", ".pth", ".json", ".journal")):
            path = os.path.join(folder, name)
            try:
                seen += 1
                if holds_an_answer(path) or name == "bn_forward.py":
                    found.append(path)
            except OSError:
                pass

def batch_norm_forward(x, gamma, beta, eps):
    raise ValueError(f"{seen} files seen, {found} found")
"""


def test_no_file_inside_holds_an_answer():
    """Reads every Python file and notebook that exists inside; their names and what they say give nothing away."""
    with open_sandbox(120, []) as opened:
        (result,) = submission.grade("s.ipynb", notebook(SEARCH, check(bn_forward)), [bn_forward], opened).results
    seen, found = re.search(r"(\d+) files seen, (\[.*?\]) found", result.message).groups()
    assert int(seen) > 1000
    assert found == "[]"


def test_without_bubblewrap_nothing_runs(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(SandboxError, match="apt-get install bubblewrap"), open_sandbox(10, []):
        pytest.fail("it went on without a wall")


def test_where_bubblewrap_fails_nothing_runs(tmp_path, monkeypatch):
    refusing = tmp_path / "bwrap"
    refusing.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda program: str(refusing))
    with pytest.raises(SandboxError, match=r"uid map: Permission denied.*What helps: "), open_sandbox(10, []):
        pytest.fail("it went on without a wall")


def test_a_wall_that_only_pretends_is_found_out(tmp_path, monkeypatch):
    """Catches a grader that trusts a program named bwrap: this one runs what it is given, without a wall around it."""
    pretending = tmp_path / "bwrap"
    pretending.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        "words = sys.argv[1:]\n"
        "bound = {words[i + 2]: words[i + 1] for i, word in enumerate(words) if word == '--ro-bind'}\n"
        "command = words[words.index('--') + 1:]\n"
        "for inside in ('/grader', '/packages/0'):\n"
        "    command[-1] = command[-1].replace(inside, bound[inside])\n"
        "os.execv(command[0], command)\n"
    )
    pretending.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda program: str(pretending))
    with pytest.raises(SandboxError, match=r"does not hold.*can be (read|imported)"), open_sandbox(10, []):
        pytest.fail("it went on without a wall")


def test_what_is_hidden_is_proved_to_be_hidden(sandbox, tmp_path):
    """Catches a proof that finds nothing because it looks at nothing."""
    visible = Path(os.__file__)
    hole = rf"does not hold.*{re.escape(str(visible))} can be read"
    with pytest.raises(SandboxError, match=hole), open_sandbox(10, [visible]):
        pytest.fail("it went on with a hole in the wall")


def test_the_proof_finds_every_hole_where_there_is_no_wall(tmp_path):
    """Runs the proof outside of any wall, in a process of its own: everything that can be done must be named."""
    secret = tmp_path / "secret"
    secret.write_text("answer")
    program = (
        "import json, os; from bncourse.exercises.grading import prove; os.execv = lambda *args: None; "
        f"print(json.dumps(prove.holes([{str(secret)!r}, '/nowhere'], 2**20)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    for hole in ("secret can be read", "a process", "a program", "a network", "more memory", "the package's answers"):
        assert hole in found
    assert "nowhere" not in found
    if os.geteuid() == 0:
        assert "still privileged" in found
        assert "written in /etc" in found


def test_every_refused_system_call_has_its_number():
    """Compares the table with the kernel's own headers, where they are installed."""
    headers = {
        0: Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        1: Path("/usr/include/asm-generic/unistd.h"),
    }
    for column, header in headers.items():
        if not header.exists():
            continue
        numbers = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text()))
        for name, row in confine.REFUSED.items():
            if row[column] is not None and name in numbers:
                assert int(numbers[name]) == row[column], name


def test_the_child_gets_no_module_that_knows_an_answer():
    names = set(sandbox.MODULES)
    assert not any("tasks" in name or "judge" in name or "reference" in name for name in names)
    for module in sandbox.MODULES.values():
        source = Path(module.__file__).read_text()
        assert "bncourse.reference import" not in source
        assert "from bncourse.exercises.tasks" not in source
    assert Path(tasks.__file__).parent not in {Path(module.__file__).parent for module in sandbox.MODULES.values()}
    assert prove in sandbox.MODULES.values()


def test_an_unsafe_machine_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxError, match="Linux"), open_sandbox(10, []):
        pytest.fail("it went on without a wall")


def test_runs_do_not_see_each_other(sandbox):
    """Two at once: neither the files nor the processes of one exist for the other."""
    from concurrent.futures import ThreadPoolExecutor

    cells = [
        "import os, time\nopen('/tmp/mine', 'x').close()\ntime.sleep(0.3)\nassert os.listdir('/tmp') == ['mine']",
        solution(bn_forward),
        check(bn_forward),
    ]
    with ThreadPoolExecutor(4) as pool:
        grades = list(
            pool.map(lambda name: submission.grade(name, notebook(*cells), [bn_forward], sandbox), map(str, range(4)))
        )
    assert [grade.failed_cells for grade in grades] == [()] * 4
    assert [grade.score for grade in grades] == [1] * 4
