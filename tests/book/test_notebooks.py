"""The conventions of the chapters that a machine can check."""

# mypy: disable-error-code="no-untyped-call"
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from tests.book.chapters import ROOT, notebooks, pages, read, texts

sys.path.insert(0, str(ROOT / "scripts"))

from store_outputs import KERNELSPEC, LANGUAGE

NUMBERED = re.compile(r"book/(?P<part>\d+)_\w+/(?P<chapter>\d+)_\w+")
MACHINE_PATH = re.compile(r"(?:/home/|/root/|/tmp/|/Users/|/work/|/mnt/|/var/folders/|[A-Z]:\\Users)[\w.-]*")
DECIMAL = re.compile(r"(?<![\w.,])\d+\.\d+(?![\w.]*\d)")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def draws(cell: NotebookNode) -> bool:
    return any(kind.startswith("image/") for output in cell.outputs for kind in output.get("data", {}))


def printed(cell: NotebookNode) -> str:
    """Return all text that a cell shows."""
    shown = []
    for output in cell.outputs:
        shown.append(output.get("text", ""))
        shown += [str(data) for kind, data in output.get("data", {}).items() if kind.startswith("text/")]
    return "\n".join(shown)


every_notebook = pytest.mark.parametrize("path", notebooks(), ids=name)


def test_the_table_of_contents_lists_every_notebook_there_is() -> None:
    """Catches a chapter that was written and is in nobody's book."""
    there = {path for path in (ROOT / "book").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts}
    assert there == set(notebooks())


@every_notebook
def test_outputs_are_stored_whole_and_in_order(path: Path) -> None:
    notebook = read(path)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run: make outputs"
    assert any(cell.outputs for cell in cells)
    errors = [cell.id for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert errors == []


@every_notebook
def test_the_file_is_as_store_outputs_writes_it(path: Path) -> None:
    """Catches metadata of an editor, which would change with every reader who saves the file."""
    notebook = read(path)
    nbformat.validate(notebook)
    assert dict(notebook.metadata) == {"kernelspec": KERNELSPEC, "language_info": LANGUAGE}
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert path.read_text(encoding="utf-8") == nbformat.writes(notebook, indent=1) + "\n"


@every_notebook
def test_cells_have_names_that_a_person_chose(path: Path) -> None:
    unreadable = [
        cell.id
        for cell in read(path).cells
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", cell.id) or re.fullmatch(r"[0-9a-f]{8,}", cell.id)
    ]
    assert unreadable == []


@every_notebook
def test_figures_say_what_they_show(path: Path) -> None:
    """A figure has alternative text, and prints a line: nbval compares text and not pictures."""
    for cell in code_cells(read(path)):
        if draws(cell):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt.split()) >= 5, f"cell {cell.id!r} needs alternative text in mystnb.image.alt"
            assert "plt.show()" in cell.source.split("\n"), f"cell {cell.id!r} must call plt.show()"
            lines = [output.text for output in cell.outputs if output.output_type == "stream"]
            assert "".join(lines).strip(), f"cell {cell.id!r} must print what it drew"


@every_notebook
def test_nothing_shows_the_machine_that_it_ran_on(path: Path) -> None:
    shown = "\n".join(cell.source + "\n" + printed(cell) for cell in code_cells(read(path)))
    assert MACHINE_PATH.findall(shown) == []
    assert not re.search(r"\bat 0x[0-9a-f]{6,}", shown)


@every_notebook
def test_the_package_is_what_computes(path: Path) -> None:
    source = "\n".join(cell.source for cell in code_cells(read(path)))
    assert re.search(r"^(?:from bncourse|import bncourse|!?bncourse |%run -m bncourse)", source, re.MULTILINE)


@every_notebook
def test_volatile_cells_are_few(path: Path) -> None:
    tagged = [cell.id for cell in read(path).cells if "nbval-ignore-output" in cell.metadata.get("tags", [])]
    assert len(tagged) <= 2


@pytest.mark.parametrize("path", pages(), ids=name)
def test_a_page_has_one_title_with_its_number(path: Path) -> None:
    first, *_ = texts(path)
    titles = [
        line
        for _, text in texts(path)
        for line in re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL).split("\n")
        if line.startswith("# ")
    ]
    assert len(titles) == 1
    assert titles[0] in first[1]
    assert re.search(r"^\((?:ch|app)-[\w-]+\)=\n# ", first[1], re.MULTILINE), "a title needs its target, (ch-…)="
    if match := NUMBERED.match(name(path)):
        assert titles[0].startswith(f"# {match['part']}.{match['chapter']} ")


def typed_numbers(notebook: NotebookNode) -> list[str]:
    """Return decimal numbers of three digits or more that stand in the text and in an output.

    A number that the code states is a setting, and may be named in the text.
    """
    cells = code_cells(notebook)
    measured = set(DECIMAL.findall("\n".join(printed(cell) for cell in cells)))
    stated = set(DECIMAL.findall("\n".join(cell.source for cell in cells)))
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    prose = re.sub(r"\]\([^)]*\)|\{[\w:]+\}`[^`]*`", "", prose)
    found = sorted(set(DECIMAL.findall(prose)) & measured - stated)
    return [number for number in found if len(number.replace(".", "").lstrip("0")) >= 3]


@every_notebook
def test_no_measured_number_is_typed_into_the_text(path: Path) -> None:
    assert typed_numbers(read(path)) == []


def test_a_number_typed_into_the_text_is_found() -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell(
                "It reaches 93.4 %, or $0.934$, with eps 0.001 and momentum 0.125 in 1.25 s."
            ),
            nbformat.v4.new_code_cell(
                "run(momentum=0.125)",
                outputs=[nbformat.v4.new_output("stream", text="accuracy 0.934 (93.4 %) eps 0.001 momentum 0.125\n")],
            ),
        ]
    )
    assert typed_numbers(notebook) == ["0.934", "93.4"]
