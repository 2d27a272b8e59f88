"""Sphinx extension: no line of the text breaks where a reader would stumble.

Browsers take a typeset formula for a box, and may break the line between it and the comma behind it; and a percent sign
stands apart from its number by a space.
"""

import re
from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from sphinx.application import Sphinx

FORMULA = re.compile(r'\(?<span class="math[^>]*>[^<]*</span>[,.;:?!)’”]+|\(<span class="math[^>]*>[^<]*</span>')

PERCENT = re.compile(r"(?<=\d) (?=%)")


def keep_together(text: str) -> str:
    """Return HTML in which each inline formula is in one piece with the punctuation that touches it."""
    return FORMULA.sub(lambda match: f'<span class="unbroken">{match[0]}</span>', text)


def rewrite(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Rewrite the page's text."""
    if "body" in context:
        context["body"] = keep_together(context["body"])


def bind_percent(app: Sphinx, doctree: nodes.document) -> None:
    """Put a space that does not break between a number of the text and its percent sign."""
    for text in list(doctree.findall(nodes.Text)):
        if PERCENT.search(text) and not isinstance(text.parent, nodes.literal | nodes.FixedTextElement | nodes.raw):
            text.parent.replace(text, nodes.Text(PERCENT.sub("\N{NO-BREAK SPACE}", text)))


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-read", bind_percent)
    app.connect("html-page-context", rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
