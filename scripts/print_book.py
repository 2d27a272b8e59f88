"""Print the whole book into one PDF, ``_build/bncourse.pdf``, from the site that ``make book`` has built.

    python scripts/print_book.py

The file is tagged, has an outline, and its links lead inside it. It is printed by Chromium, which knows no page
numbers while it lays out: they come from one print, and the next has them in its contents. What would be
wrong with the file (a link to this machine, a table cut off at the edge, mathematics that was not typeset) is an
error, and no file is left.
"""

# mypy: disable-error-code="import-untyped"
import functools
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pikepdf
import yaml
from playwright.sync_api import Browser, Page, sync_playwright
from pypdf import PdfReader

from bncourse import __version__, doctor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

from book_document import Assembly, parts_of  # noqa: E402
from pdf_checks import problems  # noqa: E402
from repository import Repository, find_repository  # noqa: E402

DOCUMENT = "whole_book.html"
# Width in CSS pixels of what a page of A4 holds between the margins of print.css.
COLUMN = 658
# In milliseconds: hundreds of pages take a minute on a quiet machine.
TIMEOUT = 600_000
# The second print has the numbers that the first one found. Where it moved a page, a third one is right.
PRINTS = 4

READY = """async () => {
  await MathJax.startup.promise;
  await document.fonts.ready;
  for (const image of document.images) await image.decode();
  // Chromium's tags know no mathematics: an equation is a picture to them, told in the words of its source.
  for (const { math, typesetRoot } of MathJax.startup.document.math) {
    const equation = typesetRoot.closest("div.math");
    equation?.setAttribute("role", "img");
    equation?.setAttribute("aria-label", `${math.trim()} ${equation.querySelector(".eqno")?.textContent ?? ""}`);
  }
  // What is short is not divided; of what is long, a box would leave half a page empty.
  for (const box of document.querySelectorAll(".cell_input, .cell_output .output, div.highlight, details, .admonition"))
    box.classList.toggle("keep-together", box.offsetHeight < 300);
}"""
NOT_TYPESET = """() => [...document.querySelectorAll(".math:not(:has(mjx-container)), mjx-merror")]
  .map((element) => `${element.closest(".book-chapter")?.id}: ${element.textContent.trim().slice(0, 60)}`)"""
# What is wider than the page, as a reader would find it: the page's title and the text's beginning.
TOO_WIDE = """(column) => {
  const edge = document.querySelector("article").getBoundingClientRect().left + column + 1;
  return [...document.querySelectorAll("article :is(p, pre, table, img, svg, mjx-container, li, dt)")]
    .filter((element) => !element.closest("mjx-assistive-mml") && element.getBoundingClientRect().right > edge)
    .map((element) => `${element.closest(".book-chapter")?.id ?? "contents"}: <${element.localName}> `
      + `${Math.round(element.getBoundingClientRect().right - edge)} px: ${element.textContent.trim().slice(0, 60)}`);
}"""
NUMBER_CONTENTS = """(pages) => {
  for (const place of document.querySelectorAll(".page-number")) place.textContent = pages[place.dataset.page];
}"""


class PrintError(Exception):
    """The book cannot be printed, or would be printed wrongly."""


def main() -> int:
    """Print the book; return 1 and say why where that is impossible."""
    try:
        with chromium() as browser:
            target = print_book(ROOT, ROOT / "_build" / "bncourse.pdf", find_repository(ROOT), browser)
    except PrintError as error:
        print(f"print: {error}", file=sys.stderr)
        return 1
    size = f"{len(PdfReader(target).pages)} pages, {target.stat().st_size / 1e6:.1f} MB"
    print(f"printed to {target.relative_to(ROOT)}: {size}")
    return 0


def print_book(root: Path, target: Path, repository: Repository | None, browser: Browser) -> Path:
    """Print the built book at ``root`` into the file ``target`` and return it.

    Raises
    ------
    PrintError : if the book is not built, or the PDF would not be what it must be.
    """
    site = root / "_build" / "html"
    if not (site / "index.html").exists():
        raise PrintError("the book is not built: make book")
    settings = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    title, author, language = settings["title"], settings["author"], settings["sphinx"]["config"]["language"]
    parts = parts_of(root)
    assembly = Assembly(site, parts, repository.site if repository else "")
    document = site / DOCUMENT
    document.write_text(assembly.document(title, author, language, front(title, author, repository)), encoding="utf-8")
    try:
        with tempfile.TemporaryDirectory(dir=target.parent) as folder, served(site) as address:
            aside = Path(folder) / target.name
            print_pages(browser, f"{address}/{DOCUMENT}", aside)
            describe(aside, title, author)
            found = list(problems(PdfReader(aside), assembly.titles, language))
            if found:
                raise PrintError("the PDF is not what it must be:\n" + "\n".join(found[:20]))
            aside.replace(target)
    finally:
        document.unlink()
    return target


def front(title: str, author: str, repository: Repository | None) -> str:
    """Return the title page."""
    where = f' · <a href="{repository.site}/">{repository.site}</a>' if repository else ""
    return (
        f'<div class="book-title-page"><p class="book-title">{escape(title)}</p>'
        '<p class="book-subtitle">A course that can be run: the transform, its backward pass, a GPU kernel, and what '
        "experiments over many seeds say about why it works.</p>"
        f'<p class="book-imprint">{escape(author)}<br>Version {__version__}{where}<br>'
        "Code under the MIT License; text and figures under CC BY 4.0.</p></div>"
    )


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start this machine's Chromium."""
    program = doctor.browser()
    if program is None:
        raise PrintError(f"no Chromium found; install what it needs with: {doctor.INSTALL_BROWSER}")
    with sync_playwright() as playwright:
        # A container's root may not use Chromium's sandbox. What it opens is the book alone.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on a free port of this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def print_pages(browser: Browser, address: str, target: Path) -> None:
    """Print a document of this machine until its contents have the numbers of its pages, which takes two prints."""
    page = browser.new_page(viewport={"width": COLUMN, "height": 1000})
    page.set_default_timeout(TIMEOUT)
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.on("response", lambda response: failed.append(response.url) if response.status >= 400 else None)
    page.emulate_media(media="print")
    page.goto(address)
    if failed:
        raise PrintError(f"the document did not load: {failed[0]}")
    page.evaluate(READY)
    if raw := page.evaluate(NOT_TYPESET):
        raise PrintError("mathematics that was not typeset:\n" + "\n".join(raw[:30]))
    if wide := page.evaluate(TOO_WIDE, COLUMN):
        raise PrintError("wider than the paper:\n" + "\n".join(wide[:30]))
    numbers: dict[str, int] = {}
    for _ in range(PRINTS):
        write(page, target)
        before, numbers = numbers, page_numbers(target)
        if numbers == before:
            break
        page.evaluate(NUMBER_CONTENTS, numbers)
    else:
        raise PrintError(f"each of {PRINTS} prints put the chapters on other pages than the one before")
    if failed:  # a figure's module, or a font, that was asked for late
        raise PrintError(f"the document did not load: {failed[0]}")
    page.close()


def write(page: Page, target: Path) -> None:
    page.pdf(path=target, format="A4", tagged=True, outline=True, print_background=True, prefer_css_page_size=True)


def page_numbers(pdf: Path) -> dict[str, int]:
    """Return on which page each anchor stands, counted from 1."""
    reader = PdfReader(pdf)
    numbers = {page.indirect_reference: number for number, page in enumerate(reader.pages, start=1)}
    return {
        name.removeprefix("/"): numbers[destination["/Page"].indirect_reference]
        for name, destination in reader.named_destinations.items()
    }


def describe(pdf: Path, title: str, author: str) -> None:
    """Write title and author where a reader of PDF files shows them, and pack the file into half its size.

    Chromium knows the title only, and leaves the hundred thousands of small objects that make the tags unpacked.
    """
    with pikepdf.open(pdf, allow_overwriting_input=True) as book:
        book.docinfo["/Title"], book.docinfo["/Author"] = title, author
        book.save(pdf, object_stream_mode=pikepdf.ObjectStreamMode.generate)


if __name__ == "__main__":
    sys.exit(main())
