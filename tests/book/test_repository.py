"""The repository's address: from the workflow, from the remote, or unknown."""

import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml

from tests.book.chapters import ROOT

sys.path.insert(0, str(ROOT / "book" / "_ext"))

from repository import Repository, find_repository


def cloned(folder: Path, remote: str | None) -> Path:
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    if remote is not None:
        subprocess.run(["git", "-C", str(folder), "remote", "add", "origin", remote], check=True)
    return folder


@pytest.mark.parametrize(
    "remote",
    [
        "https://github.com/ann/course",
        "https://github.com/ann/course.git",
        "https://github.com/ann/course/",
        "https://token@github.com/ann/course.git",
        "https://user:token@github.com/ann/course.git",
        "git@github.com:ann/course.git",
        "github.com:ann/course",
        "ssh://git@github.com/ann/course.git",
        "ssh://git@github.com:22/ann/course.git",
        "https://GitHub.com/ann/course.git",
    ],
)
def test_every_form_of_remote_is_read(remote: str, tmp_path: Path) -> None:
    found = find_repository(cloned(tmp_path, remote), {})
    assert found == Repository("ann", "course", "https://ann.github.io/course")


@pytest.mark.parametrize(
    "remote",
    [
        None,
        "/srv/git/course.git",
        "https://gitlab.com/ann/course.git",
        "https://example.org/github.com/ann/course.git",
        "https://github.com.example.org/ann/course",
        "git@notgithub.com:ann/course.git",
        "https://github.com/ann",
        "https://github.com/ann/group/course",
    ],
)
def test_what_is_not_on_github_is_unknown(remote: str | None, tmp_path: Path) -> None:
    assert find_repository(cloned(tmp_path, remote), {}) is None


def test_a_name_may_hold_dots_and_git(tmp_path: Path) -> None:
    found = find_repository(cloned(tmp_path, "git@github.com:ann-b/my.course.github.git"), {})
    assert found is not None
    assert (found.owner, found.name) == ("ann-b", "my.course.github")


def test_a_folder_inside_another_repository_is_not_its_copy(tmp_path: Path) -> None:
    """Catches asking git, which looks in the folders above as well."""
    (cloned(tmp_path, "https://github.com/somebody/else") / "unpacked").mkdir()
    assert find_repository(tmp_path / "unpacked", {}) is None


def test_the_workflow_comes_before_the_remote(tmp_path: Path) -> None:
    """A fork's workflow publishes the fork."""
    folder = cloned(tmp_path, "https://github.com/ann/course")
    variables = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "Bo/fork"}
    assert find_repository(folder, variables) == Repository("Bo", "fork", "https://bo.github.io/fork")
    elsewhere = {"GITHUB_SERVER_URL": "https://git.example.org", "GITHUB_REPOSITORY": "Bo/fork"}
    assert find_repository(folder, elsewhere) is None


def test_the_site_is_where_the_publishing_step_says(tmp_path: Path) -> None:
    variables = {"GITHUB_REPOSITORY": "ann/course", "BOOK_URL": "https://course.example.org/"}
    found = find_repository(tmp_path, variables)
    assert found is not None
    assert found.page("book/1_one/2_two", "eq-x") == "https://course.example.org/book/1_one/2_two.html#eq-x"
    owners_site = find_repository(tmp_path, {"GITHUB_REPOSITORY": "Ann/ann.github.io"})
    assert owners_site is not None
    assert owners_site.site == "https://ann.github.io"


def test_the_form_for_errors_is_opened_with_the_page_filled_in() -> None:
    """Catches a form or a field that was renamed: GitHub ignores what it does not know."""
    address = urlsplit(Repository("ann", "course", "https://ann.github.io/course").new_issue("book/1_one/2_two"))
    assert (address.netloc, address.path) == ("github.com", "/ann/course/issues/new")
    query = dict(parse_qsl(address.query, strict_parsing=True))
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / query.pop("template")).read_text(encoding="utf-8"))
    assert query.pop("page") == "book/1_one/2_two"
    assert query.keys() == {"title"}
    assert "page" in {field["id"] for field in form["body"]}


def test_colab_and_binder_open_the_exported_branch() -> None:
    found = Repository("ann", "course", "https://ann.github.io/course")
    notebook = "book/1_one/2_two.ipynb"
    assert found.colab(notebook) == (
        "https://colab.research.google.com/github/ann/course/blob/notebooks/book/1_one/2_two.ipynb"
    )
    assert found.binder(notebook) == (
        "https://mybinder.org/v2/gh/ann/course/notebooks?urlpath=lab%2Ftree%2Fbook%2F1_one%2F2_two.ipynb"
    )
    assert found.exported("a.whl") == "https://raw.githubusercontent.com/ann/course/notebooks/a.whl"
