"""Print what each page of the built book weighs: its HTML, and what a first visit to it transfers.

    python scripts/page_weight.py

Counted as a host sends it: texts compressed by gzip, pictures and fonts as they are. What a page loads is read from its
tags, and from what those files load in turn: modules by ``import``, pictures by ``url()``. MathJax counts with the
script alone; the fonts that a formula needs, some 30 to 100 kB, depend on the formula. Pictures that load only when
scrolled to are counted: a reader gets to them.
"""

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

SITE = Path(__file__).resolve().parents[1] / "_build" / "html"
TEXTS = {".html", ".css", ".js", ".mjs", ".json", ".svg"}
IMPORT = re.compile(r"""\bfrom\s*["'](\.[^"']+)["']|\bimport\s*["'](\.[^"']+)["']""")


@dataclass(frozen=True)
class Weight:
    """What a page weighs, in bytes.

    Attributes
    ----------
    page : its address within the site.
    html, html_sent : the page itself, and compressed.
    pictures : in its text.
    loaded, loaded_sent : the page with all that it loads, and as it is sent.
    """

    page: str
    html: int
    html_sent: int
    pictures: int
    loaded: int
    loaded_sent: int


class Loaded(HTMLParser):
    """Collects what a page's tags load."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: set[str] = set()
        self.others: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        at = dict(attrs)
        if tag == "img":
            self.pictures.add(at.get("src") or "")
        elif tag == "script":
            self.others.add(at.get("src") or "")
        elif tag == "link" and {"stylesheet", "icon", "preload"} & set((at.get("rel") or "").split()):
            self.others.add(at.get("href") or "")


def weigh(path: Path, site: Path = SITE) -> Weight:
    """Weigh a page of a built site."""
    parser = Loaded()
    parser.feed(path.read_text(encoding="utf-8"))
    pictures = set(local(parser.pictures, path))
    files = {path} | pictures
    for file in local(parser.others, path):
        files |= with_imports(file)
    return Weight(
        page=path.relative_to(site).as_posix(),
        html=size(path),
        html_sent=sent(path),
        pictures=sum(map(size, pictures)),
        loaded=sum(map(size, files)),
        loaded_sent=sum(map(sent, files)),
    )


def local(addresses: set[str], page: Path) -> Iterator[Path]:
    """Yield the files that these addresses name; what is written into the page itself is none."""
    for address in addresses:
        if address and not address.startswith(("data:", "http:", "https:")):
            yield (page.parent / unquote(urldefrag(address).url.split("?")[0])).resolve()


def with_imports(file: Path) -> set[Path]:
    """Return a file and the modules that it imports, and those that they import."""
    found, waiting = set(), [file]
    while waiting:
        each = waiting.pop()
        if each in found:
            continue
        found.add(each)
        if each.suffix == ".mjs":
            names = (first or second for first, second in IMPORT.findall(each.read_text(encoding="utf-8")))
            waiting += [(each.parent / name).resolve() for name in names]
    return found


@cache
def size(file: Path) -> int:
    return file.stat().st_size


@cache
def sent(file: Path) -> int:
    """Return how many bytes a host sends for a file."""
    return len(gzip.compress(file.read_bytes(), mtime=0)) if file.suffix in TEXTS else size(file)


def pages(site: Path = SITE) -> list[Path]:
    """Return the pages of a built site."""
    return [path for path in sorted(site.rglob("*.html")) if site / "_static" not in path.parents]


def main() -> int:
    """Print the table, the heaviest page first."""
    if not SITE.is_dir():
        print(f"there is no book in {SITE}: build it with 'make book'")
        return 1
    weights = sorted(map(weigh, pages()), key=lambda weight: -weight.loaded_sent)
    print(f"{'kB':>44}{'HTML':>8}{'sent':>8}{'pictures':>10}{'loaded':>8}{'sent':>8}")
    for each in weights:
        print(
            f"{each.page:<44}{each.html / 1e3:8.0f}{each.html_sent / 1e3:8.0f}{each.pictures / 1e3:10.0f}"
            f"{each.loaded / 1e3:8.0f}{each.loaded_sent / 1e3:8.0f}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
