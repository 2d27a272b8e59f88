"""The first cell of an exported notebook: it installs what the notebook needs where that is missing.

What a notebook needs is read from its code: the modules that it imports or looks for by name, and the parts of the
package that it uses. What pip calls them stands in pyproject.toml.
"""

# mypy: disable-error-code="no-untyped-call, no-any-return"
import ast
import tomllib
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from packaging.requirements import Requirement

# A module that pip knows by another name.
DISTRIBUTIONS = {"sklearn": "scikit-learn"}
# What imports more than itself: the extra that it asks for. The package's kernels ask for no Triton: where a chapter
# runs them it imports Triton itself, and elsewhere it uses of them what runs without.
EXTRAS = {
    "bncourse.clinic": "lab",
    "bncourse.experiments": "lab",
    "bncourse.kernels": "torch",
    "bncourse.lab": "lab",
    "bncourse.layers": "torch",
    "triton": "kernels",
}

# Colab folds a form up to its title, JupyterLab a hidden source to a bar.
METADATA = {"cellView": "form", "jupyter": {"source_hidden": True}}
SOURCE = """\
# @title Install what this notebook needs and finds missing: run this first
# What is there already, such as NumPy or PyTorch, stays as it is.
import importlib
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory


def install(**requirements):
    missing = [wanted for module, wanted in requirements.items() if find_spec(module) is None]
    if not missing:
        return
    pip = [sys.executable, "-m", "pip"]
    with TemporaryDirectory() as folder:
        present = Path(folder, "present.txt")
        listed = subprocess.run([*pip, "list", "--format=freeze"], capture_output=True, text=True)
        present.write_text(listed.stdout)
        command = [*pip, "install", "--quiet", "--constraint", str(present), *missing]
        result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(
            "What this notebook needs was not installed. Is there a connection to the internet? Then run this cell "
            f"again. What pip says:\\n{result.stderr[-1000:]}"
        )
    importlib.invalidate_caches()


"""


def install_cell(requirements: dict[str, str]) -> NotebookNode:
    """Return the cell that installs these modules, each by its requirement, where they are missing."""
    arguments = "".join(f"    {module}={requirement!r},\n" for module, requirement in requirements.items())
    source = f"{SOURCE}install(\n{arguments})"
    return nbformat.v4.new_code_cell(source, id="install", metadata=METADATA)


def needed_modules(notebook: NotebookNode, pyproject: Path) -> dict[str, str]:
    """Return the modules that a notebook needs beyond the package's core, and pip's requirement for each.

    What is pinned for the lock is pinned here: torch and Triton fit each other only as a pair, and what chapter 3.5
    prints depends on the compiler's version.
    """
    tables = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    extras = tables["project"]["optional-dependencies"]
    requirements = {found.name: found for extra in extras.values() for found in map(Requirement, extra)}
    for pin in map(Requirement, tables["tool"]["uv"]["constraint-dependencies"]):
        requirements[pin.name].specifier = pin.specifier
    needed: set[str] = set()
    for name in named_modules(notebook):
        module = name.partition(".")[0]
        needed.add(DISTRIBUTIONS.get(module, module))
        for start, extra in EXTRAS.items():
            if f"{name}.".startswith(f"{start}."):
                needed |= names_of(extra, extras)
    modules = {distribution: module for module, distribution in DISTRIBUTIONS.items()}
    return {
        modules.get(name, name): str(requirements[name]) for name in sorted(needed & set(requirements) - {"bncourse"})
    }


def names_of(extra: str, extras: dict[str, list[str]]) -> set[str]:
    """Return the names of all that an extra brings, its own extras included."""
    names: set[str] = set()
    for requirement in map(Requirement, extras[extra]):
        own = requirement.name == "bncourse"
        names |= set().union(*(names_of(inner, extras) for inner in requirement.extras)) if own else {requirement.name}
    return names


def named_modules(notebook: NotebookNode) -> set[str]:
    """Return what the code imports, and each word that is a whole string in it: a module may be looked for by name."""
    names: set[str] = set()
    for cell in notebook.cells:
        for node in ast.walk(ast.parse(cell.source)) if cell.cell_type == "code" else ():
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
                names.add(node.value)
    return names
