"""Sphinx extension: the page of the claims ledger, written from the package's entries and records at each build.

In ``book/appendix/ledger.md`` the line ``% overview`` becomes a table of all claims, and ``% entries`` one section for
each, with the label ``c1`` to ``c25``; ``% articles`` becomes the list of those who make them.
``_static/ledger/filter.mjs`` adds a filter; without it everything is shown.
"""

import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from ledger_drawing import drawing, paragraph
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from bncourse.ledger import ARTICLES, CLAIMS, LEVEL, Claim, State, states

PAGE = "book/appendix/ledger"
OVERVIEW, ENTRIES, SOURCES = "% overview", "% entries", "% articles"
LABEL = re.compile(r"c\d+")


def write_page(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the ledger into the page's source."""
    if page != PAGE:
        return
    listed = states()
    source[0] = source[0].replace(OVERVIEW, "\n".join(overview(listed, app.env)))
    source[0] = source[0].replace(SOURCES, "\n".join(articles()))
    source[0] = source[0].replace(ENTRIES, "\n".join(line for state in listed for line in entry(state, app.env)))


def overview(listed: list[State], env: BuildEnvironment) -> Iterator[str]:
    """Yield the table of all claims."""
    yield ":::{table}\n:class: claim-overview\n"
    yield "| claim | what is said | verdict | chapter |"
    yield "|---|---|---|---|"
    for state in listed:
        claim = state.claim
        chapter = link(claim, env, text=claim.chapter)
        cells = (f"{{ref}}`{claim.id} <{label(claim)}>`", claim.statement, state.answer, chapter)
        yield f"| {' | '.join(cells)} |"
    yield ":::"


def articles() -> Iterator[str]:
    """Yield the list of the articles."""
    for title, author in ARTICLES.values():
        yield f"- *{title}*" + (f", {author}" if author else "")


def entry(state: State, env: BuildEnvironment) -> Iterator[str]:
    """Yield the section of one claim."""
    claim = state.claim
    yield f"({label(claim)})="
    yield f"## {claim.id} · {claim.statement[0].upper()}{claim.statement[1:]}\n"
    yield "```{raw} html"
    data = f'data-verdict="{state.answer}" data-part="{claim.part}"'
    yield f'<p class="claim-state" {data}><span class="claim-verdict">{state.answer}</span> {correction(state)}</p>'
    if state.verdict:
        yield paragraph("claim-reason", state.verdict.reason)
        yield from (drawing(effect) for effect in state.verdict.effects)
    yield "```\n"
    for name, text in parts(state, env):
        yield f"**{name}.** {text}\n"


def parts(state: State, env: BuildEnvironment) -> Iterator[tuple[str, str]]:
    """Yield what an entry says, piece by piece, with a name for each."""
    claim = state.claim
    titles = "; ".join(f"*{ARTICLES[key][0]}*" for key in claim.articles)
    yield "Said in", "all five articles." if len(claim.articles) == len(ARTICLES) else f"{titles}."
    yield "Literature", claim.literature
    yield "Test", f"{claim.test} {f'{claim.seeds} seeds.' if claim.seeds else 'Chance has no part in it.'}"
    yield "Estimand", claim.estimand
    yield "Smallest effect of interest", claim.smallest
    yield "Rule", f"{claim.rule} As code: `bncourse.experiments.{claim.experiment}`."
    yield "Chapter", link(claim, env)
    yield "Command", f"`{claim.command}`"
    source = state.provenance
    if source:
        versions = f"torch {source.versions['torch']}, NumPy {source.versions['numpy']}"
        yield "Recorded", f"{source.date} with {versions} on {source.machine['processor']}, by `{source.command}`."


def correction(state: State) -> str:
    """Say what Holm's correction makes of the verdict."""
    if state.verdict is None:
        return ""
    if state.corrected_p is None:
        return "with certainty: chance has no part in it"
    p = "p &lt; 0.001" if state.corrected_p < 0.001 else f"p = {state.corrected_p:.3f}"
    stands = "the same" if state.corrected_answer == state.answer else state.corrected_answer
    return f"after Holm’s correction at {LEVEL:g}: {stands} ({p})"


def link(claim: Claim, env: BuildEnvironment, text: str = "") -> str:
    """Link to the claim's chapter by its title or another text, or name it where the book does not have it yet."""
    part, number = claim.chapter.split(".")
    pattern = re.compile(rf"book/{part}_\w+/{number}_\w+")
    page = next(filter(pattern.fullmatch, sorted(env.found_docs)), None)
    return (f"{{doc}}`{text} </{page}>`" if text else f"{{doc}}`/{page}`") if page else claim.chapter


def label(claim: Claim) -> str:
    """Return where on the page a claim stands."""
    return claim.id.lower()


def name_sections(app: Sphinx, doctree: nodes.document) -> None:
    """Make a claim's label the name of its section, which links and the page's contents then use."""
    if app.env.docname == PAGE:
        for section in doctree.findall(nodes.section):
            section["ids"].sort(key=lambda name: not LABEL.fullmatch(name))


def load_filter(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Load the filter and the styles on the ledger's page."""
    if page == PAGE:
        app.add_js_file("ledger/filter.mjs", type="module")
        app.add_css_file("ledger/ledger.css")


def read_again(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Write the page anew at each build: its source does not show when a record or an entry has changed."""
    return [PAGE] if PAGE in env.found_docs else []


def setup(app: Sphinx) -> dict[str, Any]:
    if len(CLAIMS) != len({label(claim) for claim in CLAIMS}):
        raise ValueError("two claims of the ledger share an identifier")
    app.connect("source-read", write_page)
    # Before the page's contents are collected, which use the first name of each section.
    app.connect("doctree-read", name_sections, priority=100)
    app.connect("env-get-outdated", read_again)
    app.connect("html-page-context", load_filter)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
