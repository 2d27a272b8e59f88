"""Sphinx extension: the lists on the pages about the package that are no module's docstring, made at each build.

``% exercises``, ``% cases``, ``% experiments`` and ``% command line`` stand for them in ``book/appendix/api/*.md``.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.autodoc.mock import mock

from bncourse import experiments, results
from bncourse.exercises import list_exercises

FOLDER = "book/appendix/api/"


def exercises(mocked: list[str]) -> Iterator[str]:
    """Yield an entry of the index for each exercise, so that a search for its name finds it."""
    for exercise in list_exercises():
        yield from data(
            "bncourse.exercises", exercise.id, "Exercise", f"{exercise.title}. Chapter {exercise.chapter} leads to it."
        )


def cases(mocked: list[str]) -> Iterator[str]:
    """Yield an entry for each case of the clinic, named after the patient and not the fault: the list tells neither."""
    with mock(mocked):
        patients = import_module("bncourse.clinic").PATIENTS
    for place, patient in enumerate(patients, start=1):
        yield from data("bncourse.clinic", patient, "bncourse.clinic.case.Case", f"Case {place} of {len(patients)}.")


def data(module: str, name: str, kind: str, text: str) -> Iterator[str]:
    """Yield the description of one object."""
    yield f"```{{py:data}} {name}\n:module: {module}\n:type: {kind}\n\n{text}\n```\n"


def every_experiment(mocked: list[str]) -> Iterator[str]:
    """Yield a section for each recorded experiment: its protocol, then its parts."""
    for module in sorted(iter_modules(experiments.__path__), key=lambda module: module.name):
        if not (results.FOLDER / f"{module.name}.json").exists():
            continue  # it is a module that experiments share
        name = f"bncourse.experiments.{module.name}"
        yield f"### {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:"
        if module.ispkg:
            yield "   :imported-members:\n"
            yield from constants(name, mocked)
        yield "```\n"


def constants(name: str, mocked: list[str]) -> Iterator[str]:
    """Yield an entry for each constant of an experiment, such as the names of its arms."""
    with mock(mocked):
        module = import_module(name)
    for constant in filter(str.isupper, module.__all__):
        value = getattr(module, constant)
        yield f".. py:data:: {constant}\n   :module: {name}"
        if constant != "REDUCED":
            yield f"   :value: {value!r}"
        yield ""


def command_line(mocked: list[str]) -> Iterator[str]:
    """Yield what Typer writes about every command and its options, one heading level lower."""
    command = [sys.executable, "-m", "typer", "bncourse.cli", "utils", "docs", "--name", "bncourse"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    _, _, commands = text.partition("\n## ")
    yield "## " + commands


LISTS: dict[str, Callable[[list[str]], Iterator[str]]] = {
    "% exercises": exercises,
    "% cases": cases,
    "% experiments": every_experiment,
    "% command line": command_line,
}


def write_lists(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the lists into a page's source."""
    if page.startswith(FOLDER):
        for mark, entries in LISTS.items():
            if f"{mark}\n" in source[0]:
                source[0] = source[0].replace(f"{mark}\n", "\n".join(entries(app.config.autodoc_mock_imports)) + "\n")


def read_again(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Write the pages anew where the package's sources are newer: autodoc notes only the modules that it imports."""
    newest = max(path.stat().st_mtime for path in results.FOLDER.parent.rglob("*.py"))
    known, env.package_written = getattr(env, "package_written", 0.0), newest  # type: ignore[attr-defined]
    return [page for page in env.found_docs if page.startswith(FOLDER)] if newest > known else []


def leave_out_settings(
    app: Sphinx, what: str, name: str, subject: object, options: object, signature: str | None, returns: str | None
) -> tuple[str, None] | None:
    """Name an experiment's settings without their values, most of the page's weight: they stand in its record."""
    return ("", None) if what == "class" and name.startswith("bncourse.experiments.") else None


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", write_lists)
    app.connect("env-get-outdated", read_again)
    app.connect("autodoc-process-signature", leave_out_settings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
