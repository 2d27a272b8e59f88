"""Binder's environment, made bare, must run every notebook of the export."""

import pytest
import yaml

from tests.book.installs import Environment, export_to, locked

pytestmark = pytest.mark.install


def test_what_binder_installs_runs_every_notebook(built_book, tmp_path):
    """Catches a dependency that only the development environment has, and a wheel that lacks package data."""
    export = export_to(tmp_path)
    conda = yaml.safe_load((export / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    pip = next(entry["pip"] for entry in conda if isinstance(entry, dict))
    assert any(entry.startswith("pytorch-cpu") for entry in conda if isinstance(entry, str))

    binder = Environment(tmp_path / "environment")
    binder.install(locked("torch"), cwd=export)  # in conda's place
    torch = binder.installed(export)["torch"]
    binder.install(*pip, cwd=export)
    binder.run("python", "-m", "pip", "check", cwd=export)
    assert binder.installed(export)["torch"] == torch, "the pip part replaced conda's torch"

    notebooks = sorted(str(path) for path in export.glob("book/**/*.ipynb"))
    assert notebooks
    binder.run("jupyter", "execute", "--timeout=120", *notebooks, cwd=export)
