"""What is stored is what the next run prints, and a notebook that fails is left as it was."""

# mypy: disable-error-code="no-untyped-call"
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests.book.chapters import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

from store_outputs import KERNELSPEC, NotStorableError, listed_notebooks, main, store

pytestmark = pytest.mark.slow


def written(folder: Path, *sources: str) -> Path:
    cells = [new_markdown_cell("# 9.1 A title", id="title")]
    cells += [new_code_cell(source, id=f"cell-{place}") for place, source in enumerate(sources)]
    path = folder / "1_planted.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": {"name": "other", "display_name": "x"}}), path)
    return path


def test_two_runs_write_the_same_bytes_and_no_trace_of_the_run(tmp_path: Path) -> None:
    source = "import os, sys\nprint('a', flush=True)\nprint(sorted(os.listdir('.')))\nsys.stdout.flush(); print('b')"
    path = written(
        tmp_path, source, "1 + 1", "os.environ['OMP_NUM_THREADS'], os.path.exists(os.environ['BNCOURSE_DATA'])"
    )
    store(path)
    first = path.read_bytes()
    store(path)
    assert path.read_bytes() == first
    notebook = nbformat.read(path, as_version=4)
    assert dict(notebook.metadata.kernelspec) == KERNELSPEC
    printing, adding, threads = notebook.cells[1:]
    assert [output.text for output in printing.outputs] == ["a\n['1_planted.ipynb']\nb\n"]
    assert [cell.execution_count for cell in notebook.cells[1:]] == [1, 2, 3]
    assert adding.outputs[0].data == {"text/plain": "2"}
    assert adding.outputs[0].execution_count == 2
    assert threads.outputs[0].data["text/plain"] == "('1', True)"
    assert all(cell.metadata == {} for cell in notebook.cells)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("object()", "prints an address"),
        ("import os\nprint(os.path.abspath('.'))", "prints a path of this machine"),
        (
            "from IPython.display import display\ndisplay({'application/vnd.jupyter.widget-view+json': {}}, raw=True)",
            "shows a widget",
        ),
        ("import os\nos._exit(1)", "died"),
    ],
)
def test_what_would_differ_elsewhere_is_refused_and_the_file_stays(
    source: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "print('first')", source)
    before = path.read_bytes()
    with pytest.raises(NotStorableError, match=reason):
        store(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_is_counted_and_the_others_are_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good").mkdir()
    good, bad = written(tmp_path / "good", "print(1)"), written(tmp_path, "1 / 0")
    assert main([str(bad), str(good)]) == 1
    assert "not stored" in capsys.readouterr().err
    assert nbformat.read(good, as_version=4).cells[1].outputs


def test_without_arguments_the_notebooks_of_the_table_of_contents_are_meant() -> None:
    listed = [path.relative_to(ROOT / "book").as_posix() for path in listed_notebooks(ROOT)]
    assert "1_transform/2_the_transform.ipynb" in listed
    assert all(name.endswith(".ipynb") for name in listed)
