"""The archive of the notebooks: whole, without a need for any repository, and the same bytes each time."""

import ast
import os
import sys
from pathlib import Path
from posixpath import dirname, join, normpath
from zipfile import ZipFile

import nbformat
import pytest

from tests.book.chapters import ROOT
from tests.book.sample import notebook

for folder in ("scripts", "book/_ext"):
    sys.path.insert(0, str(ROOT / folder))

from export_notebooks import wheel_for  # noqa: E402
from install_cell import install_cell  # noqa: E402
from repository import Repository  # noqa: E402
from zip_notebooks import FOLDER, pack  # noqa: E402

FORK = Repository("bo", "fork", "https://bo.github.io/fork")
WHEEL = "bncourse-0.1.0-py3-none-any.whl"


def exported(folder: Path, repository: Repository | None) -> Path:
    """An export of two notebooks, at different depths, with the first cell that the real export writes."""
    (folder / "book" / "1_one").mkdir(parents=True)
    for place in ("book/setup.ipynb", "book/1_one/2_first.ipynb"):
        made = notebook(["# A page", ("print(1)", "1\n")])
        made.cells.insert(0, install_cell({"bncourse": wheel_for(place, WHEEL, repository)}))
        nbformat.write(made, folder / place)
    for name in (WHEEL, "LICENSE", "README.md", "environment.yml"):
        (folder / name).write_text(name)
    return folder


@pytest.mark.parametrize("repository", [FORK, None])
def test_each_first_cell_installs_a_wheel_that_is_in_the_archive(repository: Repository | None, tmp_path: Path) -> None:
    """Catches the repository's address left in a copy, and a path that is right at one depth only."""
    archive = ZipFile(pack(exported(tmp_path / "export", repository), tmp_path / "a.zip", repository))
    names = archive.namelist()
    assert names == [
        f"{FOLDER}/LICENSE",
        f"{FOLDER}/README.md",
        f"{FOLDER}/{WHEEL}",
        f"{FOLDER}/book/1_one/2_first.ipynb",
        f"{FOLDER}/book/setup.ipynb",
    ]
    for name in names:
        if name.endswith(".ipynb"):
            source = nbformat.reads(archive.read(name).decode(), as_version=4).cells[0].source
            texts = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
            (wheel,) = (text for text in texts if isinstance(text, str) and text.endswith(".whl"))
            assert normpath(join(dirname(name), wheel)) == f"{FOLDER}/{WHEEL}"


def test_the_same_export_gives_the_same_bytes(tmp_path: Path) -> None:
    """Catches the time of the files, and the order in which the file system lists them."""
    export = exported(tmp_path / "export", FORK)
    first = pack(export, tmp_path / "first.zip", FORK).read_bytes()
    for path in export.rglob("*.*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o600)
    second = pack(export, tmp_path / "second.zip", FORK).read_bytes()
    assert first == second


def test_the_text_names_the_wheel_and_the_site_where_it_is_known(tmp_path: Path) -> None:
    for repository, expected in ((FORK, True), (None, False)):
        name = "known" if expected else "unknown"
        archive = ZipFile(pack(exported(tmp_path / name, repository), tmp_path / f"{name}.zip", repository))
        text = archive.read(f"{FOLDER}/README.md").decode()
        assert f'"./{WHEEL}[lab]"' in text
        assert (FORK.site in text) == expected
