"""The wheel with its core dependencies alone: exercises check and classes are graded, from any folder."""

import csv
import os
import shutil

import pytest

from bncourse.exercises import bn_forward, list_exercises
from tests.book.installs import Environment, export_to
from tests.exercises.forward_mistakes import beta_missing
from tests.exercises.grading.hostile import HOSTILE
from tests.exercises.grading.notebooks import completed, mistaken, notebook, solution

pytestmark = [pytest.mark.slow, pytest.mark.install]


@pytest.fixture(scope="module")
def bare(built_book, tmp_path_factory):
    """An environment of its own with the built wheel, and a folder far from the repository."""
    folder = tmp_path_factory.mktemp("bare")
    (wheel,) = export_to(folder).glob("*.whl")
    environment = Environment(folder / "environment")
    environment.install(str(wheel), cwd=folder)
    assert not {"torch", "matplotlib", "scipy", "ipython"} & set(environment.installed(folder))
    (folder / "somewhere" / "else").mkdir(parents=True)
    return environment, folder / "somewhere" / "else"


def test_every_exercise_checks_twice_and_in_any_order(bare):
    environment, folder = bare
    lines = ["from bncourse.exercises import list_exercises", "outcomes = []"]
    exercises = [exercise for exercise in list_exercises() if not exercise.kernels]
    for exercise in [*exercises, *reversed(exercises)]:
        lines += [
            solution(exercise),
            f"from bncourse.exercises import {exercise.id}",
            f"outcomes.append({exercise.id}.check({', '.join(exercise.function_names)}).outcome)",
        ]
    lines.append("print(set(outcomes), len(outcomes), sum(not exercise.kernels for exercise in list_exercises()))")
    (folder / "all.py").write_text("\n".join(lines))
    said = environment.run("python", "all.py", cwd=folder)
    assert said.splitlines()[-1] == f"{{'passed'}} {2 * len(exercises)} {len(exercises)}"


def test_a_check_of_a_kernel_says_what_is_missing(bare):
    environment, folder = bare
    said = environment.run(
        "python", "-c", "from bncourse.exercises import inference_kernel as e; e.check(print)", cwd=folder
    )
    assert "pip install 'bncourse[kernels]'" in said


def test_a_class_is_graded_and_the_installed_answers_are_out_of_reach(bare):
    """Catches a sandbox that shows the installed packages with this one among them."""
    if shutil.which("bwrap") is None and not os.environ.get("CI"):
        pytest.skip("bubblewrap is not installed")
    environment, folder = bare
    (folder / "class").mkdir()
    search = [
        "import os, sys\n"
        "found = [os.path.join(folder, name) for root in {*sys.path, '/'} for folder, _, files in os.walk(root)\n"
        "         for name in files if name.startswith('bn_forward.')]",
        f"def {bn_forward.solution_function.__name__}(x, gamma, beta, eps):\n    raise ValueError(f'found {{found}}')",
    ]
    submissions = {
        "right": completed(bn_forward),
        "wrong": mistaken(bn_forward, beta_missing),
        "reads the files": HOSTILE["the solution through the file system"],
        "searches": search,
    }
    for name, cells in submissions.items():
        (folder / "class" / f"{name}.ipynb").write_bytes(notebook(*cells))
    # The search goes through every folder that it can see.
    environment.run(
        "bncourse", "grade", "class", "-o", "grades.csv", "-e", "bn_forward", "--time-limit", "60", cwd=folder
    )
    with (folder / "grades.csv").open(encoding="utf-8") as table:
        scores = {row["submission"].removesuffix(".ipynb"): row["score"] for row in csv.DictReader(table)}
    assert scores == {"right": "1", "wrong": "0", "reads the files": "0", "searches": "0"}
    assert "found []" in (folder / "grades-feedback" / "searches.ipynb.html").read_text(encoding="utf-8")
