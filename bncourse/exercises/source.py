"""Makes the starter and the printed solution from one function, so that they cannot drift apart."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bncourse.exercises.exercise import Exercise

HEADER = "import numpy as np\n\n\n"
KERNEL_HEADER = "import triton\nimport triton.language as tl\n\n\n"
# As wide as a cell of the book shows without scrolling.
WIDTH = 76


def starter_source(exercise: Exercise) -> str:
    """The functions with ``raise NotImplementedError`` for a body; or the one that is to be repaired."""
    if exercise.given_function is not None:
        given, name = exercise.given_function, exercise.solution_function.__name__
        return header(exercise) + _definition(exercise, given).replace(f"def {given.__name__}(", f"def {name}(", 1)
    return header(exercise) + "\n\n\n".join(_stub(exercise, function) for function in _functions(exercise))


def solution_code(exercise: Exercise) -> str:
    """The solution's functions with their imports."""
    return header(exercise) + "\n\n\n".join(_definition(exercise, function) for function in _functions(exercise))


def solution_source(exercise: Exercise) -> str:
    """The solution's code, then why it is right, as comments: a cell that runs as it stands."""
    comments = "\n".join(
        f"# {line}".rstrip()
        for paragraph in exercise.explanation.strip().split("\n\n")
        for line in [*textwrap.wrap(" ".join(paragraph.split()), WIDTH - 2), ""]
    ).removesuffix("\n#")
    return f"{solution_code(exercise)}\n\n\n{comments}"


def header(exercise: Exercise) -> str:
    """The imports above the functions."""
    return KERNEL_HEADER if exercise.kernels else HEADER


def _functions(exercise: Exercise) -> tuple[Callable[..., object], ...]:
    return exercise.solution_function, *exercise.further_functions


def _definition(exercise: Exercise, function: Callable[..., object]) -> str:
    """A function's code; what is a kernel gets its decorator here."""
    source = textwrap.dedent(inspect.getsource(function)).rstrip()
    return f"@triton.jit\n{source}" if exercise.kernels else source


def _stub(exercise: Exercise, function: Callable[..., object]) -> str:
    source = _definition(exercise, function)
    definition = ast.parse(source).body[0]
    assert isinstance(definition, ast.FunctionDef)
    docstring = definition.body[0]
    assert docstring.end_lineno is not None
    return "\n".join([*source.splitlines()[: docstring.end_lineno], "    raise NotImplementedError"])
