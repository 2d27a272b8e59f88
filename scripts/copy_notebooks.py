"""Export the notebooks and copy them to ``notebooks``, where a reader works in them.

    python scripts/copy_notebooks.py

The copies are plain Markdown (scripts/export_notebooks.py), since JupyterLab does not know MyST, without the cell that
installs: here everything is. What lies in the folder already is the reader's own and stays; git ignores the folder,
and no other command touches it.
"""

# mypy: disable-error-code="no-untyped-call"
import sys
from pathlib import Path

import nbformat
from export_notebooks import ROOT, ExportError, export
from repository import find_repository


def main() -> int:
    """Export and copy; return 1 and say why where that is impossible."""
    try:
        source = export(ROOT, find_repository(ROOT)) / "book"
    except ExportError as error:
        print(f"notebooks: {error}", file=sys.stderr)
        return 1
    added, kept = copy_new(source, ROOT / "notebooks")
    print(f"notebooks: {added} new, {kept} kept as they are (delete one to get it anew)")
    return 0


def copy_new(source: Path, target: Path) -> tuple[int, int]:
    """Copy the notebooks that ``target`` has not; return how many were copied, and how many were there."""
    notebooks = sorted(source.rglob("*.ipynb"))
    new = [path for path in notebooks if not (target / path.relative_to(source)).exists()]
    for path in new:
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        aside = copy.with_suffix(".new")
        notebook = nbformat.read(path, as_version=4)
        notebook.cells = [cell for cell in notebook.cells if cell.id != "install"]
        aside.write_text(nbformat.writes(notebook, indent=1) + "\n", encoding="utf-8", newline="\n")
        aside.replace(copy)
    return len(new), len(notebooks) - len(new)


if __name__ == "__main__":
    sys.exit(main())
