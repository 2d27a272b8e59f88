"""The search: what a reader would type leads to the right page and place, and the results can be read."""

import pytest
from playwright.sync_api import Browser, Page, expect

from bncourse.ledger import CLAIMS
from tests.browser.windows import THEMES, contrast, watch

pytestmark = pytest.mark.browser

API, GLOSSARY, LEDGER = "appendix/api", "appendix/glossary.html", "appendix/ledger.html"
# What is typed, and what must be among the first three results.
QUERIES = {
    "momentum": f"{GLOSSARY}#term-momentum",
    "internal covariate shift": f"{GLOSSARY}#term-internal-covariate-shift",
    "effective learning rate": "4_optimization/6_effective_rate.html",
    "ghost batch": "5_regularization/2_ghost_batches.html",
    "folding": f"{GLOSSARY}#term-folding",
    "dropout": "5_regularization/4_dropout_and_weight_decay.html",
    "C7": f"{LEDGER}#c7",
    "c2": f"{LEDGER}#c2",
    "welford": "1_transform/exercises.html#ex-welford",
    "bn_backward": "2_backprop/exercises.html#ex-bn-backward",
    "batch_norm_backward": f"{API}/reference.html#bncourse.reference.batch_norm_backward",
    "SyncBatchNorm": f"{API}/layers.html#bncourse.layers.SyncBatchNorm",
    "fold_batch_norm": f"{API}/layers.html#bncourse.layers.fold_batch_norm",
    "eps": f"{GLOSSARY}#term-epsilon",
}


def results(page: Page, address: str, query: str) -> list[str]:
    """Return where the results lead, best first."""
    page.goto(f"{address}/search.html?q={query.replace(' ', '+')}", wait_until="load")
    expect(page.locator(".search-summary")).to_contain_text("found")
    links = page.locator("#search-results ul.search > li > a").evaluate_all("all => all.map((link) => link.href)")
    return [link.removeprefix(f"{address}/book/") for link in links]


def test_what_a_reader_types_is_among_the_first_three(browser: Browser, address: str) -> None:
    page = browser.new_page()
    troubles = watch(page, f"{address}/book/")
    first = {query: results(page, address, query)[:3] for query in QUERIES}
    page.close()
    assert troubles == []
    assert {query: found for query, found in first.items() if QUERIES[query] not in found} == {}


def test_the_anchors_of_the_results_exist(browser: Browser, address: str) -> None:
    """Catches results that lead to the top of a page because the anchor is the name and not the place."""
    page = browser.new_page()
    for claim in CLAIMS[::8]:
        (found, *_) = results(page, address, claim.id)
        page.goto(f"{address}/book/{found}", wait_until="domcontentloaded")
        assert page.locator(":target h2").text_content(), found
    page.close()


@pytest.mark.parametrize("theme", THEMES)
def test_the_results_can_be_read_in_both_themes(theme: str, browser: Browser, address: str) -> None:
    page = browser.new_page(color_scheme="light" if theme == "light" else "dark")
    results(page, address, "momentum")
    expect(page.locator("#search-results p.context").first).to_be_visible()
    colours = page.evaluate(
        """() => [...document.querySelectorAll("#search-results :is(a, span, p, h2)")].map((node) => {
          const clear = (element) => getComputedStyle(element).backgroundColor.endsWith(", 0)");
          let behind = node;
          while (behind.parentElement && clear(behind)) behind = behind.parentElement;
          return [getComputedStyle(node).color, getComputedStyle(behind).backgroundColor];
        })"""
    )
    page.close()
    assert len(colours) > 10
    assert [pair for pair in colours if contrast(pair) < 4.5] == []


def test_a_result_shows_words_of_the_text(browser: Browser, address: str) -> None:
    """Catches results that show the title once more, and the list of contents that is meant for print."""
    page = browser.new_page()
    results(page, address, "ghost batch")
    result = page.locator("#search-results li", has_text="5.2 Ghost batches").first
    expect(result.locator("p.context")).to_contain_text("atch")
    shown = result.locator("p.context").text_content() or ""
    page.close()
    assert len(shown) > 100
    assert "5.2 Ghost" not in shown
    assert "Contents" not in shown
