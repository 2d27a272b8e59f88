"""The book in print: a PDF that can be listened to, searched, and walked through; here of the sample book.

The whole book's PDF is checked by the script itself, each time that it is made (scripts/pdf_checks.py).
"""

import sys
from pathlib import Path

import pikepdf
import pytest
from playwright.sync_api import Browser
from pypdf import PdfReader

from tests.book.chapters import ROOT
from tests.book.sample import build, write_sample

for folder in ("scripts", "book/_ext"):
    sys.path.insert(0, str(ROOT / folder))

import print_book  # noqa: E402
from book_document import Assembly, parts_of  # noqa: E402
from pdf_checks import link_problems, outline, outline_problems, problems  # noqa: E402
from repository import Repository  # noqa: E402

pytestmark = pytest.mark.browser

FORK = Repository("bo", "fork", "https://bo.github.io/fork")
LONGEST = "a = " + " + ".join(f"term_{number:02}" for number in range(7)) + " + last_words_line"


@pytest.fixture(scope="module")
def sample(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample book, built; with two sections of one name, and the longest line that a chapter may have."""
    folder = write_sample(tmp_path_factory.mktemp("sample"))
    for name in ("intro.md", "appendix/glossary.md"):
        page = folder / "book" / name
        text = f"\n## Summary\n\nSee [above](#summary).\n\n```python\n{LONGEST}\n```\n"
        page.write_text(page.read_text(encoding="utf-8") + text, encoding="utf-8")
    result = build(folder)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def pdf(sample: Path, browser: Browser) -> PdfReader:
    """The sample book, printed; the checks of the script have passed."""
    return PdfReader(print_book.print_book(sample, sample / "_build" / "sample.pdf", FORK, browser))


def test_it_is_tagged_and_says_what_it_is(pdf: PdfReader) -> None:
    assert pdf.root_object["/MarkInfo"]["/Marked"]
    assert pdf.root_object["/Lang"] == "en"
    assert pdf.metadata is not None
    assert (pdf.metadata.title, pdf.metadata.author) == ("Batch Normalization", "the bncourse authors")


def test_an_equation_is_told_in_words(pdf: PdfReader, sample: Path) -> None:
    """Catches an equation that those who listen do not hear of."""
    with pikepdf.open(sample / "_build" / "sample.pdf") as file:
        tags = [
            tag for tag in file.objects if isinstance(tag, pikepdf.Dictionary) and tag.get("/Type") == "/StructElem"
        ]
        words = [str(tag.Alt) for tag in tags if "/Alt" in tag]
    assert any("\\frac{1}{m}" in text and text.endswith("(1.2.1)") for text in words)


def test_the_outline_nests_sections_in_chapters_in_parts(pdf: PdfReader) -> None:
    entries = list(outline(pdf))
    for entry in ((0, "1 · One"), (1, "1.2 The first chapter"), (2, "The mean"), (0, "Appendix"), (1, "Glossary")):
        assert entry in entries
    assert [title for depth, title in entries if depth == 0] == ["Contents", "A sample", "1 · One", "Appendix"]


def test_answers_long_lines_and_the_text_of_a_figure_are_printed(pdf: PdfReader) -> None:
    """Catches an answer that stays folded, a line that is cut off, and mathematics that is not typeset."""
    text = " ".join(page.extract_text() for page in pdf.pages)
    words = " ".join(text.split())
    for expected in ("Two, by", LONGEST, "What the figure shows", "code inside"):
        assert expected in words
    assert "\\frac" not in text


def test_sections_of_one_name_have_each_their_own_anchor(pdf: PdfReader) -> None:
    """Catches anchors without their page, where every "Summary" leads to the first one."""
    names = {name.removeprefix("/") for name in pdf.named_destinations}
    assert {"intro.summary", "appendix.glossary.summary"} <= names


def test_the_contents_name_the_page_on_which_each_chapter_begins(pdf: PdfReader) -> None:
    contents = next(page.extract_text() for page in pdf.pages if "Contents" in page.extract_text())
    for title in ("1.2 The first chapter", "Glossary"):
        number = next(int(line.split()[-1]) for line in contents.splitlines() if line.startswith(title))
        assert title in pdf.pages[number - 1].extract_text()


def test_what_is_wrong_with_a_pdf_is_found(sample: Path, browser: Browser, tmp_path: Path) -> None:
    """The checks can fail: on a file without tags, outline and language, with links to here and to nowhere."""
    file = tmp_path / "wrong.pdf"
    page = browser.new_page()
    page.set_content('<p><a href="http://localhost:1/x">a</a> <a href="file:///x">b</a></p>')
    page.pdf(path=file, tagged=False, outline=False)
    page.close()
    wrong = PdfReader(file)
    found = "\n".join(problems(wrong, {"intro": "A sample"}, "en"))
    for expected in ("not tagged", "language", "no 'Asample'", "localhost", "file:///x"):
        assert expected in found
    assert len(list(link_problems(wrong))) == 2


def test_an_outline_in_another_order_is_found(pdf: PdfReader) -> None:
    titles = {"a": "Glossary", "b": "1.2 The first chapter"}
    assert len(list(outline_problems(pdf, titles))) == 1
    assert list(outline_problems(pdf, dict(reversed(titles.items())))) == []


def test_what_is_wider_than_the_paper_and_a_missing_file_stop_it(sample: Path, browser: Browser) -> None:
    """Catches a table that is cut off at the right edge, and a picture that is not there."""
    page = sample / "_build" / "html" / "book" / "intro.html"
    whole = page.read_text(encoding="utf-8")
    cells = "".join(f"<td>{'x' * 30}</td>" for _ in range(9))
    table = f'<table style="white-space: nowrap !important"><tr>{cells}</tr></table>'.replace("<td>", "<td><nobr>")
    for wrong, problem in ((table, "wider than the paper"), ('<img src="no.png">', "did not load|decode")):
        page.write_text(whole.replace("</article>", f"{wrong}</article>"), encoding="utf-8")
        try:
            with pytest.raises(print_book.PrintError, match=problem):
                print_book.print_book(sample, sample / "_build" / "wrong.pdf", FORK, browser)
        finally:
            page.write_text(whole, encoding="utf-8")
        assert not (sample / "_build" / "wrong.pdf").exists()


def test_a_link_to_what_the_book_has_not_leads_to_the_site_or_nowhere(sample: Path) -> None:
    for address, expected in ((FORK.site, f'href="{FORK.site}/genindex.html"'), ("", ">index</a>")):
        assembly = Assembly(sample / "_build" / "html", parts_of(sample), address)
        page = sample / "_build" / "html" / "book" / "intro.html"
        whole = page.read_text(encoding="utf-8")
        page.write_text(whole.replace("</article>", '<a href="../genindex.html">index</a></article>'), encoding="utf-8")
        try:
            document = assembly.document("t", "a", "en", "")
        finally:
            page.write_text(whole, encoding="utf-8")
        assert expected in document
        assert ("genindex" in document) == bool(address)
