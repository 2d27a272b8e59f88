"""Sphinx extension: the header's buttons that open a page in Colab or Binder, or its source on GitHub.

Every notebook's page has the first group, every page the second. Where the repository is unknown the buttons stay and
say so, instead of pointing at somebody else's copy.
"""

from pathlib import Path
from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from repository import Repository, find_repository
from sphinx.application import Sphinx
from sphinx.config import Config

UNKNOWN = "This copy of the book does not know its repository, so this button points nowhere."


def add_buttons(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Put the groups of buttons before those that the theme has made."""
    if doctree is None or "header_buttons" not in context:
        return
    repository = app.config.book_repository
    file = Path(app.env.doc2path(page, base=False)).as_posix()
    groups = [source_group(repository, page, file)]
    if file.endswith(".ipynb"):
        groups.insert(0, launch_group(repository, file))
    context["header_buttons"][:0] = groups


def launch_group(repository: Repository | None, file: str) -> dict[str, Any]:
    """Return the group that opens a notebook in a running Jupyter."""
    buttons = [
        button("Colab", "Run this page in Colab", repository.colab(file) if repository else None, "launch-colab"),
        button("Binder", "Run this page in Binder", repository.binder(file) if repository else None, "launch-binder"),
    ]
    return group("launch-buttons", "Run this page", "fas fa-rocket", buttons)


def source_group(repository: Repository | None, page: str, file: str) -> dict[str, Any]:
    """Return the group that leads to the repository."""
    buttons = [
        button("Repository", "The repository", repository.url if repository else None, "source-repository"),
        button("Show source", "This page's source", repository.source(file) if repository else None, "source-file"),
        button("Suggest an edit", "Edit this page", repository.edit(file) if repository else None, "source-edit"),
        button(
            "Open an issue", "Say what is wrong", repository.new_issue(page) if repository else None, "source-issue"
        ),
    ]
    return group("source-buttons", "The source of this page", "fab fa-github", buttons)


def button(text: str, tooltip: str, url: str | None, label: str) -> dict[str, Any]:
    """Return one button as the theme's template takes it: a link, or without an address one that says why not."""
    if url:
        return {"type": "link", "text": text, "tooltip": tooltip, "url": url, "label": label}
    return {
        "type": "javascript",
        "text": f"{text}: repository unknown",
        "tooltip": UNKNOWN,
        "javascript": "return false",
        "label": f"{label} btn-unknown",
    }


def group(label: str, tooltip: str, icon: str, buttons: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "group", "label": label, "tooltip": tooltip, "icon": icon, "buttons": buttons}


def read_repository(app: Sphinx, config: Config) -> None:
    """Keep the answer as a configuration value: where it changes, Sphinx writes every page again.

    A page of a site whose address is known names it as the one for search engines to keep.
    """
    config.book_repository = repository = find_repository(Path(app.srcdir))
    config.html_baseurl = f"{repository.site}/" if repository else ""


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the buttons after the theme has prepared its list of them (priority 500 and 501)."""
    app.add_config_value("book_repository", None, "html")
    app.connect("config-inited", read_repository)
    app.connect("html-page-context", add_buttons, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
