"""A small checker of links: every address in a built site leads to a file, and every fragment to an anchor there."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Where a page names what the browser itself asks for, without the reader's doing.
REQUESTS = {
    ("script", "src"),
    ("img", "src"),
    ("source", "src"),
    ("iframe", "src"),
    ("video", "src"),
    ("audio", "src"),
    ("object", "data"),
    ("link", "href"),
    ("image", "href"),
    ("use", "href"),
}


@dataclass
class Page(HTMLParser):
    """What a page names: its anchors, where it leads, and what it loads."""

    anchors: set[str] = field(default_factory=set)
    leads: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if ("rel", "canonical") in attrs:  # an address that search engines read, and no browser asks for
            return
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)
            elif (tag, name) in REQUESTS:
                self.loads.append(value)
            elif tag in ("a", "area") and name == "href":
                self.leads.append(value)
            elif tag == "meta" and name == "content" and value.lower().lstrip("0123456789; ").startswith("url="):
                self.leads.append(value.partition("=")[2])
            elif name == "srcset":
                self.loads += [candidate.split()[0] for candidate in value.split(",") if candidate.strip()]


def read_site(site: Path) -> dict[Path, Page]:
    """Parse every page of a site."""
    pages = {}
    for path in sorted(site.rglob("*.html")):
        if "_static" in path.relative_to(site).parts:
            continue
        page = Page()
        page.feed(path.read_text(encoding="utf-8"))
        pages[path.resolve()] = page
    return pages


def leaves_the_site(address: str) -> bool:
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def broken_links(site: Path) -> Iterator[str]:
    """Yield every address inside the site that leads to no file, or to no anchor of its page."""
    pages = read_site(site)
    for path, page in pages.items():
        here = path.relative_to(site.resolve())
        for address in [*page.leads, *page.loads]:
            parts = urlsplit(address)
            if parts.netloc or parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                yield f"{here}: {address} leads to no file"
            elif not target.is_relative_to(site.resolve()):
                yield f"{here}: {address} leads out of the site"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{here}: {address} names no anchor of its page"


def outside_requests(site: Path) -> Iterator[str]:
    """Yield everything that a page would load from elsewhere."""
    for path, page in read_site(site).items():
        for address in page.loads:
            if leaves_the_site(address):
                yield f"{path.relative_to(site.resolve())}: {address}"
