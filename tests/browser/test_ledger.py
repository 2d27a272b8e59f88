"""The page of the claims ledger in a browser: its filter, its addresses, and what stays without JavaScript."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from bncourse.ledger import CLAIMS, states
from tests.book.chapters import ROOT, pages
from tests.browser.windows import THEMES, WIDTHS, contrast

PAGE = "book/appendix/ledger"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(ROOT / f"{PAGE}.md" not in pages(), reason="the ledger is not in _toc.yml"),
]

INK = """
() => {
  const back = (node) => {
    const colour = getComputedStyle(node).backgroundColor;
    return /, 0\\)$/.test(colour) && node.parentElement ? back(node.parentElement) : colour;
  };
  const parts = document.querySelectorAll(".claim-verdict, .claim-drawing *, .claim-filter *");
  return [...parts].filter((part) => part.getClientRects().length && part.tagName !== "OPTION").map((part) => {
    const [style, text] = [getComputedStyle(part), !part.ownerSVGElement || part.tagName === "text"];
    const front = part.ownerSVGElement ? (part.tagName === "line" ? style.stroke : style.fill) : style.color;
    return [part.getAttribute("class") || part.tagName, front, back(part.closest("svg") || part), text];
  });
}
"""


@pytest.fixture
def opened(opened: Callable[..., Page]) -> Callable[..., Page]:
    """Opens the ledger, at a fragment or its top."""
    return lambda fragment="", **options: opened(f"{PAGE}.html{fragment}", **options)


def entries(page: Page) -> Locator:
    return page.locator("section:has(> .claim-state)")


def shown(page: Page) -> list[str]:
    return [entry.get_attribute("id") or "" for entry in entries(page).all() if entry.is_visible()]


def test_every_claim_has_its_entry_and_its_address(opened: Any) -> None:
    page = opened()
    assert shown(page) == [claim.id.lower() for claim in CLAIMS]
    for state in states():
        entry = page.locator(f"#{state.claim.id.lower()}")
        expect(entry.locator(".claim-verdict")).to_have_text(state.answer)
        pictures = entry.get_by_role("img")
        assert pictures.count() == (len(state.verdict.effects) if state.verdict else 0)
        for picture, effect in zip(pictures.all(), state.verdict.effects if state.verdict else (), strict=True):
            assert str(effect) in (picture.get_attribute("aria-label") or "")
    expect(page.locator("#c3 > h2")).to_contain_text("C3")


def test_the_interval_is_drawn_to_scale(opened: Any) -> None:
    page = opened()
    for state in states():
        drawings = page.locator(f"#{state.claim.id.lower()} svg.claim-drawing").all()
        for drawing, effect in zip(drawings, state.verdict.effects if state.verdict else (), strict=True):
            place = drawing.evaluate(
                """svg => ["claim-estimate", "claim-no-effect", "claim-smallest", "claim-interval"].map((name) => {
                  const box = svg.querySelector("." + name).getBoundingClientRect();
                  return name === "claim-interval" ? [box.left, box.right] : (box.left + box.right) / 2;
                }).flat()"""
            )
            values = (effect.estimate, effect.no_effect, effect.smallest, effect.low, effect.high)
            scaled = [effect.scale(value) for value in values]
            across = max(scaled) - min(scaled)
            wide = max(place) - min(place)
            for seen, value in zip(place, scaled, strict=True):
                assert (seen - min(place)) / wide == pytest.approx((value - min(scaled)) / across, abs=0.01)


def test_the_filter_works_by_keyboard_and_says_how_many_are_left(opened: Any) -> None:
    page = opened()
    part, said = page.get_by_label("Part"), page.locator(".claim-filter output")
    expect(said).to_have_text("25 of 25 claims")
    part.focus()
    assert part.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    part.press("ArrowDown")
    first = min(claim.part for claim in CLAIMS)
    expected = [claim.id.lower() for claim in CLAIMS if claim.part == first]
    assert shown(page) == expected
    expect(said).to_have_text(f"{len(expected)} of 25 claims")
    assert page.locator("article tbody tr:visible").count() == len(expected)
    answer = next(state.answer for state in states() if state.claim.part != first)
    page.get_by_label("Verdict").select_option(answer)
    part.select_option("all")
    assert shown(page) == [state.claim.id.lower() for state in states() if state.answer == answer]


def test_an_address_leads_to_its_claim_whatever_is_chosen(opened: Any) -> None:
    page = opened("#c7")
    expect(page.locator("#c7")).to_be_in_viewport()
    other = next(str(claim.part) for claim in CLAIMS if claim.part != CLAIMS[6].part)
    page.get_by_label("Part").select_option(other)
    expect(page.locator("#c7")).to_be_hidden()
    page.evaluate("location.hash = '#c8'")
    expect(page.locator("#c8")).to_be_in_viewport()
    assert len(shown(page)) == 25


@pytest.mark.parametrize("theme", THEMES)
def test_it_can_be_read_in_both_themes(theme: str, opened: Any) -> None:
    """Text has a contrast of 4.5, lines and dots 3, as WCAG 2 asks."""
    colours = opened(theme=theme).evaluate(INK)
    assert len(colours) > 30
    assert {part for part, front, back, text in colours if contrast((front, back)) < (4.5 if text else 3)} == set()


@pytest.mark.parametrize("width", WIDTHS)
def test_its_controls_can_be_hit_and_its_labels_fit(width: str, opened: Any) -> None:
    page = opened(width=width)
    for control in page.locator(".claim-filter select").all():
        box = control.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 24
    cut = page.evaluate(
        """() => [...document.querySelectorAll(".claim-drawing text")].filter((text) => {
          const [box, edge] = [text.getBoundingClientRect(), text.ownerSVGElement.getBoundingClientRect()];
          return box.left < edge.left - 0.5 || box.right > edge.right + 0.5;
        }).map((text) => text.textContent)"""
    )
    assert cut == []


def test_without_javascript_everything_is_visible(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/{PAGE}.html")
    assert len(shown(page)) == 25
    expect(page.locator(".claim-filter")).to_have_count(0)
    context.close()
