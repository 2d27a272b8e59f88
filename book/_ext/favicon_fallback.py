"""Sphinx extension: browsers that show no SVG icon get the same drawing as PNG."""

from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from sphinx.application import Sphinx


def add_link(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Name the PNG in the page's head, where the theme has named the SVG."""
    icon = context["pathto"]("_static/favicon.png", resource=True)
    context["metatags"] = f'{context.get("metatags", "")}\n<link rel="alternate icon" type="image/png" href="{icon}"/>'


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", add_link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
