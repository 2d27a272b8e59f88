"""Sphinx extension: a page loads the scripts that it uses, and shows its text before they run.

Jupyter Book and its theme load on every page what some pages of some books need: live code, toggles, tabs, MathJax, and
the index of the search, which only the page of its results reads. What a page uses is seen from its text.
"""

import re
from pathlib import Path
from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from sphinx.application import Sphinx
from sphinx.config import Config

TEMPLATES = Path(__file__).parent / "templates"

TOGGLE = re.compile(r'class="[^"]*(?:\btoggle\b|\badmonition\b[^"]*\bdropdown\b|\bdropdown\b[^"]*\badmonition\b)')
CODE = re.compile(r'class="[^"]*\bhighlight\b')
MATH = re.compile(r'class="[^"]*\b(?:math|output_area)\b')
# What a script or a style sheet is for, by a part of its address or of its text.
USED_FOR = {
    "thebe": re.compile(r"(?!)"),  # live code, for which another site would be asked
    "toggle": TOGGLE,
    "design-tabs": re.compile(r'class="[^"]*\bsd-tab-set\b'),
    "clipboard": CODE,
    "copybutton": CODE,
    "mathjax": MATH,
    "MathJax": MATH,
}
# The scripts in the page itself read what this one sets.
AT_ONCE = "documentation_options.js"
SEARCH = re.compile(r'\s*<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*"></script>')


def is_used(asset: Any, text: str) -> bool:
    """Tell whether a page with this text uses a script or a style sheet."""
    mark = f"{getattr(asset, 'filename', asset) or ''}{getattr(asset, 'attributes', {}).get('body', '')}"
    return all(use.search(text) for name, use in USED_FOR.items() if name in mark)


def later(script: Any) -> Any:
    """Return the script such that the page does not wait for it. Scripts that wait run in their order."""
    attributes = getattr(script, "attributes", {})
    if {"body", "async", "defer", "type"} & set(attributes) or AT_ONCE in str(script.filename):
        return script
    return type(script)(script.filename, priority=script.priority, **attributes, defer="defer")


def choose(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Drop what a page does not use; let it wait for no script, unless it is a page made of scripts."""
    text = context.get("body", "")
    for kind in ("script_files", "css_files"):
        context[kind] = [asset for asset in context.get(kind, []) if is_used(asset, text)]
    if page != "search" and not searches_as_you_type(app):
        context["script_files"] = [later(script) for script in context["script_files"]]


def searches_as_you_type(app: Sphinx) -> bool:
    return bool(app.config.html_theme_options.get("search_as_you_type"))


def add_templates(app: Sphinx, config: Config) -> None:
    """Find the templates of this folder before the theme's."""
    config.templates_path = [str(TEMPLATES), *config.templates_path]


def add_filter(app: Sphinx) -> None:
    """Give the template of all pages what takes the search's index from their head."""

    def without_unused_search(head: str, page: str) -> str:
        return head if page == "search" or searches_as_you_type(app) else SEARCH.sub("", head)

    if app.builder.format == "html":
        app.builder.templates.environment.filters["without_unused_search"] = without_unused_search


def setup(app: Sphinx) -> dict[str, Any]:
    """Run after the extensions that add scripts to a page."""
    app.connect("config-inited", add_templates)
    app.connect("builder-inited", add_filter)
    app.connect("html-page-context", choose, priority=950)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
