"""Pack the plain notebooks, the wheel that they import and how to run them into ``_build/bncourse-notebooks.zip``.

    python scripts/zip_notebooks.py

The export (scripts/export_notebooks.py) must have been made. Where its copies install the wheel from the repository,
those in the archive install the one beside them: the archive needs no repository. The same export gives the same bytes.
"""

import sys
from pathlib import Path
from posixpath import dirname, relpath
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

from repository import Repository, find_repository  # noqa: E402

FOLDER = "bncourse-notebooks"

README = """\
# The notebooks of the course on batch normalization

{origin}`book/` holds every chapter and every exercise as a notebook, with its outputs.

With Python 3.11 to 3.13, in this folder:

    python -m venv .venv
    source .venv/bin/activate        # Windows: .venv\\Scripts\\activate
    pip install jupyterlab "./{wheel}[lab]"
    jupyter lab book

`[lab]` brings PyTorch and what draws the figures. Without it, a notebook's first cell installs what that notebook
needs and finds missing. `bncourse doctor` says what a machine has, and how to get what it has not.
"""


def main() -> int:
    """Make the archive; return 1 and say why where that is impossible."""
    export = ROOT / "_build" / "export"
    if not export.is_dir():
        print("zip: the notebooks are not exported: make export", file=sys.stderr)
        return 1
    target = pack(export, ROOT / "_build" / f"{FOLDER}.zip", find_repository(ROOT))
    print(f"packed {target.relative_to(ROOT)}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


def pack(export: Path, target: Path, repository: Repository | None) -> Path:
    """Write the archive of an export that was made for this repository, aside and then into place."""
    (wheel,) = (path.name for path in export.glob("*.whl"))
    origin = f"The book they belong to: <{repository.site}/>.\n\n" if repository else ""
    contents = {"README.md": README.format(origin=origin, wheel=wheel).encode()}
    for path in [export / "LICENSE", export / wheel, *export.glob("book/**/*.ipynb")]:
        name = path.relative_to(export).as_posix()
        contents[name] = path.read_bytes()
        if repository and path.suffix == ".ipynb":
            beside = relpath(wheel, dirname(name))
            contents[name] = contents[name].replace(repository.exported(wheel).encode(), beside.encode())
    aside = target.with_suffix(".new")
    with ZipFile(aside, "w", ZIP_DEFLATED) as archive:
        for name in sorted(contents):
            # A fixed time, which is zip's earliest: the archive does not say when it was made.
            entry = ZipInfo(f"{FOLDER}/{name}")
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, contents[name], ZIP_DEFLATED)
    return aside.replace(target)


if __name__ == "__main__":
    sys.exit(main())
