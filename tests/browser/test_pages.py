"""Every page in a browser, light and dark, on a desk and on a phone, with no network."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.book.chapters import ROOT, page_name, pages
from tests.browser.windows import THEMES, WIDTHS, Theme, contrast, watch

pytestmark = pytest.mark.browser

SETTINGS: tuple[tuple[str, Theme], ...] = tuple(itertools.product(WIDTHS, THEMES))
SCREENSHOTS = ROOT / "_build" / "screenshots"

# What the page looks like once MathJax has finished, and an interactive figure has been drawn for the page's width.
MEASURE = """
async () => {
  if (window.MathJax) await MathJax.startup.promise;
  for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
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
def window(browser: Browser) -> Iterator[BrowserContext]:
    """A window, whose pages share its cache."""
    context = browser.new_context(reduced_motion="reduce")
    yield context
    context.close()


def show(page: Page, width: str, theme: Theme) -> None:
    """Show a page, or the next one that it opens, in this width and theme."""
    page.set_viewport_size({"width": WIDTHS[width], "height": 800})
    page.emulate_media(color_scheme=theme)


def brightness(colour: str) -> float:
    """Return how light a colour of a style sheet is, from 0 to 1."""
    red, green, blue = (float(part) for part in re.findall(r"[\d.]+", colour)[:3])
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255


@pytest.mark.parametrize(("place", "source"), [*enumerate(pages())], ids=[page_name(source) for source in pages()])
def test_a_page_is_whole(place: int, source: Path, window: BrowserContext, address: str) -> None:
    """Opened in one of four settings, which changes from page to page, then shown in the other width and theme."""
    page, url = window.new_page(), f"{address}/{page_name(source)}.html"
    troubles = watch(page, url)
    for at, (width, theme) in enumerate((SETTINGS[place % 4], SETTINGS[3 - place % 4])):
        show(page, width, theme)
        if at == 0:
            page.goto(url, wait_until="load")
        page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)
        try:
            assert_whole(source, theme, page.evaluate(MEASURE), troubles)
        except AssertionError:
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            shot = f"{page_name(source).replace('/', '-')}-{width}-{theme}.png"
            page.screenshot(path=SCREENSHOTS / shot, full_page=True)
            raise
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
