"""The commands, as a terminal runs them."""

import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from bncourse import __version__, cli
from bncourse.exercises import bn_forward, list_exercises


def test_exercises_lists_every_exercise_with_its_state(tmp_path, monkeypatch):
    monkeypatch.setenv("BNCOURSE_DATA", str(tmp_path))
    bn_forward.check(bn_forward.solution_function)
    result = CliRunner().invoke(cli.app, ["exercises"])
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.output.splitlines() if line.strip()}
    for exercise in list_exercises():
        assert exercise.title in rows[exercise.id]
        assert rows[exercise.id].rstrip().endswith("passed" if exercise is bn_forward else "not attempted")


def test_the_script_and_the_module_are_the_same_program():
    script = Path(sys.executable).parent / "bncourse"
    for command in ([str(script)], [sys.executable, "-m", "bncourse"]):
        run = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        assert run.stdout.strip() == __version__
