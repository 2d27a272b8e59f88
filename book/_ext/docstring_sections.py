"""Sphinx extension: reads the docstrings' sections as the package writes them.

The package writes an argument and what it means on one line, ``dy : gradient of the loss with respect to y``; types and
shapes stand in the signature. Napoleon takes what follows the colon for a type. Here it is moved to the line below,
where a description stands.
"""

import re
from typing import Any

from sphinx.application import Sphinx

RESULTS = {"Returns", "Yields"}
SECTIONS = {"Parameters", "Attributes", "Raises", *RESULTS}
UNDERLINE = re.compile("-{3,}")
ENTRY = re.compile(r"(?P<name>\S.*?) : (?P<text>.+)")


def separate(lines: list[str]) -> list[str]:
    """Return a docstring's lines with every ``name : text`` of a section on two lines."""
    section = ""
    sentence = False
    separated: list[str] = []
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if UNDERLINE.fullmatch(below):
            section, sentence = line, False
        entry = ENTRY.fullmatch(line)
        if section in SECTIONS and entry:
            # Napoleon knows several names on a line for parameters only.
            name = entry["name"].replace(", ", "/") if section == "Attributes" else entry["name"]
            # A letter and a dot, such as a shape's "C.", would begin a list.
            separated += [name, "    " + re.sub(r"^(?=\w\.)", r"\\", entry["text"])]
        elif section in RESULTS and line and separated and UNDERLINE.fullmatch(separated[-1]):
            # A sentence about the one result, which has no name: Napoleon would take it for a type.
            separated += ["result", f"    {line}"]
            sentence = True
        else:
            separated.append(f"    {line}" if sentence and line else line)
    return separated


def process(app: Sphinx, what: str, name: str, subject: object, options: object, lines: list[str]) -> None:
    lines[:] = [protect_stars(line) for line in separate(lines)]


def protect_stars(line: str) -> str:
    """Escape the star of a shape's ``*spatial`` where it stands in plain text: there it would begin emphasis."""
    plain_and_code = line.split("``")
    plain_and_code[::2] = (re.sub(r"(?<!\\)\*spatial", r"\*spatial", plain) for plain in plain_and_code[::2])
    return "``".join(plain_and_code)


def name_the_case(
    app: Sphinx, what: str, name: str, subject: object, options: object, signature: str | None, result: str | None
) -> tuple[str | None, str | None] | None:
    """Say which ``Case`` is meant where the clinic's modules import it for type checkers only: the race has one too."""
    if not name.startswith("bncourse.clinic."):
        return None
    named = [part and re.sub(r"(?<![\w.])Case\b", "~bncourse.clinic.case.Case", part) for part in (signature, result)]
    return named[0], named[1]


def skip(app: Sphinx, what: str, name: str, subject: object, skipped: bool, options: object) -> bool | None:
    """Leave out the fields of a named tuple, which its docstring's section on attributes describes."""
    return True if type(subject).__name__ == "_tuplegetter" else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Come before Napoleon, which listens at the default priority."""
    app.connect("autodoc-process-docstring", process, priority=400)
    app.connect("autodoc-process-signature", name_the_case)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
