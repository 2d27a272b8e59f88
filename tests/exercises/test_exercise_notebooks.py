"""The exercise pages hold what the package generates, and completing a cell earns a pass."""

import copy
import json
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from bncourse.exercises import list_exercises
from bncourse.exercises.source import solution_source, starter_source
from tests.exercises.backward_mistakes import parts
from tests.exercises.forward_mistakes import beta_missing

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "book").glob("*/exercises.ipynb"))
EXERCISES = list_exercises()


def cells_of(exercise):
    """The notebook of an exercise, and its cells by the part of the id that follows the exercise's name."""
    name = exercise.id.replace("_", "-")
    for page in PAGES:
        notebook = nbformat.read(page, as_version=4)
        cells = {cell.id.removeprefix(name): cell for cell in notebook.cells if cell.id.startswith(name)}
        if cells:
            return notebook, cells
    raise AssertionError(f"no exercise page has cells named {name}")


def execute(notebook, tmp_path):
    """Run a copy of the notebook in a kernel; the data of every display of its check cells, by cell id."""
    notebook = copy.deepcopy(notebook)
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_the_page_holds_the_statement_the_starter_and_the_label(exercise):
    """Catches a starter edited by hand in the notebook, or a statement that changed in one place only."""
    _, cells = cells_of(exercise)
    assert cells["-starter"].source == exercise.starter()
    assert exercise.statement in cells[""].source
    assert cells[""].source.startswith(f"(ex-{exercise.id.replace('_', '-')})=\n## {exercise.id}: ")
    assert f"{exercise.id}.check({', '.join(exercise.function_names)})" in cells["-check"].source
    assert f"`{exercise.id}.hint()`" in cells["-help"].source
    assert f"`{exercise.id}.solution()`" in cells["-help"].source


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_the_page_does_not_give_the_solution_away(exercise):
    notebook, _ = cells_of(exercise)
    text = json.dumps(notebook)
    body = exercise.solution().split('    """\n', 1)[1]
    # What a starter hands out, in code or in words, is no secret: this one's, or that of a kernel to be repaired.
    given = {line.strip() for other in EXERCISES for line in starter_source(other).splitlines()}
    for line in body.splitlines():
        if line.strip() in given:
            continue
        if line.startswith("    ") and len(line) > 30:
            assert line.strip() not in text


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_a_reader_who_completes_the_cell_gets_a_pass(exercise, tmp_path, progress_folder):
    if exercise.kernels and find_spec("triton") is None:
        pytest.skip("no Triton here: pip install 'bncourse[kernels]' (Linux only)")
    notebook, cells = cells_of(exercise)
    starter = cells["-starter"]
    next(cell for cell in notebook.cells if cell.id == starter.id).source = str(exercise.solution())
    outputs = execute(notebook, tmp_path)[cells["-check"].id]
    assert [output.output_type for output in outputs] == ["display_data"], "one display, no text beside it"
    data = outputs[0].data
    assert data["text/plain"].startswith(f"{exercise.id}: passed")
    assert "<table" in data["text/html"]
    states = json.loads((progress_folder / "progress.json").read_text())["exercises"]
    assert states == {exercise.id: "passed"}


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_the_stored_check_says_not_attempted(exercise):
    _, cells = cells_of(exercise)
    (output,) = cells["-check"].outputs
    assert output.data["text/plain"].startswith(f"{exercise.id}: not attempted")


def test_a_mistake_and_an_exception_in_a_real_kernel(tmp_path):
    """Catches a verdict shown twice where the check is the cell's last value, and a line number that is lost there."""
    import inspect

    wrong = inspect.getsource(beta_missing)
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(f"import numpy as np\n{wrong}", id="wrong"),
            nbformat.v4.new_code_cell(
                "from bncourse.exercises import bn_forward\nresult = bn_forward.check(beta_missing)\nresult", id="check"
            ),
            nbformat.v4.new_code_cell("result", id="again"),
            nbformat.v4.new_code_cell("def broken(x, gamma, beta, eps):\n    return x @ x", id="broken"),
            nbformat.v4.new_code_cell("bn_forward.check(broken);", id="check-broken"),
            nbformat.v4.new_code_cell("bn_forward.hint(1)", id="hint"),
        ]
    )
    outputs = execute(notebook, tmp_path)
    assert [output.output_type for output in outputs["check"]] == ["display_data"]
    assert "beta is missing" in outputs["check"][0].data["text/html"]
    assert len(outputs["again"]) == 1
    (broken,) = outputs["check-broken"]
    assert 'line 2: <code style="color: inherit">return x @ x</code>' in broken.data["text/html"]
    assert [output.output_type for output in outputs["hint"]] == ["stream"]


def test_cells_run_twice_and_out_of_order_in_a_real_kernel(tmp_path):
    """A check before its function is an ordinary NameError; after it, the verdict is of the function as it is now."""
    exercise = EXERCISES[0]
    name = exercise.solution_function.__name__
    check = f"from bncourse.exercises import {exercise.id}\n\n{exercise.id}.check({name});"
    cells = [
        ("early", check),
        ("starter", starter_source(exercise)),
        ("unwritten", check),
        ("solution", solution_source(exercise)),
        ("right", check),
        ("again", check),
        ("back", starter_source(exercise)),
        ("undone", check),
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source, id=id) for id, source in cells])
    notebook.cells[0].metadata["tags"] = ["raises-exception"]
    outputs = execute(notebook, tmp_path)
    assert outputs["early"][0].ename == "NameError"
    said = {id: outputs[id][0].data["text/plain"].splitlines()[0] for id in ("unwritten", "right", "again", "undone")}
    assert said == {
        "unwritten": f"{exercise.id}: not attempted",
        "right": f"{exercise.id}: passed",
        "again": f"{exercise.id}: passed",
        "undone": f"{exercise.id}: not attempted",
    }


def test_the_easy_checks_that_the_pages_warn_of_are_as_easy_as_they_say():
    """With dy all ones dx is zero, and in a large random batch the variance path hardly matters."""
    import numpy as np

    rng = np.random.default_rng(0)
    x, gamma = rng.normal(3, 2, (4096, 3)), np.array([0.5, 1.5, 2.0])
    x_hat, inv_std = parts(x, 1e-5)
    for dy, error in ((np.ones_like(x), 1e-12), (rng.normal(size=x.shape), 0.1)):
        right = gamma * inv_std * (dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0))
        lazy = gamma * inv_std * (dy - dy.mean(0)) if error > 1e-6 else np.zeros_like(x)
        assert np.linalg.norm(lazy - right) <= error * np.linalg.norm(gamma * inv_std * dy)
