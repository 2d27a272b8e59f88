"""The book builds from what the extra [book] brings, and says honestly what it does not know."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from docutils import nodes
from docutils.utils import new_document

from tests.book.chapters import ROOT
from tests.book.links import broken_links, outside_requests
from tests.book.sample import build, write_sample

sys.path.insert(0, str(ROOT / "book" / "_ext"))

from chapter_numbers import chapter_number
from docstring_sections import separate
from floor_tables import tables
from inline_scripts import drop_repeated
from unbroken import bind_numbers, keep_together

pytestmark = pytest.mark.slow

# What the extra [book] does not bring.
NOT_FOR_THE_BOOK = ("torch", "triton", "matplotlib", "sklearn", "scipy", "pandas", "joblib", "tqdm", "nbval")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample book as a fork's workflow builds it."""
    folder = write_sample(tmp_path_factory.mktemp("known"))
    result = build(folder, GITHUB_REPOSITORY="bo/fork", GITHUB_SERVER_URL="https://github.com")
    assert result.returncode == 0, result.stderr
    return folder / "_build" / "html"


def test_the_sample_is_sound(known: Path) -> None:
    assert list(broken_links(known)) == []
    assert list(outside_requests(known)) == []
    assert 'url=book/intro.html"' in (known / "index.html").read_text(encoding="utf-8")


def test_a_forks_buttons_lead_to_the_fork(known: Path) -> None:
    page = (known / "book/1_one/2_first.html").read_text(encoding="utf-8")
    for address in (
        "https://colab.research.google.com/github/bo/fork/blob/notebooks/book/1_one/2_first.ipynb",
        "https://mybinder.org/v2/gh/bo/fork/notebooks?urlpath=lab%2Ftree%2Fbook%2F1_one%2F2_first.ipynb",
        "https://github.com/bo/fork/blob/main/book/1_one/2_first.ipynb",
        "https://github.com/bo/fork/edit/main/book/1_one/2_first.ipynb",
        "https://github.com/bo/fork/issues/new?template=",
    ):
        assert f'href="{address}' in page
    assert "launch-colab" not in (known / "book/intro.html").read_text(encoding="utf-8")


def test_where_the_repository_is_unknown_the_buttons_say_so(known: Path, tmp_path: Path) -> None:
    result = build(write_sample(tmp_path / "copy"))
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "copy/_build/html/book/1_one/2_first.html").read_text(encoding="utf-8")
    assert "Colab: repository unknown" in page
    assert "This copy of the book does not know its repository" in page
    assert "colab.research.google.com" not in page
    assert "mybinder.org" not in page
    assert "github.com" not in page


def test_the_output_holds_the_part_of_mathjax_that_a_page_needs(known: Path) -> None:
    mathjax = known / "_static" / "mathjax"
    assert (mathjax / "tex-mml-chtml.js").exists()
    assert len(list(mathjax.glob("output/chtml/fonts/woff-v2/*.woff"))) > 10
    size = sum(path.stat().st_size for path in mathjax.rglob("*") if path.is_file())
    assert size < 3e6, "the rest of MathJax, 22 MB, stays in the package"


def test_a_warning_fails_the_build(tmp_path: Path) -> None:
    """Catches a build that prints a broken reference and goes on."""
    folder = write_sample(tmp_path / "copy")
    (folder / "book/intro.md").write_text("(ch-intro)=\n# A sample\n\n{ref}`nowhere`\n", encoding="utf-8")
    result = build(folder)
    assert result.returncode != 0
    assert "nowhere" in result.stderr


def test_an_interactive_figure_is_loaded_where_it_stands_and_nowhere_else(known: Path) -> None:
    page = (known / "book/1_one/2_first.html").read_text(encoding="utf-8")
    assert re.search(r'<script type="module" src="../../_static/figures/mount.mjs[^"]*">', page)
    assert re.search(r'<div class="interactive [^>]*id="interactive-transform">\s*<p>What the figure shows', page)
    others = [path for path in known.rglob("*.html") if path.name != "2_first.html"]
    assert len(others) > 3
    for path in others:
        assert "figures/" not in path.read_text(encoding="utf-8"), path.name


def test_the_roofline_gets_the_packages_numbers(known: Path) -> None:
    """Catches tables that stay behind the package, or are written where no module looks for them."""
    module = (known / "_static/figures/floor_tables.mjs").read_text(encoding="utf-8")
    written = re.fullmatch(r"export const TABLES = (.*);\n", module)
    assert written is not None
    assert json.loads(written[1]) == json.loads(json.dumps(tables()))
    assert (known / "_static/figures/roofline.mjs").exists()


def test_an_interactive_figure_needs_its_module_and_a_text(tmp_path: Path) -> None:
    """Catches a name with a slip, which would leave the text on the page for ever."""
    folder = write_sample(tmp_path / "copy")
    text = "(ch-intro)=\n# A sample\n\n:::{interactive} transforms\nText.\n:::\n\n:::{interactive} transform\n:::\n"
    (folder / "book/intro.md").write_text(text, encoding="utf-8")
    result = build(folder)
    assert result.returncode != 0
    assert "no interactive figure 'transforms'" in result.stderr
    assert "'transform' needs a text" in result.stderr


def test_the_book_builds_without_torch_and_the_laboratory(tmp_path: Path) -> None:
    """Catches an import of torch or matplotlib on the way to the API page: ``make book`` installs neither."""
    blocker = tmp_path / "blocker"
    blocker.mkdir()
    (blocker / "sitecustomize.py").write_text(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {NOT_FOR_THE_BOOK!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    absent = subprocess.run(
        [sys.executable, "-c", "import torch"], env={**os.environ, "PYTHONPATH": str(blocker)}, capture_output=True
    )
    assert absent.returncode == 1, "the blocker must block"
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("_config.yml", "_toc.yml", "references.bib"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "book", copy / "book", ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    result = build(copy, PYTHONPATH=str(blocker))
    assert result.returncode == 0, result.stderr
    pages = [path.read_text(encoding="utf-8") for path in sorted((copy / "_build/html/book/appendix/api").iterdir())]
    page = "".join(pages)
    for anchor in ("bncourse.reference.batch_norm", "bncourse.lab.MLPEnsemble", "bncourse.plots.use_style"):
        assert f'id="{anchor}"' in page
    assert "Tensor" in page, "signatures keep their types"


@pytest.mark.parametrize(
    ("title", "number"),
    [("2.2 The closed form", (2, 2)), ("12 Notes", (12,)), ("The transform", ()), ("3D data", ()), ("1.2The", ())],
)
def test_a_chapters_number_is_read_from_its_title(title: str, number: tuple[int, ...]) -> None:
    assert chapter_number(title) == number


def test_docstrings_in_the_packages_form_are_read() -> None:
    lines = [
        "Summary : not a section.",
        "",
        "Parameters",
        "----------",
        "x, y : what it is",
        "    and more.",
        "",
        "Returns",
        "-------",
        "The result, a sentence : with a colon.",
        "",
        "Raises",
        "------",
        "ValueError : if x is odd.",
    ]
    assert separate(lines) == [
        *lines[:4],
        "x, y",
        "    what it is",
        "    and more.",
        *lines[6:9],
        "The result, a sentence",
        "    with a colon.",
        *lines[10:13],
        "ValueError",
        "    if x is odd.",
    ]
    assert separate(["Returns", "-------", "Only a sentence.", "And another."]) == [
        "Returns",
        "-------",
        "result",
        "    Only a sentence.",
        "    And another.",
    ]


def test_an_inline_script_stands_once() -> None:
    class Script:
        def __init__(self, **attributes: str) -> None:
            self.attributes = attributes

    one, same, other = Script(body="const X = 1"), Script(body="const X = 1"), Script(body="const Y = 1")
    linked = [Script(src="a.js"), Script(src="b.js")]
    context = {"script_files": [one, linked[0], same, linked[1], other]}
    drop_repeated(None, "page", "template", context, None)  # type: ignore[arg-type]
    assert context["script_files"] == [one, *linked, other]


def test_a_formula_keeps_the_signs_that_touch_it() -> None:
    formula = r'<span class="math notranslate">\(x\)</span>'
    text = f"<p>Of {formula}, ({formula}) and {formula} no.</p>"
    kept = '<span class="unbroken">'
    assert keep_together(text) == f"<p>Of {kept}{formula},</span> {kept}({formula})</span> and {formula} no.</p>"


def test_a_number_is_not_broken_but_in_code_it_is_left_alone() -> None:
    document = new_document("page")
    document += nodes.paragraph("", "", nodes.Text("95 % of 65 536 in 2 16, "), nodes.literal("", "95 % 2"))
    document += nodes.literal_block("", "7 % 2")
    bind_numbers(None, document)
    assert document.astext() == "95\N{NO-BREAK SPACE}% of 65\N{NO-BREAK SPACE}536 in 2 16, 95 % 2\n\n7 % 2"
