"""Sphinx extension: code cells are coloured as Python with IPython's lines, such as ``!bncourse doctor``."""

from typing import Any

from pygments.lexers import find_lexer_class_by_name  # type: ignore[import-untyped]
from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """Read ``python`` as ``ipython3``, which holds all of it; plain Python would warn about those lines."""
    app.add_lexer("python", find_lexer_class_by_name("ipython3"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
