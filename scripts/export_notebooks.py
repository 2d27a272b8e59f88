"""Write the plain copies of the notebooks that Colab and Binder open, and what they install, to ``_build/export``.

    python scripts/export_notebooks.py

The book must have been built: the copies take the texts and numbers of their references from that build
(``_build/references.json``). The publishing workflow pushes the folder to a branch of its own, from which Colab and
Binder open it. A copy's first cell installs the package, from the wheel on that branch, and whatever else it needs,
where it is missing.
"""

# mypy: disable-error-code="no-untyped-call, no-any-return, import-untyped"
import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from posixpath import relpath

import nbformat
from install_cell import install_cell, needed_modules
from nbformat import NotebookNode
from store_outputs import listed_notebooks

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

from plain_markdown import Book, UnknownConstructError, plain  # noqa: E402
from reference_table import FILE  # noqa: E402
from repository import Repository, find_repository  # noqa: E402

# In environment.yml, the line by which pip installs the repository itself.
LOCAL = re.compile(r"""^(?P<dash> *- *)["']?(?:-e +)?\./?(?P<extras>\[[\w,-]+\])?["']? *$""", re.MULTILINE)

README = """\
# The notebooks of the course, ready to run

{origin} The files here are made from it (`make export`) and replaced at every publication: change
nothing here.

- `book/`: every notebook of the book in plain Markdown, with its outputs. The first cell installs what the notebook
  needs and finds missing.
- `{wheel}`: the package that the notebooks import.
- `environment.yml`: what Binder installs.
"""


class ExportError(Exception):
    """The export cannot be made, or would be wrong."""


def main() -> int:
    """Make the export; return 1 and say why where that is impossible."""
    try:
        target = export(ROOT, find_repository(ROOT))
    except ExportError as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    print(f"exported to {target.relative_to(ROOT)}")
    return 0


def export(root: Path, repository: Repository | None) -> Path:
    """Make the export of the book at ``root`` below its ``_build`` and return the folder.

    It is made aside and moved into place when it is whole.

    Raises
    ------
    ExportError : if the book has not been built, a chapter holds a construct without a plain form, or a file that
        the export needs is missing.
    """
    table = root / "_build" / FILE
    if not table.exists():
        raise ExportError(f"{table.relative_to(root)} is missing: build the book first (make book)")
    book = Book(json.loads(table.read_text(encoding="utf-8")), repository)
    target, aside = root / "_build" / "export", root / "_build" / "export.new"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    wheel = build_wheel(root, aside)
    for path in listed_notebooks(root):
        place = path.relative_to(root).as_posix()
        notebook = plain_notebook(path, place.removesuffix(".ipynb"), book)
        needed = {"bncourse": wheel_for(place, wheel, repository), **needed_modules(notebook, root / "pyproject.toml")}
        notebook.cells.insert(0, install_cell(needed))
        nbformat.validate(notebook)
        copy = aside / place
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(nbformat.writes(notebook, indent=1) + "\n", encoding="utf-8", newline="\n")
    (aside / "environment.yml").write_text(binder_environment(root / "environment.yml", wheel), encoding="utf-8")
    (aside / "README.md").write_text(readme(wheel, repository), encoding="utf-8")
    shutil.copy(root / "LICENSE", aside)
    shutil.rmtree(target, ignore_errors=True)
    aside.replace(target)
    return target


def plain_notebook(path: Path, page: str, book: Book) -> NotebookNode:
    """Return a copy of a notebook without MyST; code and stored outputs are the same.

    Raises
    ------
    ExportError : naming file and cell, for a construct without a plain form.
    """
    notebook: NotebookNode = nbformat.read(path, as_version=4)
    cells = []
    for cell in notebook.cells:
        try:
            if cell.cell_type == "markdown":
                cell.source = plain(cell.source, page, book)
            elif cell.cell_type != "code":
                raise UnknownConstructError(f"a cell of the type {cell.cell_type!r}")
            cells.append(cell)
            figure = cell.metadata.pop("mystnb", {}).get("figure")
            if figure:
                cells.append(caption(cell.id, figure, page, book))
        except UnknownConstructError as error:
            raise ExportError(f"{page}.ipynb, cell {cell.id!r}: {error}") from error
    notebook.cells = cells
    return notebook


def caption(cell_id: str, figure: dict[str, str], page: str, book: Book) -> NotebookNode:
    """Return a figure's number and caption as a cell of their own."""
    words = [plain(figure.get("caption", ""), page, book)]
    if "name" in figure:
        words.insert(0, f"**Fig. {book.target('figures', figure['name'])['number']}**")
    return nbformat.v4.new_markdown_cell(" ".join(words), id=f"{cell_id[:50]}-caption")


def wheel_for(place: str, wheel: str, repository: Repository | None) -> str:
    """Return where a copy finds the wheel: in its repository, or beside it where that is unknown."""
    return repository.exported(wheel) if repository else relpath(wheel, Path(place).parent.as_posix())


def build_wheel(root: Path, target: Path) -> str:
    """Build the package's wheel into ``target`` and return its file name."""
    # Without isolation nothing is downloaded, where the build backend is at hand.
    flags = ["--no-isolation"] if find_spec("hatchling") else []
    command = [sys.executable, "-m", "build", "--wheel", *flags, "--outdir", str(target), str(root)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ExportError(f"the wheel was not built:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    (wheel,) = target.glob("*.whl")
    return wheel.name


def binder_environment(source: Path, wheel: str) -> str:
    """Return environment.yml with the repository's own line replaced by the wheel.

    repo2docker copies the whole branch before it installs where a line of pip's part begins with a dot; the wheel is
    therefore named ``./…``.

    Raises
    ------
    ExportError : if the file is missing or does not install the repository exactly once.
    """
    if not source.exists():
        raise ExportError(f"{source.name} is missing")
    text, count = LOCAL.subn(
        lambda match: f'{match["dash"]}"./{wheel}{match["extras"] or ""}"', source.read_text(encoding="utf-8")
    )
    if count != 1:
        raise ExportError(f"{source.name} must install the repository on one line (such as '- .[lab]'), found {count}")
    return text


def readme(wheel: str, repository: Repository | None) -> str:
    """Return the text that says what the branch is."""
    if repository is None:
        origin = "The book they belong to is a Jupyter Book on batch normalization."
    else:
        origin = f"The book they belong to: <{repository.site}/>. Its source: <{repository.url}>."
    return README.format(origin=origin, wheel=wheel)


if __name__ == "__main__":
    sys.exit(main())
