"""Makes the starter and the printed solution from one function, so that they cannot drift apart."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable

HEADER = "import numpy as np\n\n\n"
# As wide as a cell of the book shows without scrolling.
WIDTH = 76


def starter_source(solution: Callable[..., object]) -> str:
    """The solution's signature and docstring, and ``raise NotImplementedError`` for its body."""
    source = textwrap.dedent(inspect.getsource(solution))
    definition = ast.parse(source).body[0]
    assert isinstance(definition, ast.FunctionDef)
    docstring = definition.body[0]
    assert docstring.end_lineno is not None
    kept = source.splitlines()[: docstring.end_lineno]
    return HEADER + "\n".join([*kept, "    raise NotImplementedError"])


def solution_source(solution: Callable[..., object], explanation: str) -> str:
    """The solution's code, then why it is right, as comments: a cell that runs as it stands."""
    source = textwrap.dedent(inspect.getsource(solution)).rstrip()
    comments = "\n".join(
        f"# {line}".rstrip()
        for paragraph in explanation.strip().split("\n\n")
        for line in [*textwrap.wrap(" ".join(paragraph.split()), WIDTH - 2), ""]
    ).removesuffix("\n#")
    return f"{HEADER}{source}\n\n\n{comments}"
