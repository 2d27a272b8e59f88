"""Walks through the book, as a new reader takes them: each fails where a reader would be stuck."""

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urldefrag

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from pypdf import PdfReader

from tests.book.chapters import ROOT, notebooks, page_name, pages, read

pytestmark = pytest.mark.browser

FIRST = "book/intro.html"
CHAPTER = "book/1_transform/2_the_transform.html"
LEDGER = "book/appendix/ledger.html"
CLIPBOARD = ["clipboard-read", "clipboard-write"]
Open = Callable[..., Page]


def sidebar(page: Page) -> Locator:
    return page.get_by_role("navigation", name="Main")


def test_from_the_first_page_to_a_chapter_to_its_exercise(opened: Open, address: str) -> None:
    page = opened(FIRST)
    first_chapter = page_name(next(path for path in notebooks() if re.match(r"1_", path.name)))
    page.locator(f"article a[href='{first_chapter.removeprefix('book/')}.html']").first.click()
    expect(page).to_have_url(f"{address}/{first_chapter}.html")
    expect(page.locator("article h1")).to_contain_text("1.1")
    exercise = page.locator("article a[href*='exercises.html#ex-']").first
    target = urldefrag(exercise.get_attribute("href") or "").fragment
    exercise.click()
    expect(page.locator("article h1")).to_contain_text("Exercises")
    expect(page.locator(f"section:has(> [id='{target}']) > h2")).to_be_in_viewport()


def test_next_leads_from_the_first_page_to_the_last(browser: Browser, address: str) -> None:
    """Every page once, in the order of _toc.yml; the way back is the same. Needs no JavaScript."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/{FIRST}", wait_until="commit")
    visited, back = [page.url], []
    while (link := page.get_by_title("next page")).count():
        assert len(visited) <= len(pages()), "it goes round in a circle"
        link.click()
        visited.append(page.url)
        previous = page.get_by_title("previous page").get_attribute("href")
        back.append(page.evaluate("link => new URL(link, location).href", previous))
    context.close()
    assert visited == [f"{address}/{page_name(source)}.html" for source in pages()]
    assert back == visited[:-1]


def test_the_sidebar_lists_every_page_and_marks_the_one_that_is_read(opened: Open, address: str) -> None:
    page = opened(CHAPTER)
    links = sidebar(page).locator("a").evaluate_all("links => links.map((link) => link.href.split('#')[0])")
    assert links == [f"{address}/{page_name(source)}.html" for source in pages()]
    expect(sidebar(page).locator("li.current > a")).to_contain_text("1.2")
    sidebar(page).get_by_role("link", name=re.compile("^2.2 ")).click()
    expect(page.locator("article h1")).to_contain_text("2.2")


def test_on_a_phone_the_sidebar_opens_and_leads_on(opened: Open) -> None:
    page = opened(FIRST, width="phone")
    link = page.get_by_role("link", name=re.compile("^1.2 The transform")).and_(page.locator("nav a"))
    expect(link).not_to_be_visible()
    page.locator(".primary-toggle").click()
    expect(link).to_be_visible()
    link.click()
    expect(page.locator("article h1")).to_contain_text("1.2")


def test_the_contents_of_a_page_lead_to_its_sections(opened: Open) -> None:
    page = opened(CHAPTER)
    entries = page.locator(".bd-sidebar-secondary nav a").filter(visible=True).all()
    places = [(entry.get_attribute("href") or "").removeprefix("#") for entry in entries]
    assert places == page.locator("article section section").evaluate_all("all => all.map((section) => section.id)")
    for entry, place in list(zip(entries, places, strict=True))[::3]:
        entry.click()
        expect(page.locator(f"[id='{place}'] > :is(h2, h3)")).to_be_in_viewport()


def test_the_shortcut_opens_a_search_that_leads_to_the_definition(opened: Open) -> None:
    page = opened(CHAPTER)
    page.keyboard.press("Control+k")
    field = page.get_by_role("dialog").get_by_role("searchbox")
    expect(field).to_be_focused()
    page.keyboard.type("internal covariate shift")
    page.keyboard.press("Enter")
    page.locator("#search-results li a").first.click()
    expect(page).to_have_url(re.compile(r"glossary\.html.*#term-internal-covariate-shift$"))
    expect(page.locator("#term-internal-covariate-shift")).to_be_in_viewport()


def test_a_chosen_mode_stays_on_the_next_page(opened: Open) -> None:
    """Light, dark, and what the system says; catches a choice that the next page or a reload forgets."""
    page = opened(CHAPTER)
    root, button = page.locator("html"), page.get_by_role("button", name="Color mode")
    seen = set()
    for _ in range(3):
        button.click()
        mode, theme = root.get_attribute("data-mode"), root.get_attribute("data-theme")
        assert theme == ("light" if mode == "auto" else mode)
        seen.add(mode)
    assert seen == {"light", "dark", "auto"}
    page.emulate_media(color_scheme="dark")
    while root.get_attribute("data-mode") != "auto":
        button.click()
    expect(root).to_have_attribute("data-theme", "dark")
    while root.get_attribute("data-mode") != "light":
        button.click()
    page.get_by_title("next page").click()
    expect(page.locator("article h1")).to_contain_text("1.3")
    expect(root).to_have_attribute("data-theme", "light")


@pytest.mark.parametrize(
    ("place", "title"),
    [(CHAPTER, "What you should have seen"), ("book/1_transform/exercises.html", "Where is the solution?")],
    ids=["answer", "solution"],
)
def test_it_is_hidden_until_it_is_opened(place: str, title: str, opened: Open) -> None:
    """By mouse and by keyboard; catches an answer that stands open before the reader has thought."""
    folded = opened(place).locator("article details", has_text=title).first
    text = folded.locator(".sd-summary-content")
    expect(text).not_to_be_visible()
    folded.locator("summary").click()
    expect(text).to_be_visible()
    folded.locator("summary").press("Enter")
    expect(text).not_to_be_visible()


def test_a_slider_moves_by_keyboard_and_says_its_value(opened: Open) -> None:
    page = opened(CHAPTER)
    slider = page.locator(".interactive-figure input[type=range]").first
    before = slider.get_attribute("aria-valuetext")
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") != before


def test_a_claim_of_a_chapter_leads_to_its_entry_and_the_ledger_filters(opened: Open) -> None:
    page = opened("book/4_optimization/2_faster_or_bolder.html")
    link = page.locator("article a[href*='ledger.html#c']").first
    claim = urldefrag(link.get_attribute("href") or "").fragment
    link.click()
    expect(page.locator(f"#{claim}")).to_be_in_viewport()
    expect(page.locator(f"#{claim} > h2")).to_contain_text(claim.upper())
    verdict = page.locator(f"#{claim} .claim-verdict").text_content() or ""
    page.get_by_label("Verdict").select_option(verdict)
    shown = page.locator("article section > .claim-state:visible .claim-verdict").all_text_contents()
    assert set(shown) == {verdict}
    expect(page.locator(".claim-filter output")).to_have_text(f"{len(shown)} of 25 claims")


def copied(page: Page, block: Locator) -> str:
    """Copy a block of code by its button and return what the clipboard holds then."""
    page.evaluate("navigator.clipboard.writeText('')")
    block.hover()
    block.locator("button.copybtn").click()
    page.wait_for_function("navigator.clipboard.readText()")
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_the_copy_of_a_cell_is_its_code_and_nothing_else(opened: Open) -> None:
    page = opened(CHAPTER, permissions=CLIPBOARD)
    chapter = read((ROOT / CHAPTER).with_suffix(".ipynb"))
    cells = [cell for cell in chapter.cells if cell.cell_type == "code" and cell.outputs]
    code = next(cell.source for cell in cells if "\n" in cell.source and not cell.metadata.get("tags"))
    block = page.locator(".cell_input div.highlight", has_text=code.splitlines()[0]).first
    assert copied(page, block) == code


def test_the_copy_of_an_example_has_neither_prompts_nor_output(opened: Open) -> None:
    page = opened("book/appendix/api/reference.html", permissions=CLIPBOARD)
    block = page.locator("article div.highlight", has_text=">>>").first
    shown = (block.locator("pre").text_content() or "").splitlines()
    code = [line[4:] for line in shown if line.startswith((">>> ", "... "))]
    assert len(code) < len(shown)
    assert copied(page, block).splitlines() == code


def letters(text: str) -> str:
    """Return a text without its spaces and lines, and with a ligature as the letters it is made of."""
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", text))


def test_a_page_on_paper_has_its_answers_and_all_its_code_and_no_bars(opened: Open, tmp_path: Path) -> None:
    """Catches folded answers, code that is cut off at the right, and bars of the site on paper."""
    page = opened(CHAPTER)
    page.pdf(path=tmp_path / "page.pdf", format="A4", prefer_css_page_size=True)
    paper = letters("".join(sheet.extract_text() for sheet in PdfReader(tmp_path / "page.pdf").pages))
    for cell in read((ROOT / CHAPTER).with_suffix(".ipynb")).cells:
        if cell.cell_type == "code":
            assert [line for line in cell.source.splitlines() if letters(line) not in paper] == []
    answers = page.locator("article details.sd-dropdown .sd-summary-content p:first-child").all_text_contents()
    assert len(answers) > 5
    assert [answer for answer in answers if letters(answer)[:20] not in paper] == []
    page.emulate_media(media="print")
    for bar in (".bd-sidebar-primary", ".bd-sidebar-secondary", ".bd-header-article", ".prev-next-footer"):
        expect(page.locator(bar).first).not_to_be_visible()
