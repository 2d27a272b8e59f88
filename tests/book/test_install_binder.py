"""Binder's environment, made bare, must run the notebooks of the export."""

import ast
import os
import subprocess
import zipfile
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

import nbformat
import pytest
import yaml

from tests.book.installs import ROOT, Environment, export_to, locked

pytestmark = pytest.mark.install

EVERY = bool(os.environ.get("BNCOURSE_TEST_EVERY_NOTEBOOK"))
"""Whether to run all of them, as once a week: `make test` runs each in the development environment anyway."""


def test_what_binder_installs_runs_the_notebooks(built_book, tmp_path):
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

    notebooks = sorted(export.glob("book/**/*.ipynb"))
    assert notebooks
    (wheel,) = export.glob("*.whl")
    assert package_files() <= set(zipfile.ZipFile(wheel).namelist())
    binder.run("python", "-c", "\n".join(sorted(imports(notebooks))), cwd=export)
    chosen = notebooks if EVERY else [next(part) for _, part in groupby(notebooks, key=lambda path: path.parent)]
    binder.run("jupyter", "execute", "--timeout=120", *map(str, chosen), cwd=export)


def package_files() -> set[str]:
    """What the repository has of the package."""
    listed = subprocess.run(["git", "ls-files", "bncourse"], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(listed.stdout.split())


def imports(notebooks: list[Path]) -> set[str]:
    """Everything that these notebooks import, as statements, but for modules that a chapter writes itself."""
    cells = [cell for path in notebooks for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    nodes = [node for cell in cells for node in ast.walk(ast.parse(cell.source))]
    found = {node: node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    found |= {node: node.names[0].name for node in nodes if isinstance(node, ast.Import)}
    assert any(name.startswith("bncourse") for name in found.values())
    return {ast.unparse(node) for node, name in found.items() if find_spec(name.split(".")[0])}
