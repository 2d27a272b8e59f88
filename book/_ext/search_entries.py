"""Sphinx extension: the search finds terms, claims and exercises by name, and leads to where they stand.

Sphinx's search lists the objects of each domain, as it does the package's functions. Terms, claims and exercises become
objects of a domain of their own; their names and places are those that Sphinx has collected for references.
``search_scorer.js`` puts first what has the words of the query in its name; ``search.mjs`` makes the results show the
text of a page.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.domains import Domain, ObjType

SCORER = Path(__file__).with_name("search_scorer.js")
# What a label says about the section that it names: (c7)=, (ex-welford)=.
LABELS = {"claim": re.compile(r"c\d+"), "exercise": re.compile(r"ex-.+")}
# A term answers "what is it?" and comes before chapters; claims and exercises come after a chapter of that title.
PRIORITY = {"glossary term": 0, "claim": 1, "exercise": 1}


class Named(Domain):
    """What the book itself names, for its search."""

    name = "book"
    label = "the book"
    object_types = {kind: ObjType(kind) for kind in PRIORITY}  # noqa: RUF012 (Sphinx declares it for an instance)

    def get_objects(self) -> Iterator[tuple[str, str, str, str, str, int]]:
        for name, shown, kind, page, anchor, _ in self.env.get_domain("std").get_objects():
            ours = "glossary term" if kind == "term" else labelled(name) if kind == "label" else None
            if ours:
                # Were the name the anchor as well, the index would take the shown name for the anchor.
                yield f"{ours} {name}", shown, ours, page, anchor, PRIORITY[ours]

    def get_type_name(self, type: ObjType, primary: bool = False) -> str:
        """Return what a result says of itself, "claim, in The claims ledger", without the name of the domain."""
        return str(type.lname)

    def merge_domaindata(self, docnames: Any, otherdata: Any) -> None:
        """Have nothing to merge: the standard domain holds it all."""


def labelled(name: str) -> str | None:
    """Return what a label names, where the search shall find it."""
    return next((kind for kind, pattern in LABELS.items() if pattern.fullmatch(name)), None)


def drop_entries(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Keep a glossary's entries of the index out of the search, which would show each once more, as "Glossary"."""
    for glossary in doctree.findall(addnodes.glossary):
        for entry in list(glossary.findall(addnodes.index)):
            entry.parent.remove(entry)


def add_script(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Load the script that improves the results, on their page."""
    if page == "search":
        app.add_js_file("search.mjs", type="module")


def set_scorer(app: Sphinx, config: Config) -> None:
    config.html_search_scorer = str(SCORER)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_domain(Named)
    app.connect("config-inited", set_scorer)
    app.connect("doctree-resolved", drop_entries)
    app.connect("html-page-context", add_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
