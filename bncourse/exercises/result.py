"""The verdict of a check, as plain text and as an accessible table."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field

# A theme's own colour for code may be illegible on the ground that it gives to outputs in dark mode.
CODE = r'<code style="color: inherit">\1</code>'
OUTCOMES = ("passed", "failed", "error", "not attempted", "wrong interface")


@dataclass(frozen=True)
class Table:
    """Rows under a header; the first cell of a row is the row's header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = "Your function, probe by probe"

    def as_text(self) -> str:
        """The table in columns of equal width."""
        lines = [self.header, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    def as_html(self) -> str:
        """The table with its caption and scoped headers; colours are the page's own, so it is legible in dark mode."""
        cell_style = 'style="text-align: left; padding: 0.2em 0.8em 0.2em 0"'
        head = "".join(f'<th scope="col" {cell_style}>{_inline(cell)}</th>' for cell in self.header)
        body = "\n".join(
            f'<tr><th scope="row" {cell_style}>{_inline(row[0])}</th>'
            + "".join(f"<td {cell_style}>{_inline(cell)}</td>" for cell in row[1:])
            + "</tr>"
            for row in self.rows
        )
        return (
            f'<table class="bncourse-table" style="margin: 0.5em 0">\n'
            f'<caption style="caption-side: top; text-align: left; color: inherit">{_inline(self.caption)}</caption>\n'
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
        )


@dataclass(frozen=True)
class Result:
    """What a check found.

    Parameters
    ----------
    outcome : "passed", "failed", "error", "not attempted" or "wrong interface".
    message : what the learner reads. With "passed" and "not attempted" it is the same text at every call.
    faults : the ids of the mistakes that were recognized; empty where none was.
    exercise : the id of the exercise.
    table : how each output fared on each probe, where the function ran on all of them.
    shown_in : the notebook's cell that has displayed this result already, by its execution count.
    """

    outcome: str
    message: str
    faults: tuple[str, ...] = ()
    exercise: str = ""
    table: Table | None = field(default=None, repr=False)
    shown_in: int | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise ValueError(f"expected outcome to be one of {', '.join(OUTCOMES)}, got {self.outcome!r}")

    def as_text(self) -> str:
        """The result for a terminal."""
        parts = [f"{self.exercise}: {self.outcome}", self.message]
        if self.table is not None:
            parts.append(self.table.as_text())
        return "\n".join(parts)

    def as_html(self) -> str:
        """The result for a notebook."""
        heading = f"<p><strong>{html.escape(self.exercise)}: {html.escape(self.outcome)}</strong></p>"
        paragraphs = "\n".join(f"<p>{_inline(line)}</p>" for line in self.message.splitlines())
        table = "" if self.table is None else "\n" + self.table.as_html()
        return f'<div class="bncourse-result">\n{heading}\n{paragraphs}{table}\n</div>'

    def _ipython_display_(self) -> None:
        """Display the result, unless the check in this very cell has done so."""
        from bncourse.exercises.display import execution_count, show

        if self.shown_in is None or self.shown_in != execution_count():
            show(self.as_text(), self.as_html())


def _inline(text: str) -> str:
    """Escape ``text`` for HTML and set what stands between backticks as code."""
    return re.sub(r"`([^`]+)`", CODE, html.escape(text, quote=False))
