"""Every page in a browser, light and dark, on a desk and on a phone, with no network."""

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.book.chapters import ROOT, pages
from tests.browser.windows import THEMES, WIDTHS, contrast, watch

pytestmark = pytest.mark.browser

SCREENSHOTS = ROOT / "_build" / "screenshots"

# What the page looks like once MathJax has finished.
MEASURE = """
async () => {
  if (window.MathJax) await MathJax.startup.promise;
  const shown = (node) => node.getClientRects().length > 0;
  const images = [...document.querySelectorAll("article img, article svg")];
  return {
    math: document.querySelectorAll("article .math").length,
    untypeset: [...document.querySelectorAll("article .math")]
      .filter((node) => !node.querySelector("mjx-container")).map((node) => node.textContent.slice(0, 60)),
    failed: [...document.querySelectorAll("mjx-merror, [data-mjx-error]")].map((node) => node.textContent.slice(0, 60)),
    pictures: images.filter((node) => shown(node) && node.getBoundingClientRect().width > 100).length,
    empty: images.filter((node) => node.tagName === "IMG" && !node.naturalWidth).map((node) => node.src),
    silent: images.filter((node) => node.tagName === "IMG" && !node.alt.trim()).map((node) => node.src),
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    wide: [...document.querySelectorAll("article *")]
      .filter((node) => node.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
      .map((node) => node.tagName + "." + node.className).slice(0, 5),
    background: getComputedStyle(document.body).backgroundColor,
    colour: getComputedStyle(document.querySelector("article p") || document.body).color,
    results: [...document.querySelectorAll(".text_html, .text_html code, .text_html th")].map((node) => {
      const clear = (element) => getComputedStyle(element).backgroundColor.endsWith(", 0)");
      let behind = node;
      while (behind.parentElement && clear(behind)) behind = behind.parentElement;
      return [getComputedStyle(node).color, getComputedStyle(behind).backgroundColor];
    }),
    launch: document.querySelectorAll(".dropdown-launch-buttons .dropdown-item").length,
    source: document.querySelectorAll(".dropdown-source-buttons .dropdown-item").length,
  };
}
"""


@pytest.fixture(scope="module")
def setting(request: pytest.FixtureRequest, browser: Browser) -> Iterator[tuple[str, str, BrowserContext]]:
    """A window of one width in one theme; the pages of a setting share its cache."""
    width, theme = request.param
    context = browser.new_context(
        viewport={"width": WIDTHS[width], "height": 800}, color_scheme=theme, reduced_motion="reduce"
    )
    yield width, theme, context
    context.close()


def cases() -> Iterator[Any]:
    """Yield each page in both widths and both themes: in two of the four settings, which change from page to page.

    The weekly run opens it in all four.
    """
    thorough = os.environ.get("GITHUB_EVENT_NAME") == "schedule"
    for width, theme in itertools.product(WIDTHS, THEMES):
        for place, source in enumerate(pages()):
            if thorough or (place + list(WIDTHS).index(width) + THEMES.index(theme)) % 2 == 0:
                name = source.relative_to(ROOT).with_suffix("").as_posix()
                yield pytest.param((width, theme), source, name, id=f"{width}-{theme}-{name}")


def brightness(colour: str) -> float:
    """Return how light a colour of a style sheet is, from 0 to 1."""
    red, green, blue = (float(part) for part in re.findall(r"[\d.]+", colour)[:3])
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255


def visit(page: Page, url: str) -> tuple[dict[str, Any], list[str]]:
    """Open a page and return what it measures, and everything that went wrong on the way."""
    troubles = watch(page, url)
    page.goto(url, wait_until="load")
    page.wait_for_function("['light', 'dark'].includes(document.documentElement.dataset.theme)")
    return page.evaluate(MEASURE), troubles


@pytest.mark.parametrize(("setting", "source", "name"), [*cases()], indirect=["setting"])
def test_a_page_is_whole(source: Path, name: str, setting: tuple[str, str, BrowserContext], address: str) -> None:
    width, theme, context = setting
    page = context.new_page()
    try:
        found, troubles = visit(page, f"{address}/{name}.html")
        assert_whole(source, theme, found, troubles)
    except AssertionError:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name.replace('/', '-')}-{width}-{theme}.png", full_page=True)
        raise
    finally:
        page.close()


def assert_whole(source: Path, theme: str, found: dict[str, Any], troubles: list[str]) -> None:
    """Assert that nothing is missing on a page, sticks out of it, or cannot be read."""
    assert troubles == []
    assert found["untypeset"] == []
    assert found["failed"] == []
    assert found["empty"] == []
    assert found["silent"] == []
    assert found["overflow"] <= 0, found["wide"]
    assert (brightness(found["background"]) < 0.3) == (theme == "dark")
    assert (brightness(found["colour"]) > 0.5) == (theme == "dark")
    assert [pair for pair in found["results"] if contrast(pair) < 4.5] == [], "a result cannot be read"
    assert (found["launch"] >= 2) == (source.suffix == ".ipynb")
    assert found["source"] == 4
    if re.match(r"\d+_\w+", source.name) and source.parent.name != "appendix":
        assert found["pictures"] >= 1, "a chapter has a figure"
    if "$$" in source.read_text(encoding="utf-8"):
        assert found["math"] >= 1


def test_the_root_leads_to_the_first_page(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(address, wait_until="load")
    page.wait_for_url("**/book/intro.html")
    page.close()
