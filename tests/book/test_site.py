"""The built site: its links lead somewhere, it loads nothing from elsewhere, it is whole."""

import json
import re
from pathlib import Path

import pytest

from tests.book.chapters import ROOT, display_equations, notebooks, pages
from tests.book.links import broken_links, outside_requests, read_site

pytestmark = pytest.mark.slow


def test_every_link_inside_the_site_leads_somewhere(built_book: Path) -> None:
    assert list(broken_links(built_book)) == []


def test_no_page_loads_anything_from_elsewhere(built_book: Path) -> None:
    assert list(outside_requests(built_book)) == []


def test_every_page_of_the_book_is_there_and_the_root_leads_to_the_first(built_book: Path) -> None:
    for path in pages():
        assert (built_book / path.relative_to(ROOT)).with_suffix(".html").exists()
    (root,) = read_site_page(built_book / "index.html")
    assert root == "book/intro.html"


def read_site_page(path: Path) -> list[str]:
    return read_site(path.parent)[path.resolve()].leads


def test_launch_buttons_stand_on_notebooks_and_on_nothing_else(built_book: Path) -> None:
    for path in pages():
        text = (built_book / path.relative_to(ROOT)).with_suffix(".html").read_text(encoding="utf-8")
        assert ("dropdown-launch-buttons" in text) == (path.suffix == ".ipynb"), path.name
        assert "dropdown-source-buttons" in text


def test_every_term_of_the_glossary_is_linked_from_another_page(built_book: Path) -> None:
    """Catches a definition that nobody who meets the word is led to."""
    terms = r'<dt id="(term-[^"]+)"'
    glossary = built_book / "book" / "appendix" / "glossary.html"
    defined = set(re.findall(terms, glossary.read_text(encoding="utf-8")))
    linked: set[str] = set()
    for source in pages():
        page = built_book / source.relative_to(ROOT).with_suffix(".html")
        if page != glossary:
            linked |= set(re.findall(r'glossary\.html#(term-[^"]+)"', page.read_text(encoding="utf-8")))
    assert len(defined) > 80
    assert defined - linked == set()


def test_equations_are_numbered_by_chapter(built_book: Path) -> None:
    table = json.loads((built_book.parent / "references.json").read_text(encoding="utf-8"))
    for path in notebooks():
        match = re.search(r"/(\d+)_\w+/(\d+)_\w+\.ipynb$", path.as_posix())
        labels = [equation.label for equation in display_equations(path) if equation.label]
        numbers = [table["equations"][label]["number"] for label in labels]
        if match:
            assert numbers == [f"{match[1]}.{match[2]}.{place}" for place in range(1, len(labels) + 1)]


def test_nothing_of_the_machine_is_in_the_site(built_book: Path) -> None:
    """Catches a stored traceback, and a path that a build step wrote into a page."""
    found = [
        path.name
        for path in built_book.rglob("*")
        if path.suffix in (".html", ".json", ".js", ".txt", ".ipynb") and str(ROOT) in path.read_text("utf-8", "ignore")
    ]
    assert found == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="no.html">x</a>', "leads to no file"),
        ('<a href="b.html#no">x</a>', "names no anchor"),
        ('<a href="#no">x</a>', "names no anchor"),
        ('<img src="no.png">', "leads to no file"),
        ('<link rel="stylesheet" href="no.css">', "leads to no file"),
        ('<a href="../outside.html">x</a>', "leads out of the site"),
        ('<meta http-equiv="Refresh" content="0; url=no.html">', "leads to no file"),
    ],
)
def test_a_broken_link_is_found(body: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "outside.html").write_text("")
    site = tmp_path / "site"
    (site / "c").mkdir(parents=True)
    (site / "b.html").write_text('<p id="yes">x</p><a name="also"></a>')
    (site / "c" / "index.html").write_text("")
    good = (
        '<a href="b.html#yes">x</a><a href="b.html#also">x</a><a href="c/">x</a><a href="https://example.org/n#o">x</a>'
    )
    (site / "a.html").write_text(good + body)
    (found,) = broken_links(site)
    assert problem in found


@pytest.mark.parametrize(
    "body",
    [
        '<script src="https://example.org/a.js"></script>',
        '<link rel="preload" href="//example.org/a.css">',
        '<img srcset="a.png 1x, https://example.org/b.png 2x">',
        '<iframe src="http://example.org/"></iframe>',
    ],
)
def test_a_request_that_leaves_the_site_is_found(body: str, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<img src="data:image/png;base64,AA"><a href="https://example.org">x</a>' + body)
    assert len(list(outside_requests(tmp_path))) == 1
