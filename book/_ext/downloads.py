"""Sphinx extension: the directive ``downloads``, which leads to the book as a PDF and to the archive of its notebooks.

Both stand in the root of the published site (.github/workflows/publish.yml). Where the site is not known there is
nothing to link to: the reader is told the commands that make them.
"""

from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from repository import Repository
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

# File in the site's root, what it is, the command that makes it, and what for.
DOWNLOADS = (
    ("bncourse.pdf", "The whole book as a PDF", "make pdf", "with every answer opened, to print or to read"),
    (
        "bncourse-notebooks.zip",
        "The notebooks",
        "make zip",
        "with the package that they import, to run on your machine",
    ),
)


class Downloads(SphinxDirective):
    """A list of the two files."""

    def run(self) -> list[nodes.Node]:
        return [listed(self.config.book_repository)]


def listed(repository: Repository | None) -> nodes.bullet_list:
    """Return the list: links into the published site, or commands where that is unknown."""
    items = nodes.bullet_list()
    for file, name, command, purpose in DOWNLOADS:
        paragraph = nodes.paragraph()
        if repository:
            paragraph += nodes.reference("", name, refuri=f"{repository.site}/{file}", internal=False)
            paragraph += nodes.Text(f", {purpose}.")
        else:
            paragraph += nodes.Text(f"{name}, {purpose}: ")
            paragraph += nodes.literal("", command)
            paragraph += nodes.Text(" in a copy of the repository.")
        items += nodes.list_item("", paragraph)
    return items


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("downloads", Downloads)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
