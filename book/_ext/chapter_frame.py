"""Sphinx extension: what every chapter begins and ends with gets a form of its own.

A chapter begins with its question, in italics, and with a paragraph that says what you can do after it, what you need
and how long it takes. It ends with the sections Summary, Exercises and Next. The notebooks hold plain text; here each
piece gets a class, and the second paragraph is cut where its second half begins. Other pages that begin with a question
get their class for it too.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from sphinx.application import Sphinx

CHAPTER = re.compile(r"book/\d+_\w+/\d+_\w+")
NEEDS = re.compile(r"(?:^|(?<=\s))You need\b")
TIME = re.compile(r"(?:about )?\d+(?: to \d+)? minutes")
ENDS = ("summary", "exercises", "next")


def frame(app: Sphinx, doctree: nodes.document) -> None:
    """Mark the question of a page that begins with one, and the rest of a chapter's frame."""
    opening = list(islice(doctree.findall(nodes.paragraph), 2))
    if len(opening) < 2 or not is_question(opening[0]):
        return
    question, outlook = opening
    question["classes"].append("page-question")
    if not CHAPTER.fullmatch(app.env.docname):
        return
    for section in doctree.findall(nodes.section):
        section["classes"] += [f"chapter-{name}" for name in ENDS if name in section["ids"]]
    if NEEDS.search(outlook.astext()):
        outlook.replace_self(nodes.container("", *halves(outlook), classes=["chapter-outlook"]))


def is_question(paragraph: nodes.paragraph) -> bool:
    return len(paragraph) == 1 and isinstance(paragraph[0], nodes.emphasis)


def halves(outlook: nodes.paragraph) -> Iterator[nodes.paragraph]:
    """Yield what you can do after the chapter, and what it takes, with the time emphasized."""
    after, needs = (nodes.paragraph(classes=[f"chapter-{name}"]) for name in ("after", "needs"))
    half = after
    for child in outlook.children:
        if not isinstance(child, nodes.Text):
            half += child
            continue
        text = str(child)
        start = NEEDS.search(text) if half is after else None
        if start:
            half += nodes.Text(text[: start.start()].rstrip())
            half, text = needs, text[start.start() :]
        time = TIME.search(text) if half is needs else None
        if time:
            half += nodes.Text(text[: time.start()])
            half += nodes.strong("", time.group())
            text = text[time.end() :]
        half += nodes.Text(text)
    yield from (after, needs)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-read", frame)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
