"""Sphinx extension: the sidebar of each page is made from the titles of all pages, not from all that is in them.

For every page Sphinx copies the contents of every page, sections and functions included, and then drops all but the
titles: with sixty pages a sixth of a build. Here they are dropped once. What the sidebar shows is the same.
"""

from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from sphinx import addnodes
from sphinx.application import Sphinx


def titles(contents: nodes.bullet_list) -> nodes.bullet_list:
    """Return a copy of a page's contents with its title, and the lists of the pages below it."""
    copy = contents.deepcopy()
    for title in copy:
        if len(title) > 1:
            below = list(title.findall(addnodes.toctree))
            title[1][:] = below
            if not below:
                title.pop(1)
    return copy


def use_titles(app: Sphinx, env: Any) -> None:
    """Have the builder resolve lists of titles from the titles; after the pages are read, before they are written."""
    resolve = getattr(app.builder, "_get_local_toctree", None)
    if resolve is None:  # a builder that writes no sidebars
        return
    short = {page: titles(contents) for page, contents in env.tocs.items()}

    def from_titles(page: str, collapse: bool = True, **options: Any) -> str:
        whole = env.tocs
        if options.get("titles_only"):
            env.tocs = short
        try:
            return str(resolve(page, collapse=collapse, **options))
        finally:
            env.tocs = whole

    app.builder._get_local_toctree = from_titles  # type: ignore[attr-defined]


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("env-check-consistency", use_titles)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
