"""What extensions add to the pages: a chapter's frame, the cover, the texts of previews, what a posted link shows."""

import json
import re
import struct
import sys
from collections.abc import Iterator
from html import unescape
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.utils import new_document

from bncourse.ledger import states
from tests.book.chapters import ROOT, notebooks
from tests.book.sample import build, write_sample

sys.path.insert(0, str(ROOT / "book" / "_ext"))

from chapter_frame import halves
from cover_drawing import EDGE, GAINS, LAYERS, cover, layer_inputs
from social_preview import IMAGE, IMAGE_SIZE, LONGEST, describe

pytestmark = pytest.mark.slow

CHAPTERS = [path for path in notebooks() if re.match(r"\d", path.name) and re.match(r"\d", path.parent.name)]
LINK = re.compile(r'<a class="reference internal" href="([^"]*)#(equation-|term-|cite-|c(?=\d+"))([^"]*)"')


def html(site: Path, source: Path) -> str:
    return (site / source.relative_to(ROOT)).with_suffix(".html").read_text(encoding="utf-8")


# The frame of a chapter


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_chapter_has_its_frame(chapter: Path, built_book: Path) -> None:
    """Catches a chapter whose opening or end has another form, and an opening that is cut in the wrong place."""
    page = html(built_book, chapter)
    parts = ("outlook", "after", "needs", "summary", "exercises", "next")
    for name in ("page-question", *(f"chapter-{part}" for part in parts)):
        assert len(re.findall(rf'class="[^"]*\b{name}\b', page)) == 1, name
    after, needs = (
        " ".join(re.sub(r"<[^>]+>", "", text).split())
        for text in re.findall(r'<p class="chapter-(?:after|needs)">(.*?)</p>', page, re.DOTALL)
    )
    assert after.startswith("After this chapter you ")
    assert after[-1] == "."
    assert needs.startswith("You need ")
    assert re.search(r'chapter-needs">.*?<strong>(about )?\d+( to \d+)? minutes</strong>', page, re.DOTALL)


def test_an_opening_is_cut_beside_its_links() -> None:
    """Catches the loss of a link on either side of the cut, and of the text after the time."""
    link, other = nodes.reference("", "a"), nodes.reference("", "b")
    parts = [nodes.Text("You can do "), link, nodes.Text(". You need "), other]
    whole = nodes.paragraph("", "", *parts, nodes.Text("; it takes about 20 minutes, and no GPU."))
    after, needs = halves(whole)
    assert after.astext() == "You can do a."
    assert link.parent is after
    assert needs.astext() == "You need b; it takes about 20 minutes, and no GPU."
    assert other.parent is needs
    assert [node.astext() for node in needs.findall(nodes.strong)] == ["about 20 minutes"]


# The cover


def test_the_cover_says_what_its_networks_do() -> None:
    """Catches a picture, or words below it, that the numbers do not support."""
    small = [float(z.std()) for z in layer_inputs(GAINS["small"], normalize=False)]
    large = [float(z.std()) for z in layer_inputs(GAINS["large"], normalize=False)]
    assert len(small) == LAYERS == 10
    assert all(later < earlier for earlier, later in pairwise(small))
    assert all(later > earlier for earlier, later in pairwise(large))
    assert large[-1] > EDGE
    either = [layer_inputs(gain, normalize=True) for gain in GAINS.values()]
    for one, other in zip(*either, strict=True):
        np.testing.assert_allclose(one.std(axis=0), 1, rtol=1e-4)
        # eps is all that tells the two gains apart
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_the_cover_draws_a_curve_for_each_layer() -> None:
    panels = cover().split("<svg")[1:]
    assert [panel.count("<path") for panel in panels] == [LAYERS] * 3
    assert "NaN" not in cover()
    assert "nan" not in cover()


# The texts of previews


def links(site: Path) -> Iterator[tuple[str, str]]:
    """Yield the kind and the key of every reference in the book that has a preview."""
    kinds = {"equation-": "equation", "term-": "term", "cite-": "cite", "c": "claim"}
    for path in (site / "book").rglob("*.html"):
        for address, start, rest in LINK.findall(path.read_text(encoding="utf-8")):
            page = (path.parent / address).resolve() if address else path.resolve()
            key = page.relative_to(site.resolve()).with_suffix("").as_posix()
            yield kinds[start], unescape(f"{key}#{start}{rest}")


def test_every_reference_has_its_preview(built_book: Path) -> None:
    """Catches a key that the browser would not find: a page or an anchor that the two sides name differently."""
    folder = built_book / "_static" / "previews"
    texts = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    found = set(links(built_book))
    assert {kind for kind, _ in found} == set(texts) == {"equation", "term", "cite", "claim"}
    assert sorted(key for kind, key in found if not texts[kind].get(key)) == []
    for state in states():
        text = texts["claim"][f"book/appendix/ledger#{state.claim.id.lower()}"]
        assert f"<strong>{state.answer}</strong>" in text


def test_a_preview_shows_formulas_and_escapes_the_rest(tmp_path: Path) -> None:
    """Catches TeX whose < and & become tags, and a definition that loses its link's words."""
    folder = write_sample(tmp_path)
    entries = "a<b\n  Where $a<b$ holds & `c<d`, see {ref}`ch-first`.\n\nfeature axis\n  The axis."
    glossary = f"(app-glossary)=\n# Glossary\n\n```{{glossary}}\n{entries}\n```\n"
    (folder / "book/appendix/glossary.md").write_text(glossary, encoding="utf-8")
    result = build(folder)
    assert result.returncode == 0, result.stderr
    text = json.loads((folder / "_build/html/_static/previews/term.json").read_text(encoding="utf-8"))
    (definition,) = (value for key, value in text.items() if not key.endswith("feature-axis"))
    assert definition == (
        '<p class="preview-name">a&lt;b</p><p>Where <span class="math">\\(a&lt;b\\)</span> holds &amp; '
        "<code>c&lt;d</code>, see 1.2 The first chapter.</p>"
    )


# What a posted link shows


def properties(page: str) -> dict[str, str]:
    found = re.findall(r'<meta (?:property|name)="((?:og|twitter):[\w:]+|description)" content="([^"]*)"', page)
    assert len(found) == len(dict(found)), "a property stands twice"
    return {name: unescape(content) for name, content in found}


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """The sample book as a fork's workflow builds it."""
    folder = write_sample(tmp_path)
    result = build(folder, GITHUB_REPOSITORY="bo/fork", GITHUB_SERVER_URL="https://github.com")
    assert result.returncode == 0, result.stderr
    return folder / "_build" / "html"


def test_a_link_to_a_fork_shows_the_forks_site(known: Path) -> None:
    text = (known / "book/1_one/2_first.html").read_text(encoding="utf-8")
    page = properties(text)
    assert page["og:url"] == "https://bo.github.io/fork/book/1_one/2_first.html"
    assert f'<link rel="canonical" href="{page["og:url"]}" />' in text
    assert page["og:image"] == "https://bo.github.io/fork/_static/social.png"
    assert page["og:title"] == "1.2 The first chapter"
    assert page["og:site_name"] == "Batch Normalization"
    width, height = struct.unpack(">II", (known / IMAGE).read_bytes()[16:24])
    assert (width, height) == IMAGE_SIZE == (int(page["og:image:width"]), int(page["og:image:height"]))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_chapter_is_described_by_its_question(chapter: Path, built_book: Path) -> None:
    """Catches TeX in a description, one that is cut within a sentence, and one that all pages share."""
    page = html(built_book, chapter)
    shown = properties(page)["og:description"]
    assert 20 < len(shown) <= LONGEST
    assert not re.search(r"[\\$_^{}<>\0]", shown)
    assert shown[-1] in ".?!"
    assert shown == properties(page).get("description")


def document(*paragraphs: list[nodes.Node]) -> nodes.document:
    page = new_document("page", get_default_settings())
    page += [nodes.paragraph("", "", *parts) for parts in paragraphs]
    return page


def test_a_description_leaves_out_what_plain_text_cannot_show() -> None:
    formula, letter = nodes.math("", r"\frac{1}{m}"), nodes.math("", r"\gamma")
    assert describe(document([nodes.Text("Is "), letter, nodes.Text(" one?\nYes.")])) == "Is γ one? Yes."
    assert describe(document([nodes.Text("It is "), formula, nodes.Text(". So it is small.")])) == "So it is small."
    assert describe(document([formula], [nodes.Text("Then words.")])) == "Then words."
    assert describe(document([nodes.Text("First. "), formula, nodes.Text(". Third.")])) == "First."
    assert describe(document([formula])) == ""


def test_a_description_ends_with_a_sentence() -> None:
    assert describe(document([nodes.Text(f"Short. {'word ' * 60}end.")])) == "Short."
    long = describe(document([nodes.Text(f"{'word ' * 60}end.")]))
    assert len(long) <= LONGEST
    assert long.endswith("word …")
