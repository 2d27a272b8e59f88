"""The first page leads to the PDF and the notebooks where they are published, and elsewhere says how to make them."""

import re
import sys

from docutils import nodes

from tests.book.chapters import ROOT

sys.path.insert(0, str(ROOT / "book" / "_ext"))

from downloads import DOWNLOADS, listed
from repository import Repository


def test_a_known_site_is_linked_and_an_unknown_one_is_not() -> None:
    """Catches a link to a file that a local build has not."""
    known = listed(Repository("bo", "fork", "https://bo.github.io/fork"))
    addresses = [link["refuri"] for link in known.findall(nodes.reference)]
    assert addresses == [f"https://bo.github.io/fork/{file}" for file, *_ in DOWNLOADS]
    unknown = listed(None)
    assert list(unknown.findall(nodes.reference)) == []
    assert [code.astext() for code in unknown.findall(nodes.literal)] == ["make pdf", "make zip"]


def test_the_commands_exist_and_the_files_are_published_under_these_names() -> None:
    """Catches a target or a file that was renamed in one place only."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    workflow = (ROOT / ".github" / "workflows" / "publish.yml").read_text(encoding="utf-8")
    for file, _, command, _ in DOWNLOADS:
        target = command.removeprefix("make ")
        assert re.search(rf"^{target}: .*## .*_build/{re.escape(file)}$", makefile, re.MULTILINE)
        assert f"_build/{file}" in workflow
    assert "_build/html/" in workflow.split("cp ", 1)[1].split("\n", 1)[0]
