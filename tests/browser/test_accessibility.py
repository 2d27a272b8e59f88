"""Barriers: axe-core over every page, the keyboard through each kind of page, and motion that is not wanted.

axe takes seconds where a page has thousands of elements. So every page is looked at once without what is the same
elsewhere: typeset mathematics (MathJax writes its own description of each formula), the parts of code (their colours
are tested by themselves), the sidebar, and the contrast of text, which comes from style sheets that all pages share.
One page of each kind is looked at with all of it in three widths, and for its colours in the other theme.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from pygments.token import STANDARD_TYPES

from tests.book.chapters import ROOT, page_name, pages
from tests.browser.windows import THEMES, contrast, watch, without_formulas

pytestmark = pytest.mark.browser

KINDS = {
    "first": "book/intro.html",
    "mathematics": "book/2_backprop/2_closed_form.html",
    "exercises": "book/2_backprop/exercises.html",
    "ledger": "book/appendix/ledger.html",
    "glossary": "book/appendix/glossary.html",
    "found": "book/appendix/glossary.html?highlight=variance",  # as a reader comes from the search
    "search": "search.html?q=variance",
    "index": "genindex.html",
}
WIDTHS = (360, 768, 1366)

# What axe may find, by rule and by the element's selector. Nothing now; whatever is added needs its reason here.
ALLOWED: set[tuple[str, str]] = set()

# Of what axe looks at, the other theme changes the colours alone.
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}

# The parts of code and of signatures make most of a page's elements, and the sidebar is the same on every page.
LIGHTEN = """
() => {
  const parts = ":is(.highlight pre, dt.sig) span, code .pre";
  for (const part of [...document.querySelectorAll(parts)].reverse()) part.replaceWith(...part.childNodes);
  document.body.normalize();
  document.querySelector("#pst-primary-sidebar")?.remove();
}
"""
# The ledger has an entry for each claim, all drawn by one function; three show what it draws.
SHORTEN = """
() => [...document.querySelectorAll("section:has(> .claim-state)")].slice(3).forEach((entry) => entry.remove())
"""

# Drawings in the page, each of which has a name, is part of what has one, or is hidden from those who do not see.
UNNAMED_DRAWINGS = """
() => [...document.querySelectorAll("article svg")].filter((drawing) => !drawing.closest(
  "[aria-hidden=true], [role=img]:is([aria-label], [aria-labelledby]), [role=group][aria-label], svg[aria-labelledby]"
) && !drawing.querySelector(":scope > title")).map((drawing) => drawing.outerHTML.slice(0, 100))
"""

Opened = Callable[..., Page]


@pytest.fixture(scope="module")
def opened(browser: Browser, address: str) -> Iterator[Opened]:
    """Opens a page in one of the windows that the tests of this module share."""
    contexts: dict[Any, Any] = {}

    def show(path: str, width: int = 1366, theme: str = "light", motion: str = "reduce", formulas: bool = True) -> Page:
        key = (width, theme, motion)
        if key not in contexts:
            contexts[key] = browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion=motion
            )
        page: Page = contexts[key].new_page()
        watch(page, f"{address}/book/")
        if not formulas:
            without_formulas(page)
        page.goto(f"{address}/{path}", wait_until="load")
        page.wait_for_function("['light', 'dark'].includes(document.documentElement.dataset.theme)")
        return page

    yield show
    for context in contexts.values():
        context.close()


def barriers(page: Page, **options: Any) -> list[str]:
    """Return what axe finds on a page and is not allowed, each with the element."""
    found = Axe().run(page, options={"resultTypes": ["violations"], **options}).response["violations"]
    return [
        f"{violation['id']}: {' '.join(map(str, node['target']))}: {node['html'][:120]}"
        for violation in found
        for node in violation["nodes"]
        if (violation["id"], " ".join(map(str, node["target"]))) not in ALLOWED
    ]


def test_axe_sees_a_barrier(opened: Opened) -> None:
    """Catches a script that is not run, and a list of what is allowed that allows everything."""
    page = opened("genindex.html", formulas=False)
    page.evaluate("() => document.querySelector('article').append(new Image())")
    page.evaluate("() => document.querySelector('article').append(document.createElement('button'))")
    assert {barrier.split(":")[0] for barrier in barriers(page)} >= {"image-alt", "button-name"}
    page.close()


@pytest.mark.parametrize("source", pages(), ids=page_name)
def test_a_page_has_no_barrier(source: Path, opened: Opened) -> None:
    page = opened(f"{page_name(source)}.html", 768, formulas=False)
    page.evaluate(LIGHTEN)
    assert barriers(page, rules={"color-contrast": {"enabled": False}}) == []
    assert page.evaluate(UNNAMED_DRAWINGS) == []
    page.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_of_each_kind_has_no_barrier(kind: str, width: int, opened: Opened) -> None:
    """Whole pages, with their interactive figure, sidebar and coloured code; formulas at one width."""
    formulas = width == 1366
    page = opened(KINDS[kind], width, formulas=formulas)
    if formulas:
        page.evaluate("async () => { if (window.MathJax) await MathJax.startup.promise; }")
    if place := page.query_selector(".interactive"):
        place.wait_for_selector(".interactive-figure")
    page.evaluate(SHORTEN)
    assert barriers(page) == []
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    assert barriers(page, runOnly=COLOURS) == []
    page.close()


@pytest.mark.parametrize("theme", THEMES)
def test_every_colour_of_code_can_be_read(theme: str, opened: Opened) -> None:
    """Catches a style made for the other theme: each kind of token has a contrast of 4.5 with what is behind it."""
    page = opened("book/2_backprop/2_closed_form.html", theme=theme, formulas=False)
    kinds = [short for token, short in STANDARD_TYPES.items() if short and token[0] not in ("Error",)]
    colours = page.evaluate(
        """(kinds) => {
          const code = document.querySelector(".cell_input .highlight pre");
          const solid = (node) => {
            const colour = getComputedStyle(node).backgroundColor;
            return /, 0\\)$/.test(colour) && node.parentElement ? solid(node.parentElement) : colour;
          };
          return kinds.map((kind) => {
            const token = document.createElement("span");
            token.className = kind;
            token.textContent = "x";
            code.append(token);
            return [kind, getComputedStyle(token).color, solid(token)];
          });
        }""",
        kinds,
    )
    page.close()
    assert len({front for _, front, _ in colours}) > 4, "code has colours"
    # The colour of white space is not seen.
    assert [name for name, front, back in colours if name != "w" and contrast((front, back)) < 4.5] == []


# Which of the elements of the text has the focus; -1: none.
PLACE = "() => [...document.querySelectorAll('article *')].indexOf(document.activeElement)"

# For every element that the keyboard reaches: what it looks like with the focus and without.
WALK = """
() => {
  const look = (node) => {
    // The theme draws the ring around the arrow of a fold in the sidebar, and around the card that is one link.
    const shown = [node, node.querySelector(".toctree-toggle"), node.closest(".sd-card")].filter(Boolean);
    return shown.map((part) => {
      const style = getComputedStyle(part);
      return [style.outlineStyle, style.outlineWidth, style.boxShadow, style.textDecoration, style.backgroundColor,
        style.borderColor].join();
    }).join("|");
  };
  const can = "a[href], button, input, select, textarea, summary, [tabindex]:not([tabindex='-1'])";
  const visible = (node) => node.checkVisibility({ visibilityProperty: true }) && node.getClientRects().length;
  // While a transition runs, even a short one, an element has the look that it had.
  const still = document.head.appendChild(document.createElement("style"));
  still.textContent = "* { transition: none !important; }";
  const unseen = [];
  let count = 0;
  for (const node of [...document.querySelectorAll(can)].filter((each) => visible(each) && !each.disabled)) {
    document.activeElement.blur();
    const before = look(node);
    node.focus({ focusVisible: true, preventScroll: true });
    if (document.activeElement !== node) continue;
    count += 1;
    if (look(node) === before) unseen.push(node.outerHTML.slice(0, 120));
  }
  return { count, unseen: [...new Set(unseen)] };
}
"""


@pytest.mark.parametrize("kind", KINDS)
def test_the_focus_is_seen_wherever_it_is(kind: str, opened: Opened) -> None:
    """Catches a link, a fold or a copy button that looks the same with the keyboard's focus and without."""
    page = opened(KINDS[kind], formulas=False)
    page.keyboard.press("Tab")  # from here on the browser shows where the focus is
    found = page.evaluate(WALK)
    page.close()
    assert found["count"] > 20
    assert found["unseen"] == []


def test_the_tab_key_goes_through_a_page_in_its_order(opened: Opened) -> None:
    """Catches a positive tabindex, a trap, and a link to the text that leads elsewhere."""
    page = opened("book/2_backprop/2_closed_form.html", formulas=False)
    page.keyboard.press("Tab")
    expect(page.locator("#pst-skip-link a")).to_be_focused()
    expect(page.locator("#pst-skip-link a")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")
    assert page.locator("[tabindex]:not([tabindex='0']):not([tabindex='-1'])").count() == 0
    links = page.locator("article a.reference")
    links.first.focus()
    page.keyboard.press("Tab")
    visited = []
    for _ in range(30):
        visited.append(page.evaluate(PLACE))
        page.keyboard.press("Tab")
    page.close()
    assert visited == sorted(set(visited)), "each step leads on"
    assert -1 not in visited, "no step leads out of the text"


def test_the_search_opens_and_closes_by_keyboard(opened: Opened) -> None:
    page = opened("book/appendix/glossary.html", formulas=False)
    dialog = page.locator("#pst-search-dialog")
    button = page.get_by_role("button", name="Search").first
    button.focus()
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("searchbox")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    page.keyboard.press("Control+k")
    page.keyboard.type("variance")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=variance**")
    page.close()


@pytest.mark.parametrize("width", [360, 1366])
def test_what_scrolls_can_be_scrolled_by_keyboard(width: int, opened: Opened) -> None:
    """Catches code, a table or a formula that is wider than the page and that the Tab key passes over."""
    page = opened("book/3_kernel/4_training_kernels.html", width, formulas=False)
    passed = page.evaluate(
        """() => [...document.querySelectorAll("article *")].filter((node) =>
          node.scrollWidth > node.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(node).overflowX)
          && node.clientWidth && node.tabIndex < 0 && !node.querySelector("a, button")
        ).map((node) => node.outerHTML.slice(0, 100))"""
    )
    page.close()
    assert passed == []


@pytest.mark.parametrize("source", pages(), ids=page_name)
def test_a_picture_is_told_in_words(source: Path, built_book: Path) -> None:
    """Catches a picture without an alternative text, with one word, or with the name of its file."""
    text = (built_book / source.relative_to(ROOT).with_suffix(".html")).read_text(encoding="utf-8")
    article = text[text.index("<article") : text.index("</article>")]
    alternatives = [re.search(r'\salt="([^"]*)"', tag) for tag in re.findall(r"<img\b[^>]*>", article)]
    words = [found[1] if found else "" for found in alternatives]
    assert [each for each in words if len(each.split()) < 4 or re.search(r"\.(png|svg|jpg)$|^_images/", each)] == []


# The longest that anything on the page moves, in milliseconds, before and behind it included.
MOTION = """
() => {
  const time = (text) => Math.max(...text.split(",").map((part) => parseFloat(part) * (/ms$/.test(part.trim()) ? 1 : 1000)));
  const moves = (style) => Math.max(time(style.transitionDuration), style.animationName === "none" ? 0
    : time(style.animationDuration) * (style.animationIterationCount === "infinite" ? Infinity : 1));
  const all = [...document.querySelectorAll("*")].flatMap((node) =>
    [null, "::before", "::after"].map((part) => moves(getComputedStyle(node, part))));
  const smooth = [...document.querySelectorAll("*")].some((node) => getComputedStyle(node).scrollBehavior === "smooth");
  return { longest: Math.max(...all), smooth };
}
"""  # noqa: E501


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_moves_where_motion_is_not_wanted(kind: str, opened: Opened) -> None:
    """Catches a transition that asks nobody, in an interactive figure too."""
    page = opened(KINDS[kind], formulas=False)
    if place := page.query_selector(".interactive"):
        place.wait_for_selector(".interactive-figure")
    found = page.evaluate(MOTION)
    page.close()
    assert found["longest"] <= 0.01
    assert not found["smooth"]


def test_where_motion_is_wanted_some_is_measured(opened: Opened) -> None:
    """Catches a measurement that sees no motion at all."""
    page = opened(KINDS["first"], motion="no-preference", formulas=False)
    assert page.evaluate(MOTION)["longest"] > 50
    page.close()
