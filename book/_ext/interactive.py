"""Sphinx extension: the directive ``interactive``, an interactive figure with a text for readers without it.

    :::{interactive} transform
    What the figure shows, for a reader who has only this text.
    :::

The page holds the text. On the site, and with JavaScript, the module ``_static/figures/transform.mjs`` puts its figure
in the text's place; only pages with such a figure load it. In a plain copy of the notebook the text stays, with a link
to the page (scripts/plain_markdown.py).
"""

from pathlib import Path
from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FOLDER = Path(__file__).parents[1] / "_static" / "figures"
CLASS = "interactive"


def anchor(name: str) -> str:
    """Return where on its page a figure stands; ``mount.mjs`` reads the figure's name from it."""
    return f"interactive-{name}"


class Interactive(SphinxDirective):
    """A container that the figure's module fills; its content is the text without the figure."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        (name,) = self.arguments
        module = FOLDER / f"{name}.mjs"
        if not module.is_file():
            raise self.error(f"no interactive figure {name!r}: there is no {module.name} in _static/figures")
        if not self.content:
            raise self.error(f"the interactive figure {name!r} needs a text for readers without it")
        place = nodes.container(classes=[CLASS], ids=[anchor(name)])
        self.state.nested_parse(self.content, self.content_offset, place)
        return [place]


def load_modules(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Load the modules and their styles on a page that has an interactive figure."""
    if doctree is not None and any(CLASS in place["classes"] for place in doctree.findall(nodes.container)):
        app.add_js_file("figures/mount.mjs", type="module")
        app.add_css_file("figures/figures.css")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("interactive", Interactive)
    app.connect("html-page-context", load_modules)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
