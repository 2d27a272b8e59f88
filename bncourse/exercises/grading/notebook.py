"""Reads the code of a submitted notebook, which may be anything, and runs its cells in order.

This runs inside the sandbox, where a file that is built to break its reader breaks nothing else.
"""

from __future__ import annotations

import ast
import json
import linecache
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

LONGEST_MESSAGE = 300


class UnreadableNotebookError(ValueError):
    """A file is not a notebook whose cells can be run; the message says why, to its author."""


class FailedCell(NamedTuple):
    """A cell that did not run to its end: its number among the code cells, its source and what it raised."""

    number: int
    source: str
    error: str


def read_cells(content: bytes) -> list[str]:
    """The sources of a notebook's code cells.

    Raises
    ------
    UnreadableNotebookError : if ``content`` is not a Python notebook of format 4 with a code cell.
    """
    if not content.strip():
        raise UnreadableNotebookError("The file is empty.")
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise UnreadableNotebookError("The file is not text in UTF-8, as a notebook is.") from None
    except (ValueError, RecursionError) as error:
        raise UnreadableNotebookError(f"The file is not a notebook: it is not JSON ({_line(error)}).") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("nbformat"), int):
        raise UnreadableNotebookError("The file is JSON, but not a notebook: it has no number `nbformat`.")
    if notebook["nbformat"] != 4:
        raise UnreadableNotebookError(
            f"The notebook is of format {notebook['nbformat']}; format 4 is wanted. Open it in Jupyter and save it."
        )
    language = _language(notebook.get("metadata"))
    if not language.lower().startswith(("python", "ipython")):
        raise UnreadableNotebookError(f"The notebook's kernel runs {language[:40]}; a Python notebook is wanted.")
    cells = notebook.get("cells")
    if not isinstance(cells, list):
        raise UnreadableNotebookError("The notebook has no list of cells.")
    sources = [source for cell in cells if (source := _code(cell)) is not None]
    if not any(source.strip() for source in sources):
        raise UnreadableNotebookError("The notebook has no code in it.")
    return sources


def run_cells(
    sources: list[str], namespace: dict[str, Any], limited: Callable[[], AbstractContextManager[None]]
) -> Iterator[FailedCell]:
    """Execute each cell in ``namespace``, inside a fresh ``limited()``; yield those that failed, and go on."""
    for number, source in enumerate(sources, start=1):
        try:
            with limited():
                exec(_compile(source, f"cell {number}"), namespace)
        except BaseException as error:  # SystemExit and KeyboardInterrupt end the cell, not the grading
            yield FailedCell(number, source, f"{type(error).__name__}: {_line(error)}")


def _language(metadata: Any) -> str:
    """The language that the notebook says it is in; Python where it does not say."""
    metadata = metadata if isinstance(metadata, dict) else {}
    for section, key in (("language_info", "name"), ("kernelspec", "language")):
        entry = metadata.get(section)
        if isinstance(entry, dict) and isinstance(entry.get(key), str):
            return str(entry[key])
    return "python"


def _code(cell: Any) -> str | None:
    """The source of a code cell, or None for a cell of another kind."""
    if not isinstance(cell, dict) or cell.get("cell_type") != "code":
        return None
    source = cell.get("source")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    return source if isinstance(source, str) else None


def _compile(source: str, filename: str) -> Any:
    """The cell's code; tracebacks and ``inspect`` find its lines under ``filename``."""
    try:
        tree = ast.parse(source, filename)
    except SyntaxError:
        # What IPython adds to Python: a magic or a shell command is dropped, the rest of the cell runs.
        source = re.sub(r"^[ \t]*(?:[%!?]|\S+\?{1,2}[ \t]*$).*$", "", source, flags=re.MULTILINE)
        tree = ast.parse(source, filename)
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    return compile(tree, filename, "exec")


def _line(error: BaseException) -> str:
    """The first line of what an exception says, cut to a length that can be shown."""
    try:
        lines = str(error).strip().splitlines()
    except BaseException:
        lines = []
    return (lines[0] if lines else "(no message)")[:LONGEST_MESSAGE]
