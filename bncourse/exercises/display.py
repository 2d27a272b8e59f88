"""Shows text once: as HTML in a notebook, as plain text anywhere else."""

from __future__ import annotations

import sys
from typing import Any


class Shown(str):
    """Text that has been printed already: a notebook that ends a cell with it does not print it again."""

    __slots__ = ()

    def _ipython_display_(self) -> None:
        pass

    def __repr__(self) -> str:
        return f"<text of {len(self.splitlines())} lines, printed above>"


def show(text: str, html: str) -> None:
    """Render ``html`` (with ``text`` as its fallback) where a notebook's kernel runs, else print ``text``."""
    shell = _shell()
    if shell is not None and hasattr(shell, "kernel"):
        from IPython.display import display

        display({"text/plain": text, "text/html": html}, raw=True)  # type: ignore[no-untyped-call]
    else:
        print(text)


def show_text(text: str) -> Shown:
    """Print ``text`` and return it."""
    print(text)
    return Shown(text)


def execution_count() -> int | None:
    """The number of the cell that runs now, or None outside IPython."""
    shell = _shell()
    return None if shell is None else int(shell.execution_count)


def _shell() -> Any:
    """The running IPython shell; IPython is not imported for this, because where it runs it is loaded."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()
