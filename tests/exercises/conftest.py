"""No test of the exercises touches the progress of whoever runs it."""

import pytest


@pytest.fixture(autouse=True)
def progress_folder(tmp_path, monkeypatch):
    """A fresh folder for the progress file, and nothing left in memory from another test."""
    monkeypatch.setenv("BNCOURSE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("bncourse.exercises.progress_file._unsaved", {})
    return tmp_path / "data"
