"""The progress file: what it keeps, and that no state of the disk breaks a check."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bncourse.exercises import bn_backward, bn_forward, export_progress, import_progress, progress
from bncourse.exercises import progress_file as store

RIGHT = bn_forward.solution_function


def wrong(x, gamma, beta, eps):
    return x


def unattempted(x, gamma, beta, eps):
    raise NotImplementedError


def test_states_go_forward_only(progress_folder):
    bn_forward.check(unattempted)
    assert store.load_states() == {}
    assert not progress_folder.exists(), "an unattempted exercise leaves no file behind"
    bn_forward.check(wrong)
    assert store.load_states() == {"bn_forward": "attempted"}
    bn_forward.check(RIGHT)
    assert store.load_states() == {"bn_forward": "passed"}
    bn_forward.check(wrong)
    assert store.load_states() == {"bn_forward": "passed"}


@pytest.mark.parametrize("function", [None, lambda x: x, lambda *a, eps: 1 / 0, lambda *a, eps: None])
def test_an_error_or_a_wrong_interface_is_an_attempt(function):
    bn_forward.check(function)
    assert store.load_states() == {"bn_forward": "attempted"}


def test_the_table_shows_every_exercise_with_its_state(capsys):
    bn_forward.check(RIGHT)
    bn_backward.check(wrong)
    capsys.readouterr()
    progress()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[0] == "bn_forward"
    assert lines[1].endswith("passed")
    assert lines[2].endswith(" attempted")
    assert str(store.progress_path()) in lines[-1]


def test_the_table_of_a_beginner(capsys):
    progress()
    lines = capsys.readouterr().out.splitlines()
    assert all(line.endswith("not attempted") for line in lines[1:-1])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[]",
        b"null",
        b'{"version": 99, "exercises": {}}',
        b'{"version": 1}',
        b'{"version": 1, "exercises": {"bn_forward": "excellent"}}',
        b'{"version": 1, "exercises": {"bn_forward": ["passed"]}}',
        b"[" * 100_000,
    ],
)
def test_a_corrupt_file_is_set_aside_and_the_check_goes_on(progress_folder, content):
    progress_folder.mkdir()
    (progress_folder / "progress.json").write_bytes(content)
    assert bn_forward.check(RIGHT).outcome == "passed"
    assert (progress_folder / "progress.corrupt.json").read_bytes() == content
    assert store.load_states() == {"bn_forward": "passed"}


def test_a_folder_that_cannot_be_made_is_not_a_crash(progress_folder, capsys):
    """A file stands where the folder should be: as unwritable as a read-only home, for root too."""
    progress_folder.write_text("in the way")
    assert bn_forward.check(RIGHT).outcome == "passed"
    assert store.load_states() == {"bn_forward": "passed"}, "kept while Python runs"
    progress()
    assert "cannot be written" in capsys.readouterr().out
    progress_folder.unlink()
    bn_backward.check(wrong)
    assert json.loads((progress_folder / "progress.json").read_text())["exercises"] == {
        "bn_forward": "passed",
        "bn_backward": "attempted",
    }
    store.progress_path().unlink()
    assert store.load_states() == {}, "once it is saved, the file is the only memory"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_not_a_crash(progress_folder):
    progress_folder.mkdir()
    progress_folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert bn_forward.check(RIGHT).outcome == "passed"


def test_an_unreadable_progress_file_is_not_a_crash(progress_folder):
    (progress_folder / "progress.json").mkdir(parents=True)
    assert bn_forward.check(RIGHT).outcome == "passed"
    assert store.load_states() == {"bn_forward": "passed"}


def test_the_file_is_moved_into_place_whole(progress_folder, monkeypatch):
    """Catches a writer that opens the file itself: when it dies half-way, the old progress is gone."""
    bn_forward.check(RIGHT)
    before = store.progress_path().read_bytes()

    def dies(document, stream, **options):
        stream.write('{"version"')
        raise OSError("no space left")

    monkeypatch.setattr(store.json, "dump", dies)
    bn_backward.check(wrong)
    assert store.progress_path().read_bytes() == before
    assert [path.name for path in progress_folder.iterdir()] == ["progress.json"]


def test_progress_travels(tmp_path, monkeypatch):
    bn_forward.check(RIGHT)
    bn_backward.check(wrong)
    export_progress(tmp_path / "carried.json")

    monkeypatch.setenv("BNCOURSE_DATA", str(tmp_path / "other"))
    bn_forward.check(wrong)
    bn_backward.check(bn_backward.solution_function)
    import_progress(tmp_path / "carried.json")
    assert store.load_states() == {"bn_forward": "passed", "bn_backward": "passed"}


def test_importing_something_else_names_the_file(tmp_path):
    other = tmp_path / "other.json"
    other.write_text('{"cells": []}')
    with pytest.raises(ValueError, match=r"expected path to hold exported progress, got '.*other\.json'"):
        import_progress(other)
    with pytest.raises(FileNotFoundError):
        import_progress(tmp_path / "absent.json")
    assert other.exists()


def test_without_the_variable_the_file_lies_in_the_users_data_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("BNCOURSE_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    path = store.progress_path()
    assert path.name == "progress.json"
    assert path.parent.name == "bncourse"


def test_two_processes_do_not_lose_each_others_progress(progress_folder):
    code = "from bncourse.exercises.progress_file import record; record({!r}, 'passed')"
    root = Path(__file__).parents[2]
    for exercise_id in ("one", "two"):
        subprocess.run([sys.executable, "-c", code.format(exercise_id)], check=True, cwd=root)
    assert store.load_states() == {"one": "passed", "two": "passed"}
