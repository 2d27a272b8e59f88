"""Graded exercises that name the mistake.

>>> from bncourse.exercises import bn_forward
>>> bn_forward.check(my_function)   # doctest: +SKIP

Every file in ``tasks/`` is one exercise and is importable from here by its name. A check calls your function
on fresh inputs designed so that mistakes show, and compares the answer with a reference. Where it is wrong, the
check looks for the smallest set of known mistakes that gives the very same wrong answer, and names it; where
there is none, it shows the first property that is off. Checks are for learning: nothing here resists someone
who wants to cheat.
"""

from __future__ import annotations

import pkgutil
from html import escape
from importlib import import_module
from pathlib import Path

from bncourse.exercises.display import show
from bncourse.exercises.exercise import Exercise
from bncourse.exercises.progress_file import (
    STATES,
    export_progress,
    import_progress,
    is_saved,
    load_states,
    progress_path,
)
from bncourse.exercises.result import Result, Table

__all__ = [
    "Exercise",
    "Result",
    "export_progress",
    "import_progress",
    "list_exercises",
    "progress",
]

_TASKS = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent / "tasks")]))


def __getattr__(name: str) -> Exercise:
    if name not in _TASKS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    exercise = import_module(f"{__name__}.tasks.{name}").EXERCISE
    assert isinstance(exercise, Exercise)
    globals()[name] = exercise
    return exercise


def __dir__() -> list[str]:
    return sorted({*globals(), *_TASKS})


def list_exercises() -> list[Exercise]:
    """Every exercise, in the order of the chapters.

    Examples
    --------
    >>> from bncourse.exercises import list_exercises
    >>> [exercise.id for exercise in list_exercises()][:2]
    ['bn_forward', 'norm_axes']
    """
    exercises = [globals().get(name) or __getattr__(name) for name in _TASKS]
    return sorted(exercises, key=lambda exercise: ([int(part) for part in exercise.chapter.split(".")], exercise.id))


def progress() -> None:
    """Show a table of the exercises and how far you are with each."""
    states = load_states()
    table = Table(
        ("exercise", "chapter", "task", "state"),
        tuple((e.id, e.chapter, e.title, states.get(e.id, STATES[0])) for e in list_exercises()),
        "Your progress",
    )
    where = (
        f"Kept in {progress_path()}"
        if is_saved()
        else f"{progress_path()} cannot be written: this is forgotten when Python ends, unless you export it"
    )
    show(f"{table.as_text()}\n{where}", f"{table.as_html()}\n<p>{escape(where)}</p>")
