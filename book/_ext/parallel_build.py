"""Sphinx extension: the book is read and written by as many processes as there are cores.

``sphinx-build`` has the option ``-j auto`` for it, ``jupyter-book build`` has none. Sphinx keeps to one process, with a
warning, where an extension does not declare that it may run in several. A page is written in a process that ends with
it: what an extension wants to know of all pages, it must take from the environment.

Pages are trees of many small objects that live until their build ends. Python looks through them for garbage again and
again, a fifth of a build's time, unless it is told to wait for more of them.
"""

import gc
import os
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

# They declare nothing. The first numbers sections of the whole book once all is read; the other changes LaTeX alone.
SAFE = ("sphinx_multitoc_numbering", "sphinx_jupyterbook_latex")


def allow(app: Sphinx, config: Config) -> None:
    """Declare for others' extensions what they leave open."""
    for name in SAFE:
        if name in app.extensions:
            app.extensions[name].parallel_read_safe = True


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def setup(app: Sphinx) -> dict[str, Any]:
    app.parallel = cores()
    gc.set_threshold(200_000, 20, 50)
    app.connect("config-inited", allow)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
