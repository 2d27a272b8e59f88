"""Sphinx extension: where docutils and MyST write what assistive technology cannot use, a page says it properly."""

import re
from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from sphinx.application import Sphinx

MENDED = (
    # Markdown's tables have a head in every column; a corner without text heads nothing.
    (re.compile(r'<th class="[^"]*head[^"]*"><p></p></th>'), "<td></td>"),
    # The role is deprecated, and inside of a list it must be an item.
    (re.compile(r'role="doc-biblioentry"'), 'role="listitem"'),
    # A summary is named by its text; a formula is none, for most of those that read names aloud.
    (
        re.compile(r'(?<=<span class="sd-summary-text">)(?=<span class="math[^>]*>[^<]*</span></span>)'),
        '<span class="visually-hidden">Formula: </span>',
    ),
)


def mend(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Rewrite the page's text."""
    for pattern, replacement in MENDED:
        if "body" in context:
            context["body"] = pattern.sub(replacement, context["body"])


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
