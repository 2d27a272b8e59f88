"""What the tests of the book read from its sources: the notebooks, their Markdown, their display equations."""

# mypy: disable-error-code="no-untyped-call, no-any-return, import-untyped"
import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.colon_fence import colon_fence_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
STEP = re.compile(r"<!-- step of (?P<label>[\w:-]+) -->\s*")
# Directives whose body is text of the chapter. What stands in another fence is code.
DIRECTIVE = re.compile(r"\{[\w:-]+\}")


def pages(root: Path = ROOT) -> list[Path]:
    """Return the sources of the pages that ``_toc.yml`` lists, as far as they exist."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    names = [toc["root"], *(page["file"] for chapter in chapters for page in (chapter, *chapter.get("sections", ())))]
    candidates = (root / f"{name}{suffix}" for name in names for suffix in (".ipynb", ".md"))
    return [path for path in candidates if path.exists()]


def page_name(source: Path) -> str:
    """Return the name of a page, its path without its ending: that of its address in the site as well."""
    return source.relative_to(ROOT).with_suffix("").as_posix()


def notebooks(root: Path = ROOT) -> list[Path]:
    """Return the notebooks among the pages, in the order of the book."""
    return [path for path in pages(root) if path.suffix == ".ipynb"]


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def texts(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the Markdown of a page in pieces, with the name of the cell that holds each."""
    if path.suffix == ".md":
        yield "page", path.read_text(encoding="utf-8")
        return
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            yield cell.id, cell.source


@dataclass(frozen=True)
class DisplayEquation:
    """A display equation: its label, or the label of which it is a step, or neither."""

    place: str
    label: str | None
    step_of: str | None
    body: str


def display_equations(path: Path) -> list[DisplayEquation]:
    """Return the display equations of a page, those inside directives too, in order."""
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    return [equation for cell, text in texts(path) for equation in equations_in(text, f"{name}, cell {cell!r}")]


def equations_in(text: str, place: str) -> Iterator[DisplayEquation]:
    """Yield the display equations of one piece of Markdown."""
    parser = MarkdownIt("commonmark").use(dollarmath_plugin, double_inline=True).use(colon_fence_plugin)
    before: Token | None = None
    for token in parser.parse(text):
        if token.type in ("math_block", "math_block_label"):
            label = token.info if token.type == "math_block_label" else None
            step = STEP.fullmatch(before.content) if before is not None and before.type == "html_block" else None
            yield DisplayEquation(place, label, step["label"] if step else None, token.content.strip())
        elif token.type in ("fence", "colon_fence") and DIRECTIVE.match(token.info.strip()):
            if token.info.strip().startswith("{math}"):
                yield DisplayEquation(place, None, None, token.content.strip())
            else:
                yield from equations_in(token.content, place)
        for child in token.children or []:
            if child.type == "math_inline_double":
                yield DisplayEquation(place, None, None, child.content.strip())
        before = token


def equation_markers(folder: Path) -> dict[str, str]:
    """Return the labels that tests below ``folder`` mark as checked, each with the test that marks it."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.equation":
                    for label in mark.args:
                        if isinstance(label, ast.Constant):
                            found[str(label.value)] = f"{path.name}::{node.name}"
    return found
