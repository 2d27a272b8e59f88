"""Sphinx extension: no page carries the same inline script twice.

Two extensions that Jupyter Book loads both define ``THEBE_JS_URL``; the second definition is an error in the
browser's console.
"""

from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from sphinx.application import Sphinx


def drop_repeated(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Keep the first of equal inline scripts in the page's list of scripts."""
    seen: set[str] = set()
    kept = []
    for script in context.get("script_files", []):
        body = getattr(script, "attributes", {}).get("body")
        if body is not None and body in seen:
            continue
        seen.add(body or "")
        kept.append(script)
    context["script_files"] = kept


def setup(app: Sphinx) -> dict[str, Any]:
    """Run after the extensions that add scripts to a page."""
    app.connect("html-page-context", drop_repeated, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
