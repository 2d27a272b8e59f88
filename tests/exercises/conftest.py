"""No test of the exercises touches the progress of whoever runs it."""

import os

import pytest

# These run in a process of their own, which test_kernels.py starts.
collect_ignore = [] if os.environ.get("BNCOURSE_TEST_KERNELS") else ["interpreted"]


@pytest.fixture(autouse=True)
def progress_folder(tmp_path, monkeypatch):
    """A fresh folder for the progress file, and nothing left in memory from another test."""
    monkeypatch.setenv("BNCOURSE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("bncourse.exercises.progress_file._unsaved", {})
    return tmp_path / "data"
