"""Hints, one after another."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from bncourse.exercises.display import Shown, show_text
from bncourse.exercises.source import WIDTH


def show_hint(name: str, hints: Sequence[str], shown: list[int], level: int | None) -> Shown:
    """Print a hint, and how to get the next.

    Parameters
    ----------
    name : what the learner calls the object whose hints these are.
    hints : from the gentlest to the most explicit.
    shown : one number, the level of the last hint shown; it is set.
    level : from 1 on; None for the next after the last one shown.

    Raises
    ------
    ValueError : if there is no hint of that level.
    """
    if level is None:
        level = min(shown[0] + 1, len(hints))
    if not 1 <= level <= len(hints):
        raise ValueError(f"expected level from 1 to {len(hints)}, got {level}")
    shown[0] = level
    after = (
        f"More: {name}.hint({level + 1})"
        if level < len(hints)
        else f"That was the last hint; {name}.solution() shows the solution."
    )
    hint = f"Hint {level} of {len(hints)}. {hints[level - 1]}"
    return show_text(f"{textwrap.fill(hint, WIDTH, break_on_hyphens=False)}\n{after}")
