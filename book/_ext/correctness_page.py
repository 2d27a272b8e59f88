"""Sphinx extension: the numbers on the page about correctness, counted in the repository at each build.

In ``book/appendix/correctness.md`` the line ``% counts`` becomes a table.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from bncourse import results
from bncourse.exercises import list_exercises
from bncourse.ledger import NOT_RUN, states

PAGE = "book/appendix/correctness"
COUNTS = "% counts"
LABELLED = re.compile(r"\$\$\s*\((eq-[\w-]+)\)")
TEST = re.compile(r"^(?:    )?def test_", re.MULTILINE)
STEP = re.compile(r"^<!-- step of eq-[\w-]+ -->", re.MULTILINE)
# What tests are about, by the folder that they lie in.
KINDS = {
    "reference": "the mathematics",
    "layers": "layers",
    "kernels": "kernels",
    "lab": "the laboratory",
    "experiments": "experiments and their rules",
    "exercises": "exercises and grading",
    "clinic": "the clinic",
    "book": "the book",
    "browser": "pages in a browser",
}


def counts(root: Path, pages: set[str]) -> Iterator[tuple[str, int]]:
    """Yield what is counted, and how many there are."""
    cells = [cell for page in sorted(pages) for cell in cells_of(root / page)]
    texts = [text for kind, text in cells if kind == "markdown"]
    yield "equations with a label, each evaluated by a test", sum(len(LABELLED.findall(text)) for text in texts)
    yield "equations that are steps of one of these", sum(len(STEP.findall(text)) for text in texts)
    yield "code cells that are run again", sum(kind == "code" for kind, _ in cells)
    for folder, about in KINDS.items():
        yield f"test functions about {about}", test_functions(root / "tests" / folder)
    listed = states()
    yield "claims in the ledger", len(listed)
    yield "of them with a recorded verdict", sum(state.answer != NOT_RUN for state in listed)
    yield (
        "fewest seeds of a claim that chance has a part in",
        min(state.claim.seeds for state in listed if state.claim.seeds),
    )
    exercises = list_exercises()
    yield "exercises", len(exercises)
    yield "mistakes that their graders name", sum(len(exercise.faults) for exercise in exercises)
    yield "wrong functions that ran, and that the graders refused", wrong_functions()


def cells_of(page: Path) -> list[tuple[str, str]]:
    """Return the kind and the text of the cells of a page, which may be Markdown as a whole."""
    notebook = page.with_suffix(".ipynb")
    if not notebook.exists():
        return [("markdown", page.with_suffix(".md").read_text(encoding="utf-8"))]
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"])) for cell in cells]


@cache
def test_functions(folder: Path) -> int:
    """Count the functions that pytest collects; most of them run on many inputs."""
    return sum(len(TEST.findall(path.read_text(encoding="utf-8"))) for path in folder.rglob("test_*.py"))


def wrong_functions() -> int:
    """Count those of the recorded trial that ran and were not the solution in other words."""
    matrices = results.load("diagnosis").outcome["matrices"]
    rows = [row for matrix in matrices.values() for row in matrix.values()]
    return sum(count for row in rows for outcome, count in row.items() if outcome not in ("equivalent", "did not run"))


def write_page(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the table into the page's source."""
    if page == PAGE:
        rows = [f"| {what} | {number} |" for what, number in counts(Path(app.srcdir), app.env.found_docs)]
        table = "\n".join(["| what | how many |", "|---|---:|", *rows])
        source[0] = source[0].replace(COUNTS, table)


def read_again(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Write the page anew at each build: its source does not show when what it counts has changed."""
    return [PAGE] if PAGE in env.found_docs else []


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", write_page)
    app.connect("env-get-outdated", read_again)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
