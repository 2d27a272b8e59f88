"""What a submission finds in the place of ``bncourse.exercises``: its imports succeed, and nothing is graded here.

There is no ``bncourse.reference`` beside it, so a function that calls the package's own answer earns nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# The exercises that exist, and for each the function that was given to its check last.
ids: list[str] = []
checked: dict[str, Any] = {}


class _Result:
    """The verdict that is not given here."""

    outcome, message, faults, table = "not attempted", "Graded elsewhere.", (), None


class _Exercise:
    def __init__(self, id: str) -> None:
        self.id = id

    def check(self, *functions: Any) -> _Result:
        checked[self.id] = functions[0] if len(functions) == 1 else functions
        return _Result()

    def hint(self, level: int | None = None) -> str:
        return ""

    def solution(self) -> str:
        return ""

    def starter(self) -> str:
        return ""


def list_exercises() -> list[_Exercise]:
    return [_Exercise(id) for id in ids]


def progress() -> None:
    pass


def export_progress(path: Any) -> None:
    pass


def import_progress(path: Any) -> None:
    pass


def __getattr__(name: str) -> _Exercise:
    if name not in ids:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _Exercise(name)


def __dir__() -> Iterator[str]:
    return iter([*globals(), *ids])
