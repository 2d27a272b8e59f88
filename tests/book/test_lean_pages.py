"""Pages load what they use: the icons of the theme, its scripts, and HTML that everybody can use."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sphinx.errors import ExtensionError

from tests.book.chapters import ROOT

sys.path.insert(0, str(ROOT / "book" / "_ext"))

from accessible_html import mend
from icons import SCRIPT, STYLES, named, only, theme_file, without_letters
from lean_pages import choose, is_used

STYLE_SHEET = theme_file(STYLES)


@pytest.mark.parametrize(
    ("text", "icons"),
    [
        ('<i class="fas fa-rocket"></i>', {("fas", "rocket")}),
        ('<i class="fa-solid fa-sun                fa-lg" data-mode="light">', {("fas", "sun")}),
        ("i.classList = 'fa-brands fa-github fa-fw';", {("fab", "github")}),
        ('<i class="fa-regular fa-circle fa-rotate-90 extra">', {("far", "circle")}),
        ('<i class="fa-solid fa-bars">', {("fas", "bars")}),  # the theme's styles name it with its other names
        ('<i class="fa-solid fa-arrow-up">', {("fas", "arrow-up")}),  # ... and give it a margin
        ("<p>fa-rocket</p>", set()),
    ],
)
def test_icons_are_found(text: str, icons: set[tuple[str, str]]) -> None:
    """Catches a size taken for an icon, a family mixed up, and an icon taken for a size."""
    assert named([text], STYLE_SHEET) == icons


def test_the_script_keeps_the_icons_that_are_used_and_no_other() -> None:
    script = theme_file(SCRIPT)
    cut = only(script, {("fas", "rocket"), ("fas", "search"), ("fab", "github")})
    assert '"magnifying-glass":[512' in cut, "an icon by its other name"
    assert len(re.findall(r'\[\d+,\d+,\[[^\]]*\],"[0-9a-f]{2,5}"', cut)) == 3
    assert len(cut) < 80_000 < 1_000_000 < len(script)
    assert "sourceMappingURL" not in cut


@pytest.mark.parametrize("icon", [("fas", "github"), ("fas", "nonesuch")])
def test_an_icon_that_the_theme_does_not_have_fails_the_build(icon: tuple[str, str]) -> None:
    """Catches also an icon of another family."""
    with pytest.raises(ExtensionError, match=f"fas fa-{icon[1]}"):
        only(theme_file(SCRIPT), {icon, ("fas", "rocket")})


def test_a_script_of_another_layout_fails_the_build() -> None:
    with pytest.raises(ExtensionError, match="three families"):
        only("var p={};", set())


def test_the_styles_lose_the_letters_of_icons_alone() -> None:
    cut = without_letters(STYLE_SHEET)
    assert ".fa-rocket:before" not in cut
    assert ".admonition" in cut
    assert len(STYLE_SHEET) - len(cut) > 80_000
    assert cut.count("@font-face") == STYLE_SHEET.count("@font-face")
    assert ".fa-lg{" in cut


def test_the_site_serves_what_its_pages_name(built_book: Path) -> None:
    script = (built_book / "_static" / SCRIPT).read_text(encoding="utf-8")
    assert len(script) < 100_000
    text = (built_book / "book" / "2_backprop" / "2_closed_form.html").read_text(encoding="utf-8")
    icons = named([text], STYLE_SHEET)
    assert len(icons) > 8
    for _, name in icons:
        assert re.search(rf'[{{,]"?{name}"?:\[', script), name


class Script:
    """As much of Sphinx's class as the extension uses."""

    def __init__(self, filename: str, priority: int = 500, **attributes: str) -> None:
        self.filename, self.priority, self.attributes = filename, priority, attributes


def test_a_script_is_dropped_where_nothing_uses_it() -> None:
    for name, text in {
        "copybutton.js": '<div class="highlight">',
        "design-tabs.js": '<div class="sd-tab-set docutils">',
        "togglebutton.js": '<div class="dropdown admonition">',
        "mathjax/tex-mml-chtml.js": '<span class="math notranslate">',
    }.items():
        assert is_used(Script(name), text), name
        assert not is_used(Script(name), "<p class='other'>highlight math toggle</p>"), name
    assert is_used(Script("doctools.js"), "")
    assert not is_used(Script("", body='const THEBE_JS_URL = "https://elsewhere"; const thebe_selector = 1'), "")


def test_no_page_waits_for_a_script_and_the_search_keeps_its_order() -> None:
    """Catches a deferred script on the page of the search, whose own scripts need it at once."""

    app: Any = SimpleNamespace(config=SimpleNamespace(html_theme_options={}))
    scripts = [Script("documentation_options.js"), Script("doctools.js"), Script("a.mjs", type="module")]
    for page, deferred in (("book/intro", ["doctools.js"]), ("search", [])):
        context = {"script_files": scripts, "body": ""}
        choose(app, page, "page.html", context, None)
        assert [each.filename for each in context["script_files"] if "defer" in each.attributes] == deferred
    assert all("defer" not in each.attributes for each in scripts), "scripts are shared by all pages"


def test_the_search_index_is_loaded_where_it_is_read(built_book: Path) -> None:
    assert "searchindex.js" in (built_book / "search.html").read_text(encoding="utf-8")
    for page in ("book/intro.html", "genindex.html"):
        text = (built_book / page).read_text(encoding="utf-8")
        assert "searchindex.js" not in text
        assert "mathjax/" not in text
        assert "thebe" not in text.partition("</head>")[0]
    assert "mathjax" in (built_book / "book/2_backprop/2_closed_form.html").read_text(encoding="utf-8")


def test_html_is_mended() -> None:
    context = {
        "body": '<th class="head"><p></p></th><th class="head"><p>a</p></th><div role="doc-biblioentry">'
        '<span class="sd-summary-text"><span class="math notranslate">\\(g\\)</span></span>'
        '<span class="sd-summary-text"><span class="math notranslate">\\(g\\)</span> alone</span>'
    }
    mend(None, "", "", context, None)  # type: ignore[arg-type]
    assert context["body"] == (
        '<td></td><th class="head"><p>a</p></th><div role="listitem">'
        '<span class="sd-summary-text"><span class="visually-hidden">Formula: </span>'
        '<span class="math notranslate">\\(g\\)</span></span>'
        '<span class="sd-summary-text"><span class="math notranslate">\\(g\\)</span> alone</span>'
    )
