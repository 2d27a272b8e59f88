"""A reference shows what it leads to, by mouse and by keyboard, and can be sent away."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect

from tests.browser.windows import WIDTHS, watch

pytestmark = pytest.mark.browser

PHONE: ViewportSize = {"width": WIDTHS["phone"], "height": 700}

# One reference of each kind: the page, the link, and words of what it must show.
REFERENCES = {
    "equation": ("book/1_transform/2_the_transform", "a[href='#equation-eq-bn-affine']", "1.2 The transform"),
    "equation elsewhere": ("book/1_transform/5_training_and_inference", "a[href*='#equation-eq-part-about']", "1.4 "),
    "term": ("book/1_transform/2_the_transform", "a[href*='#term-biased-variance']", "biased variance"),
    "work": ("book/1_transform/2_the_transform", "a[href*='#cite-samuelson1968how']", "How deviant can you be?"),
    "claim": ("book/4_optimization/2_faster_or_bolder", "a[href*='ledger.html#c2']", "faster convergence"),
}


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[Page]:
    """One window for the module: its pages share the cache."""
    page = browser.new_page(viewport={"width": 1366, "height": 800}, reduced_motion="reduce")
    yield page
    page.close()


def opened(page: Page, address: str, name: str, link: str) -> tuple[Locator, list[str]]:
    """Open a page and wait for its formulas; return its first such link in the text, and a list of what goes wrong."""
    page.unroute_all()
    troubles = watch(page, f"{address}/{name}.html")
    page.goto(f"{address}/{name}.html", wait_until="load")
    page.evaluate("window.MathJax && MathJax.startup.promise")
    return page.locator(f"article p {link}").first, troubles


def within(page: Page) -> bool:
    """Return whether the preview lies inside the window."""
    box, view = page.locator(".preview").bounding_box(), page.viewport_size
    assert box is not None
    assert view is not None
    right, bottom = box["x"] + box["width"], box["y"] + box["height"]
    return box["x"] >= 0 and box["y"] >= 0 and right <= view["width"] and bottom <= view["height"]


@pytest.mark.parametrize("kind", REFERENCES)
def test_a_reference_shows_what_it_leads_to(kind: str, window: Page, address: str) -> None:
    """By mouse, then by keyboard; Escape closes and the focus stays. Catches the text of another target."""
    name, selector, words = REFERENCES[kind]
    link, troubles = opened(window, address, name, selector)
    preview = window.locator(".preview")
    link.hover()
    expect(preview).to_be_visible()
    expect(preview).to_contain_text(words)
    assert within(window)
    if kind.startswith("equation"):
        expect(preview.locator("mjx-container")).to_have_count(1)
    assert preview.locator("mjx-merror").count() == 0
    preview.hover()
    window.wait_for_timeout(400)
    expect(preview).to_be_visible()
    window.mouse.move(0, 0)
    expect(preview).to_have_count(0)

    # The key before the focus makes it one of the keyboard, as a browser tells them apart.
    window.keyboard.press("Shift")
    link.focus()
    expect(preview).to_be_visible()
    expect(link).to_have_attribute("aria-describedby", "preview")
    expect(link).to_have_accessible_description(preview.inner_text()) if kind == "work" else None
    window.keyboard.press("Escape")
    expect(preview).to_have_count(0)
    expect(link).to_be_focused()
    assert link.get_attribute("aria-describedby") is None
    assert troubles == []


def test_the_mouse_that_only_passes_opens_nothing(window: Page, address: str) -> None:
    name, selector, _ = REFERENCES["work"]
    link, _ = opened(window, address, name, selector)
    seen = link.evaluate("""async (link) => {
        let seen = 0;
        new MutationObserver(() => (seen += document.querySelectorAll(".preview").length))
          .observe(document.querySelector("article"), { childList: true });
        const wait = (time) => new Promise((done) => setTimeout(done, time));
        link.dispatchEvent(new PointerEvent("pointerenter", { pointerType: "mouse" }));
        await wait(100);
        link.dispatchEvent(new PointerEvent("pointerleave", { pointerType: "mouse" }));
        await wait(500);
        return seen;
    }""")
    assert seen == 0


def test_a_narrow_window_holds_the_preview(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport=PHONE, color_scheme="dark", reduced_motion="reduce")
    for kind in ("equation elsewhere", "claim"):
        name, selector, _ = REFERENCES[kind]
        link, troubles = opened(page, address, name, selector)
        link.hover()
        expect(page.locator(".preview")).to_be_visible()
        assert within(page)
        assert page.evaluate("document.documentElement.scrollWidth") == WIDTHS["phone"]
        assert troubles == []
    page.close()


def test_touching_a_reference_follows_it(browser: Browser, address: str) -> None:
    """Catches a preview in the way of a finger, which cannot hover."""
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    page = context.new_page()
    name, selector, _ = REFERENCES["term"]
    link, troubles = opened(page, address, name, selector)
    held = "(link) => link.addEventListener('click', (event) => event.preventDefault(), { once: true })"
    link.evaluate(held)
    link.tap()
    page.wait_for_timeout(600)
    assert page.locator(".preview").count() == 0
    link.tap()
    page.wait_for_url("**/glossary.html#term-biased-variance")
    assert troubles == []
    context.close()
