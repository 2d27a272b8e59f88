"""Sphinx extension: writes down what every label, equation, term and citation of the book resolves to.

The table stands beside the built site (``_build/references.json``). The export to plain notebooks reads it, so that
a reference has there the text and the number that it has in the book.
"""

import json
from pathlib import Path
from typing import Any, cast

from sphinx.application import Sphinx
from sphinx.domains.math import MathDomain
from sphinx.domains.std import StandardDomain
from sphinx.environment import BuildEnvironment
from sphinxcontrib.bibtex.domain import BibtexDomain
from sphinxcontrib.bibtex.style.referencing import format_references
from sphinxcontrib.bibtex.style.template import SphinxReferenceInfo

FILE = "references.json"


def write_table(app: Sphinx, failure: Exception | None) -> None:
    """Write the table after a build that succeeded."""
    if failure is None and app.builder.name == "html":
        text = json.dumps(table(app.env), indent=1, ensure_ascii=False, sort_keys=True)
        (Path(app.outdir).parent / FILE).write_text(text + "\n", encoding="utf-8")


def table(env: BuildEnvironment) -> dict[str, dict[str, dict[str, str]]]:
    """Return, for every kind of target and every name, its page, its anchor and the texts that stand for it."""
    return {
        "pages": {page: {"page": page, "anchor": "", "text": env.titles[page].astext()} for page in env.found_docs},
        "labels": labels(cast(StandardDomain, env.get_domain("std"))),
        "figures": figures(env),
        "equations": equations(env),
        "terms": terms(cast(StandardDomain, env.get_domain("std"))),
        "citations": citations(cast(BibtexDomain, env.get_domain("cite"))),
    }


def labels(domain: StandardDomain) -> dict[str, dict[str, str]]:
    """Return the labels that a ``ref`` may name, with the title of what they stand before."""
    return {
        name: {"page": page, "anchor": anchor, "text": title}
        for name, (page, anchor, title) in domain.labels.items()
        if page in domain.env.found_docs
    }


def figures(env: BuildEnvironment) -> dict[str, dict[str, str]]:
    """Return the figures that a ``numref`` may name, with their numbers."""
    anchors = cast(StandardDomain, env.get_domain("std")).anonlabels
    found = {}
    for name, (page, anchor) in anchors.items():
        number = env.toc_fignumbers.get(page, {}).get("figure", {}).get(anchor)
        if number:
            found[name] = {"page": page, "anchor": anchor, "number": ".".join(map(str, number))}
    return found


def equations(env: BuildEnvironment) -> dict[str, dict[str, str]]:
    """Return the labelled equations with the number that the page shows."""
    found = {}
    for label, (page, serial) in cast(MathDomain, env.get_domain("math")).equations.items():
        anchor = f"equation-{label}"
        number = env.toc_fignumbers.get(page, {}).get("displaymath", {}).get(anchor, (serial,))
        found[label] = {"page": page, "anchor": anchor, "number": ".".join(map(str, number))}
    return found


def terms(domain: StandardDomain) -> dict[str, dict[str, str]]:
    """Return the glossary's terms, in small letters because ``term`` does not tell them apart."""
    return {
        name.lower(): {"page": page, "anchor": anchor, "text": name}
        for (kind, name), (page, anchor) in domain.objects.items()
        if kind == "term"
    }


def citations(domain: BibtexDomain) -> dict[str, dict[str, str]]:
    """Return the cited works, with authors and year as the book's reference style writes them."""
    found = {}
    for citation in domain.citations:
        page = citation.bibliography_key.docname
        no_link: Any = SphinxReferenceInfo._make("" for _ in SphinxReferenceInfo._fields)
        reference = [(citation.entry, citation.formatted_entry, no_link)]
        texts = {
            # A space inside a name is a tag there.
            name: str(format_references(domain.reference_style, role, reference)).replace(
                "<nbsp>", "\N{NO-BREAK SPACE}"
            )
            for name, role in (("authors", "author"), ("year", "year"))
        }
        found[citation.key] = {"page": page, "anchor": citation.citation_id, **texts}
    return found


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("build-finished", write_table)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
