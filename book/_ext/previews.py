"""Sphinx extension: a reference shows what it leads to when the mouse or the keyboard comes to it.

What is shown is written once a build, one file of ``_static/previews`` for each kind of target, of which a reader's
browser fetches the one that it needs, and only when it needs it. ``_static/previews.mjs`` shows it.
"""

import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from preview_texts import keep_equations, texts
from sphinx.application import Sphinx

# What previews.mjs looks for as well.
LINK = re.compile(r'href="[^"]*#(?:equation-|term-|cite-|c\d+")')


def write_texts(app: Sphinx, failure: Exception | None) -> None:
    """Write the files after a build that succeeded."""
    if failure is not None or app.builder.name != "html":
        return
    folder = Path(app.outdir) / "_static" / "previews"
    folder.mkdir(exist_ok=True)
    for kind, entries in texts(app).items():
        text = json.dumps(entries, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        (folder / f"{kind}.json").write_text(text, encoding="utf-8")


def load_module(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Load the module on a page that has such a reference."""
    if doctree is not None and LINK.search(context["body"]):
        app.add_js_file("previews.mjs", type="module")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-read", keep_equations)
    app.connect("build-finished", write_texts)
    app.connect("html-page-context", load_module)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
