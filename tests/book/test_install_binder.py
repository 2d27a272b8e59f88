"""Binder's environment, made bare, must run the notebooks of the export."""

import ast
import subprocess
import zipfile
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
import yaml

from tests.book.installs import EVERY, ROOT, Environment, checked, export_to, locked

pytestmark = [pytest.mark.slow, pytest.mark.install]

# What environment.yml leaves to the first cell of the few notebooks that need it: hundreds of megabytes.
ON_DEMAND = ("triton", "onnx")


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
    checked([binder.uv, "pip", "check", "--python", str(binder.scripts / "python")], export, {})
    assert binder.installed(export)["torch"] == torch, "the pip part replaced conda's torch"

    notebooks = sorted(export.glob("book/**/*.ipynb"))
    assert notebooks
    (wheel,) = export.glob("*.whl")
    assert package_files() <= set(zipfile.ZipFile(wheel).namelist())
    light = [path for path in notebooks if not any(f" {name}=" in first_cell(path) for name in ON_DEMAND)]
    assert 0 < len(notebooks) - len(light) < 10, "few enough to let the others start sooner"
    binder.run("python", "-c", "\n".join(sorted(imports(light))), cwd=export)
    # The first cells are tried in test_install_colab.py; here one chapter shows that kernel and laboratory run.
    binder.execute(notebooks if EVERY else [export / "book" / "5_regularization" / "3_does_gamma_regularize.ipynb"])


def package_files() -> set[str]:
    """What the repository has of the package."""
    listed = subprocess.run(["git", "ls-files", "bncourse"], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(listed.stdout.split())


def first_cell(path: Path) -> str:
    """The cell that installs what the notebook needs."""
    cell = nbformat.read(path, as_version=4).cells[0]
    assert cell.id == "install"
    return str(cell.source)


def imports(notebooks: list[Path]) -> set[str]:
    """Everything that these notebooks import, as statements, but for modules that a chapter writes itself."""
    cells = [cell for path in notebooks for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    nodes = [node for cell in cells for node in ast.walk(ast.parse(cell.source))]
    found = {node: node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    found |= {node: node.names[0].name for node in nodes if isinstance(node, ast.Import)}
    assert any(name.startswith("bncourse") for name in found.values())
    return {ast.unparse(node) for node, name in found.items() if find_spec(name.split(".")[0])}
