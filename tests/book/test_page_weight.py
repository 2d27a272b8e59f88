"""What a page may weigh.

Three budgets, each for a reader whom it would otherwise cost something:

- A first visit to the first page: 250 kB. At the 1.6 Mbit/s on which Lighthouse measures a slow phone that is little
  more than a second, and everything but the page itself is then kept for the other pages. It was 1.0 MB with the
  theme's icons, the index of the search and MathJax, none of which the page uses.
- A first visit to a chapter: 1.2 MB, six seconds there. MathJax is 0.4 MB of it and comes once; the rest is figures.
- The HTML of a page, compressed: 40 kB, as nothing of it is kept for the next page; 100 kB for a page of the API,
  in which a reader looks up one name.

They are counted as a host sends the files (scripts/page_weight.py), so that they do not depend on a network.
"""

import gzip
import sys
from pathlib import Path

import pytest

from tests.book.chapters import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

from page_weight import pages, weigh

FIRST_PAGE = 250_000
PAGE = 1_200_000
HTML = 40_000
REFERENCE = 100_000


def test_a_first_visit_to_the_first_page_is_light(built_book: Path) -> None:
    assert weigh(built_book / "book" / "intro.html", built_book).loaded_sent <= FIRST_PAGE


def test_no_page_is_heavy(built_book: Path) -> None:
    """Catches figures at twice the size, an output of a thousand lines, and another script on every page."""
    weights = [weigh(page, built_book) for page in pages(built_book)]
    assert len(weights) > 50
    assert {each.page: each.loaded_sent for each in weights if each.loaded_sent > PAGE} == {}
    budget = {each.page: REFERENCE if each.page.startswith("book/appendix/api/") else HTML for each in weights}
    assert {each.page: each.html_sent for each in weights if each.html_sent > budget[each.page]} == {}


def test_all_that_a_page_loads_is_counted(tmp_path: Path) -> None:
    """Catches a module's imports left out, a picture counted as compressed, and a file counted twice."""
    script, module, picture = b"import './other.mjs'; x();" * 50, b"export const a = 1;" * 50, bytes(range(256)) * 4
    page = (
        '<link rel="stylesheet" href="a.css?v=1"><script src="m.mjs"></script>'
        '<img src="p%20q.png"><img src="p%20q.png">'
        '<script>inline()</script><img src="data:image/png;base64,AAAA"><link rel="next" href="elsewhere.html">'
    )
    for name, content in {"a.css": b"p {}", "m.mjs": script, "other.mjs": module, "p q.png": picture}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    weight = weigh(tmp_path / "page.html", tmp_path)
    texts = (page.encode(), b"p {}", script, module)
    assert weight.loaded == sum(map(len, texts)) + len(picture)
    assert weight.loaded_sent == sum(len(gzip.compress(text, mtime=0)) for text in texts) + len(picture)
    assert weight.pictures == len(picture)


def test_what_is_missing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text('<script src="nowhere.js"></script>', encoding="utf-8")
    with pytest.raises(FileNotFoundError):
        weigh(tmp_path / "page.html", tmp_path)
