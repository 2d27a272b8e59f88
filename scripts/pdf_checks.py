"""What must hold of a printed book: scripts/print_book.py looks, and keeps no file where one of these fails."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from bs4 import BeautifulSoup
from pypdf import PdfReader
from pypdf.generic import Destination


def problems(pdf: PdfReader, titles: dict[str, str], language: str) -> Iterator[str]:
    """Yield what is wrong with a printed book.

    Parameters
    ----------
    pdf : the file.
    titles : the title of each page of the book, as HTML, in their order.
    language : the book's language.
    """
    root = pdf.root_object
    if not root.get("/MarkInfo", {}).get("/Marked") or "/StructTreeRoot" not in root:
        yield "it is not tagged: those who listen hear no headings and tables"
    if root.get("/Lang") != language:
        yield f"its language is {root.get('/Lang')!r}, not {language!r}"
    yield from outline_problems(pdf, titles)
    yield from link_problems(pdf)


def outline_problems(pdf: PdfReader, titles: dict[str, str]) -> Iterator[str]:
    """Yield the pages of the book that the outline has not, or has in another order."""
    entries = iter(normal(title) for _, title in outline(pdf))
    for page, title in titles.items():
        wanted = normal(BeautifulSoup(title, "html.parser").get_text())
        if wanted not in entries:  # advances past what it looks at, so the order counts
            yield f"the outline has no {wanted!r} ({page}) in its place"


def outline(pdf: PdfReader) -> Iterator[tuple[int, str]]:
    """Yield the outline's entries in order, with their depth."""

    def walk(entries: list[object], depth: int) -> Iterator[tuple[int, str]]:
        for entry in entries:
            if isinstance(entry, list):
                yield from walk(entry, depth + 1)
            elif isinstance(entry, Destination):
                yield depth, entry.title or ""

    yield from walk(list(pdf.outline), 0)


def link_problems(pdf: PdfReader) -> Iterator[str]:
    """Yield links that lead to this machine, or to no place of the file."""
    anchors = {name.removeprefix("/") for name in pdf.named_destinations}
    for number, page in enumerate(pdf.pages, start=1):
        for reference in page.get("/Annots", []):
            annotation = reference.get_object()
            if annotation.get("/Subtype") != "/Link":
                continue
            action = annotation.get("/A", {})
            target = annotation.get("/Dest", action.get("/D"))
            if "/URI" in action:
                address = urlsplit(str(action["/URI"]))
                if address.scheme not in ("https", "http", "mailto") or address.hostname in ("localhost", "127.0.0.1"):
                    yield f"page {number}: a link to {action['/URI']}"
            elif isinstance(target, str) and target.removeprefix("/") not in anchors:
                yield f"page {number}: a link to {target}, which is nowhere"
            elif target is None:
                yield f"page {number}: a link to nothing"


def normal(text: str) -> str:
    return "".join(text.split())
