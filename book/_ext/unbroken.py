"""Sphinx extension: no line of the text breaks where a reader would stumble.

Browsers take a typeset formula for a box, and may break the line between it and the comma behind it; and spaces stand
between a number's thousands and before its percent sign.
"""

import re
from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from sphinx.application import Sphinx

FORMULA = re.compile(r'\(?<span class="math[^>]*>[^<]*</span>[,.;:?!)’”]+|\(<span class="math[^>]*>[^<]*</span>')

NUMBER = re.compile(r"(?<=\d) (?=%|\d{3}(?!\d))")


def keep_together(text: str) -> str:
    """Return HTML in which each inline formula is in one piece with the punctuation that touches it."""
    return FORMULA.sub(lambda match: f'<span class="unbroken">{match[0]}</span>', text)


def rewrite(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Rewrite the page's text."""
    if "body" in context:
        context["body"] = keep_together(context["body"])


def bind_numbers(app: Sphinx, doctree: nodes.document) -> None:
    """Put spaces that do not break into the numbers of the text."""
    for text in list(doctree.findall(nodes.Text)):
        if NUMBER.search(text) and not isinstance(text.parent, nodes.literal | nodes.FixedTextElement | nodes.raw):
            text.parent.replace(text, nodes.Text(NUMBER.sub("\N{NO-BREAK SPACE}", text)))


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-read", bind_numbers)
    app.connect("html-page-context", rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
