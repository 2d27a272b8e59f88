"""What a preview of an equation, a term, a cited work or a claim shows, as small pieces of HTML.

Formulas are written as the pages hold them, for the MathJax that is already on the page.
"""

from collections.abc import Iterator
from html import escape
from typing import cast

from docutils import nodes  # type: ignore[import-untyped]
from sphinx.addnodes import glossary as glossary_node
from sphinx.addnodes import index
from sphinx.application import Sphinx
from sphinx.domains.std import StandardDomain
from sphinx.environment import BuildEnvironment
from sphinxcontrib.bibtex.domain import BibtexDomain

from bncourse.ledger import State, states

LEDGER = "book/appendix/ledger"
EQUATIONS = "equations of the page"
TAGS = {nodes.strong: "strong", nodes.emphasis: "em", nodes.literal: "code", nodes.paragraph: "p"}


def texts(app: Sphinx) -> dict[str, dict[str, str]]:
    """Return for every kind of target the HTML of each, by the page and the anchor that a link to it names."""
    return {
        "equation": dict(equations(app.env)),
        "term": dict(terms(app)),
        "cite": dict(works(app.env)),
        "claim": dict(claims(app.env)),
    }


def keep_equations(app: Sphinx, doctree: nodes.document) -> None:
    """Keep a page's labelled equations; at the end of a build every page would have to be loaded again for them."""
    blocks = doctree.findall(nodes.math_block)
    app.env.metadata[app.env.docname][EQUATIONS] = {
        block["label"]: block.astext() for block in blocks if block.get("label")
    }


def equations(env: BuildEnvironment) -> Iterator[tuple[str, str]]:
    """Yield the labelled equations of the book."""
    for page, title in env.titles.items():
        for label, tex in env.metadata[page].get(EQUATIONS, {}).items():
            yield f"{page}#equation-{label}", name(title) + formula(tex, display=True)


def terms(app: Sphinx) -> Iterator[tuple[str, str]]:
    """Yield the glossary's terms with their definitions."""
    domain = cast(StandardDomain, app.env.get_domain("std"))
    anchors = {(page, anchor) for (kind, _), (page, anchor) in domain.objects.items() if kind == "term"}
    for page in sorted({page for page, _ in anchors}):
        for glossary in app.env.get_and_resolve_doctree(page, app.builder).findall(glossary_node):
            for item in glossary.findall(nodes.definition_list_item):
                names = [term for term in item if isinstance(term, nodes.term)]
                text = name(*names) + markup(item[-1])
                yield from ((f"{page}#{anchor}", text) for term in names for anchor in term["ids"])


def works(env: BuildEnvironment) -> Iterator[tuple[str, str]]:
    """Yield the cited works."""
    domain = cast(BibtexDomain, env.get_domain("cite"))
    for work in domain.citations:
        text = " ".join(work.formatted_entry.text.render_as("text").split())
        yield f"{work.bibliography_key.docname}#{work.citation_id}", f"<p>{escape(text)}</p>"


def claims(env: BuildEnvironment) -> Iterator[tuple[str, str]]:
    """Yield the claims of the ledger, where the book has one."""
    if LEDGER in env.found_docs:
        yield from ((f"{LEDGER}#{state.claim.id.lower()}", claim(state)) for state in states())


def claim(state: State) -> str:
    """Return a claim with its verdict and the verdict's reason."""
    said, verdict = escape(state.claim.statement), escape(state.answer)
    reason = f"<p>{escape(state.verdict.reason)}</p>" if state.verdict else ""
    return f'<p class="preview-name">Claim {state.claim.id}</p><p>{said}: <strong>{verdict}</strong>.</p>{reason}'


def name(*parts: nodes.Node) -> str:
    """Return the line above a preview's text."""
    return f'<p class="preview-name">{", ".join(map(markup, parts))}</p>'


def markup(node: nodes.Node) -> str:
    """Return a piece of text as HTML without links: a preview is read, not followed."""
    if isinstance(node, nodes.Text):
        return escape(str(node))
    if isinstance(node, nodes.math | nodes.math_block):
        return formula(node.astext(), display=isinstance(node, nodes.math_block))
    if isinstance(node, index):
        return ""
    text, tag = "".join(map(markup, node.children)), TAGS.get(type(node))
    return f"<{tag}>{text}</{tag}>" if tag else text


def formula(tex: str, display: bool) -> str:
    """Return a formula between the marks that MathJax looks for."""
    opening, closing = (r"\[", r"\]") if display else (r"\(", r"\)")
    return f'<span class="math">{opening}{escape(tex.strip())}{closing}</span>'
