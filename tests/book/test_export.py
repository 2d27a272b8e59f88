"""The plain copies: nothing of MyST is left in them, links lead to the site, the first cell installs the package."""

# mypy: disable-error-code="no-untyped-call"
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
from myst_parser.config.main import MdParserConfig
from myst_parser.mdit_to_docutils.base import DocutilsRenderer
from myst_parser.parsers.mdit import create_md_parser
from nbformat import NotebookNode

from tests.book.chapters import ROOT, notebooks, page_name, read
from tests.book.sample import build, notebook, write_sample

for folder in ("scripts", "book/_ext"):
    sys.path.insert(0, str(ROOT / folder))

import export_notebooks  # noqa: E402
from copy_notebooks import copy_new  # noqa: E402
from export_notebooks import ExportError, binder_environment, export, plain_notebook, wheel_for  # noqa: E402
from install_cell import install_cell, needed_modules  # noqa: E402
from plain_markdown import Book, UnknownConstructError, plain  # noqa: E402
from repository import Repository, find_repository  # noqa: E402

pytestmark = pytest.mark.slow

FORK = Repository("bo", "fork", "https://bo.github.io/fork")
WHEEL = "bncourse-0.1.0-py3-none-any.whl"
ENVIRONMENT = "name: bncourse\ndependencies:\n  - python=3.11\n  - pip:\n      - .[lab]\n"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample book, built."""
    folder = write_sample(tmp_path_factory.mktemp("sample"))
    result = build(folder)
    assert result.returncode == 0, result.stderr
    (folder / "environment.yml").write_text(ENVIRONMENT)
    (folder / "pyproject.toml").write_text("[project.optional-dependencies]\n[tool.uv]\nconstraint-dependencies = []\n")
    (folder / "LICENSE").write_text("a license\n")
    return folder


@pytest.fixture
def wheel_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample book has no package; that the wheel is built and installs is tested with the real one."""

    def write(root: Path, target: Path) -> str:
        (target / WHEEL).write_bytes(b"a wheel")
        return WHEEL

    monkeypatch.setattr(export_notebooks, "build_wheel", write)


def book(folder: Path, repository: Repository | None = FORK) -> Book:
    return Book(json.loads((folder / "_build" / "references.json").read_text(encoding="utf-8")), repository)


def myst_constructs(text: str) -> list[str]:
    """Return what MyST's own parser still sees in a text beyond plain Markdown with mathematics."""
    config = MdParserConfig(enable_extensions={"dollarmath", "colon_fence", "substitution"})
    plain_kinds = {"math_block", "math_inline", "math_inline_double", "footnote_anchor"}
    found = []
    for token in create_md_parser(config, DocutilsRenderer).parse(text):
        for part in [token, *(token.children or [])]:
            odd = part.type.startswith(("myst_", "footnote", "colon_fence", "substitution", "math_block_label"))
            directive = part.type == "fence" and part.info.startswith("{")
            if (odd and part.type not in plain_kinds) or directive:
                found.append(f"{part.type} {part.content[:40]}")
    return found


def test_the_check_for_what_is_left_sees_every_construct() -> None:
    for text in ("{ref}`x`", "(x)=\n# T", "```{note}\nx\n```", ":::{note}\nx\n:::", "$$ x $$ (eq-x)", "% c", "{{ x }}"):
        assert myst_constructs(text), text


def test_the_sample_book_becomes_plain(sample: Path, wheel_at_hand: None) -> None:
    target = export(sample, FORK)
    copies = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    assert copies == [
        "LICENSE",
        "README.md",
        WHEEL,
        "book/1_one/2_first.ipynb",
        "book/1_one/exercises.ipynb",
        "environment.yml",
    ]
    copy = nbformat.read(target / "book/1_one/2_first.ipynb", as_version=4)
    nbformat.validate(copy)
    texts = [cell.source for cell in copy.cells if cell.cell_type == "markdown"]
    assert [left for text in texts for left in myst_constructs(text)] == []
    text = "\n".join(texts)
    site = FORK.site
    for expected in (
        f"[A sample]({site}/book/intro.html)",
        f"[the exercises]({site}/book/1_one/exercises.html)",
        f"by [One and Two (2015)]({site}/book/appendix/bibliography.html#cite-one2015) and",
        f"; [Three et al., 2018]({site}/book/appendix/bibliography.html#cite-three2018))",
        f"[feature axes]({site}/book/appendix/glossary.html#term-feature-axis)",
        "`{ref}` is a\nrole that code may name",
        r"\sum_i x_i \tag{1.2.1}",
        f"From [(1.2.1)]({site}/book/1_one/2_first.html#equation-eq-mean) follows",
        "\\end{aligned} \\tag{1.2.2}\n$$",
        "> **Note**\n>\n> A note with [a reference]",
        r"> $$1 + 1 = 2 \tag{1.2.3}$$",
        "> **Guess first**\n>\n> How many?\n>\n> - one",
        '> ```python\n> print("code inside")\n> ```',
        "<details>\n<summary>The answer</summary>\n\nTwo, by",
        "> **Tip**\n>\n> Nested.\n\n</details>",
        f"see [Fig. 1.2.1]({site}/book/1_one/2_first.html#fig-dot) and [picture 1.2.1]",
        "**Fig. 1.2.1** A square.",
        f"**Interactive figure, [on the page in the book]({site}/book/1_one/2_first.html#interactive-transform)**\n>\n"
        f"> What the figure shows, by [(1.2.3)]({site}/book/1_one/2_first.html#equation-eq-sum).\n>\n> With a second",
        "```text\n{ref}`left alone`\n$$ x $$\n```",
    ):
        assert expected in text, expected
    assert "step of" not in text


def test_code_and_stored_outputs_stay(sample: Path) -> None:
    source = sample / "book/1_one/2_first.ipynb"
    copy = plain_notebook(source, "book/1_one/2_first", book(sample))
    before = [(cell.source, cell.outputs) for cell in read(source).cells if cell.cell_type == "code"]
    assert [(cell.source, cell.outputs) for cell in copy.cells if cell.cell_type == "code"] == before


def test_numbers_and_texts_are_those_of_the_built_page(sample: Path) -> None:
    """Catches a table that numbers otherwise than the page does."""
    page = (sample / "_build/html/book/1_one/2_first.html").read_text(encoding="utf-8")
    words = " ".join(re.sub(r"<[^>]+>", "", page).split())
    for expected in ("(1.2.1)", "(1.2.2)", "(1.2.3)", "One and Two (2015)", "Fig. 1.2.1", "picture 1.2.1"):
        assert expected in words
    assert "(One and Two, 2015; Three et al., 2018)" in words


def test_where_the_site_is_unknown_references_are_text(sample: Path, wheel_at_hand: None) -> None:
    target = export(sample, None)
    for path in target.rglob("*.ipynb"):
        text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
        assert "](" not in text
        assert "http" not in text
    assert "After A sample and the exercises, by One and Two (2015)" in "".join(
        cell.source for cell in read(target / "book/1_one/2_first.ipynb").cells
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("See {ref}`nowhere`.", "nowhere"),
        ("{abbr}`BN (batch norm)`", "abbr"),
        ("{cite:year}`one2015`", "cite:year"),
        ("{cite:t}`unknown2020`", "unknown2020"),
        ("{eq}`eq-none`", "eq-none"),
        ("```{figure} a.png\n```", "figure"),
        ("```{note}\n:name: x\nText\n```", "name"),
        (":::{grid} 2\n:::", "grid"),
        (":::\nplain\n:::", "colon fence"),
        ("```{note}\nno end", "does not close"),
        ("$$ x = 1", "does not end"),
        ("text $$ x $$ text", "display"),
        ("![alt](picture.png)", "image"),
        ("[setup](../setup.ipynb)", "../setup.ipynb"),
        ("[here](#sec-mean)", "#sec-mean"),
        ("A note[^1].", "footnote"),
        ("{{ version }}", "substitution"),
        ("% a comment", "comment"),
        ("+++", "block break"),
        ("---\ntitle: x\n---", "front matter"),
        ("{ref}`unclosed", "broken"),
        ("- item\n\n  ```{seealso}\n  x\n  ```", "seealso"),
    ],
)
def test_what_has_no_plain_form_is_refused_by_file_and_cell(
    text: str, named: str, sample: Path, tmp_path: Path
) -> None:
    path = tmp_path / "3_odd.ipynb"
    nbformat.write(notebook(["# 1.3 Odd", text]), path)
    with pytest.raises(ExportError, match=re.escape(named)) as refusal:
        plain_notebook(path, "book/1_one/3_odd", book(sample))
    assert "book/1_one/3_odd.ipynb, cell 'text-2'" in str(refusal.value)


def test_plain_markdown_is_left_as_it_is(sample: Path) -> None:
    text = (
        "# Title\n\nA *word*, `code`, [a link](https://example.org), <https://example.org>, $a_{i}$ and \\$5.\n\n"
        "- item\n  - nested\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = {'a': 1}\n```\n\n"
        "<!-- a remark -->\n\n> quoted"
    )
    assert plain(text, "book/intro", book(sample)) == text


def test_without_a_build_the_export_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="build the book first"):
        export(tmp_path, None)


def test_a_refused_export_leaves_the_last_one(sample: Path, wheel_at_hand: None) -> None:
    target = export(sample, FORK)
    path = sample / "book/1_one/exercises.ipynb"
    good = path.read_bytes()
    try:
        nbformat.write(notebook(["# Exercises\n\n{unknown}`x`"]), path)
        with pytest.raises(ExportError):
            export(sample, FORK)
    finally:
        path.write_bytes(good)
    assert (target / "book/1_one/exercises.ipynb").exists()


@pytest.mark.parametrize(
    ("repository", "wheel"),
    [
        (FORK, f"https://raw.githubusercontent.com/bo/fork/notebooks/{WHEEL}"),
        (find_repository(Path(), {"GITHUB_REPOSITORY": "ann/course"}), "https://raw.githubusercontent.com/ann/course/"),
        (None, f"../../{WHEEL}"),
    ],
)
def test_the_first_cell_installs_the_same_repositorys_wheel(repository: Repository | None, wheel: str) -> None:
    assert wheel_for("book/1_one/2_first.ipynb", WHEEL, repository).startswith(wheel)


@pytest.mark.parametrize(
    ("code", "modules"),
    [
        ("import numpy as np\nfrom bncourse.reference import batch_norm", set()),
        ("import matplotlib.pyplot as plt\nfrom sklearn.datasets import load_digits", {"matplotlib", "sklearn"}),
        ("from bncourse import layers", {"torch"}),
        ("from bncourse.kernels import floor", {"torch"}),
        ("import triton.language as tl", {"torch", "triton"}),
        ('if find_spec("onnxruntime"):\n    pass', {"onnxruntime"}),
        ("from bncourse import lab", {"torch", "filelock", "joblib", "matplotlib", "pandas", "pooch"}),
        ("from bncourse.experiments import depth", {"torch", "scipy", "sklearn", "tqdm"}),
        ("import bncourse.clinic", {"torch"}),
        ("from bncourse.exercises import laboratory", set()),
    ],
)
def test_what_a_notebook_needs_is_read_from_its_code(code: str, modules: set[str], tmp_path: Path) -> None:
    """Catches a chapter that Colab cannot run: its image has no Triton without a GPU, and no ONNX."""
    path = tmp_path / "a.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), path)
    needed = needed_modules(read(path), ROOT / "pyproject.toml")
    assert modules <= set(needed)
    assert modules or not needed
    assert all(
        requirement.startswith(module.replace("sklearn", "scikit-learn")) for module, requirement in needed.items()
    )


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_each_import_of_a_chapter_is_installed_by_its_first_cell(path: Path) -> None:
    """Catches a library that a chapter imports and no extra of the package brings."""
    notebook = read(path)
    needed = {*needed_modules(notebook, ROOT / "pyproject.toml"), *sys.stdlib_module_names, "bncourse", "numpy"}
    imported = {
        name
        for cell in notebook.cells
        if cell.cell_type == "code"
        for name in re.findall(r"^ *(?:import|from) +(\w+)", cell.source, re.MULTILINE)
    }
    missing = {name for name in imported - needed if find_spec(name)}  # what is not found, the chapter itself writes
    assert missing <= {"functorch"}, "no extra in pyproject.toml brings it"  # functorch comes with torch


def test_torch_and_triton_are_installed_as_the_pair_that_is_locked(tmp_path: Path) -> None:
    """Catches the newest Triton, which compiles chapter 3.5's kernels to other instructions than the book shows."""
    path = tmp_path / "a.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import triton")]), path)
    needed = needed_modules(read(path), ROOT / "pyproject.toml")
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    for name in ("torch", "triton"):
        pinned, _, marker = needed[name].partition("; ")
        assert re.search(rf"^{re.escape(pinned)}\b", lock, re.MULTILINE)
        assert marker == ('sys_platform == "linux"' if name == "triton" else "")


def run_install_cell(folder: Path, cell: NotebookNode) -> dict[str, str]:
    """Run the first cell beside NumPy 2.1.0 with a pip that only notes its arguments; return what it noted."""
    (folder / "log.py").write_text(
        "import json, pathlib, subprocess\n"
        "def run(command, capture_output, text):\n"
        "    if 'list' in command:\n"
        "        return subprocess.CompletedProcess(command, 0, 'numpy==2.1.0\\nodd===1.0-of-ours\\n', '')\n"
        "    constraint = pathlib.Path(command[command.index('--constraint') + 1]).read_text()\n"
        "    json.dump({'command': ' '.join(command), 'constraint': constraint}, open('called.json', 'w'))\n"
        "    return subprocess.CompletedProcess(command, 0, '', '')\n"
        "subprocess.run = run\n"
    )
    (folder / "numpy.py").touch()
    command = [sys.executable, "-S", "-c", f"import log\n{cell.source}"]  # -S: what is installed here is not seen
    subprocess.run(command, cwd=folder, check=True, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder)})
    called = folder / "called.json"
    return dict(json.loads(called.read_text())) if called.exists() else {}


def test_the_first_cell_installs_only_what_is_missing_and_keeps_what_is_there(tmp_path: Path) -> None:
    """Catches an install that replaces NumPy under the running kernel, and one that runs for nothing."""
    cell = install_cell({"bncourse": FORK.exported(WHEEL), "numpy": "numpy>=3", "triton": "triton>=3.6,<4"})
    noted = run_install_cell(tmp_path, cell)
    assert noted["command"].endswith(f"{FORK.exported(WHEEL)} triton>=3.6,<4")
    assert "upgrade" not in noted["command"]
    assert noted["constraint"] == "numpy==2.1.0\nodd===1.0-of-ours\n"
    (tmp_path / "called.json").unlink()
    for module in ("bncourse", "triton"):
        (tmp_path / f"{module}.py").touch()
    assert run_install_cell(tmp_path, cell) == {}


def test_without_a_network_the_first_cell_says_so(tmp_path: Path) -> None:
    """Catches a traceback of subprocess, which tells a learner nothing; pip itself runs."""
    cell = install_cell({"nowhere_at_all": "nowhere-at-all>=1"})
    nobody = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    result = subprocess.run(
        [sys.executable, "-c", cell.source],
        cwd=tmp_path,
        env=kept | nobody,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "RuntimeError: What this notebook needs was not installed. Is there a connection" in result.stderr
    assert "No matching distribution found for nowhere-at-all" in result.stderr
    assert "CalledProcessError" not in result.stderr


def test_a_readers_own_copies_stay(tmp_path: Path) -> None:
    """Catches a `make notebooks` that throws away what a learner wrote."""
    source, target = tmp_path / "book", tmp_path / "notebooks"
    exported = nbformat.v4.new_notebook(cells=[install_cell({}), nbformat.v4.new_code_cell("1 + 1")])
    for name in ("setup.ipynb", "1_one/exercises.ipynb"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(exported, source / name)
    assert copy_new(source, target) == (2, 0)
    assert [cell.source for cell in read(target / "setup.ipynb").cells] == ["1 + 1"], "everything is installed"
    (target / "1_one/exercises.ipynb").write_text("my answer")
    nbformat.write(exported, source / "2_second.ipynb")
    assert copy_new(source, target) == (1, 2)
    assert (target / "1_one/exercises.ipynb").read_text() == "my answer"
    assert sorted(path.name for path in target.rglob("*.*")) == ["2_second.ipynb", "exercises.ipynb", "setup.ipynb"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("- .", f'- "./{WHEEL}"'),
        ("- .[lab]", f'- "./{WHEEL}[lab]"'),
        ('- ".[lab,kernels]"', f'- "./{WHEEL}[lab,kernels]"'),
        ("- -e .[lab]", f'- "./{WHEEL}[lab]"'),
        ("- ./[lab]", f'- "./{WHEEL}[lab]"'),
    ],
)
def test_binder_installs_the_wheel_in_place_of_the_repository(line: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "environment.yml"
    path.write_text(f"dependencies:\n  - python=3.11\n  - pip:\n      {line}\n      - other>=1.0\n")
    assert binder_environment(path, WHEEL) == path.read_text().replace(line, expected)


@pytest.mark.parametrize("text", ["dependencies: []\n", "- .\n- .[lab]\n"])
def test_an_environment_that_does_not_install_the_repository_once_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "environment.yml"
    path.write_text(text)
    with pytest.raises(ExportError, match="on one line"):
        binder_environment(path, WHEEL)


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_chapter_has_a_plain_form(path: Path, built_book: Path) -> None:
    page = page_name(path)
    copy = plain_notebook(path, page, book(ROOT))
    nbformat.validate(copy)
    for cell in copy.cells:
        if cell.cell_type == "markdown":
            assert myst_constructs(cell.source) == [], cell.id
            for link in re.findall(r"\]\(([^)]*)\)", re.sub(r"`[^`]*`", "", cell.source)):
                assert link.startswith(("https://", "http://", "mailto:")), link
            # What a folded text's title holds is HTML, where only mathematics is typeset; other tags nobody knows.
            for title in re.findall(r"<summary>(.*?)</summary>", cell.source):
                assert not re.search(r"[`*]|\]\(", re.sub(r"\$[^$]*\$", "", title)), title
            tags = re.findall(r"<(/?[a-z]+)", re.sub(r"```.*?```|`[^`]*`|\$[^$]*\$", "", cell.source, flags=re.DOTALL))
            assert {tag.strip("/") for tag in tags} <= {"details", "summary"}, cell.id
            # Colab does not typeset mathematics that follows a link without a space.
            assert not re.search(r"\]\([^)]*\)\$", cell.source), cell.id


def test_unknown_constructs_are_errors_of_their_own() -> None:
    with pytest.raises(UnknownConstructError):
        plain("{kbd}`x`", "book/intro", Book({}, None))
