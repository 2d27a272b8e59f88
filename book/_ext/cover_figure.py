"""Sphinx extension: the directive ``cover-figure``, whose content is the caption of the figure on the first page.

The drawing is computed at each build that reads the page (cover_drawing.py).
"""

from typing import Any

from cover_drawing import cover
from docutils import nodes  # type: ignore[import-untyped]
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class CoverFigure(SphinxDirective):
    """The drawing with its caption."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        if not self.content:
            raise self.error("the cover figure needs a caption")
        caption = nodes.container(classes=["cover-caption"])
        self.state.nested_parse(self.content, self.content_offset, caption)
        return [nodes.container("", nodes.raw("", cover(), format="html"), caption, classes=["cover"])]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("cover-figure", CoverFigure)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
