"""The recipes of CONTRIBUTING.md are followed here, in a copy of the repository; what they name is there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import bncourse

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MADE = ROOT / "tests" / "recipes"
NEW = ("my_", "6_my", "test_my")

QUESTIONS = "## Questions\n\nDecide first, then open your answer.\n" + "".join(
    f"\n**{number}. What is the mean of {value} and {value}?**\n\n"
    + "".join(
        f":::{{dropdown}} {answer}\n**{'Right' if answer == value else 'No'}.** A mean lies between the least and the "
        f"greatest of the numbers, here {value} and {value}, and {answer} was to be compared with these.\n:::\n\n"
        for answer in range(first, first + 3)
    )
    for number, value, first in ((1, 4, 4), (2, 7, 6), (3, 9, 7))
)


def recipe(title: str) -> str:
    """The section of a recipe."""
    return re.search(rf"^### {title}\n(.*?)(?=^#|^Code is under)", TEXT, re.MULTILINE | re.DOTALL)[1]


def commands(title: str) -> list[list[str]]:
    (block,) = re.findall(r"```bash\n(.*?)```", recipe(title), re.DOTALL)
    return [shlex.split(line) for line in block.strip().splitlines()]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What the recipes change and run, as if just cloned."""
    for name in ("bncourse", "tests", "scripts", "book"):
        ignored = shutil.ignore_patterns("__pycache__", "_build", ".ipynb_checkpoints")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    return tmp_path


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{path.name} has {text.count(before)} times: {before}"
    path.write_text(text.replace(before, after), encoding="utf-8")


def follow(title: str, folder: Path) -> list[str]:
    """Run a recipe's commands in the copy; what each printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "BNCOURSE_DATA": str(folder / "data")}
    printed = []
    for program, *arguments in commands(title):
        name = Path(program).name
        start = {
            "pytest": ["-m", "pytest", "-q", "-p", "no:cacheprovider"],
            "bncourse": ["-m", "bncourse"],
            "python": [],
        }
        command = [sys.executable, *start[name], *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (
            f"{shlex.join([program, *arguments])}\n{done.stdout[-4000:]}\n{done.stderr[-2000:]}"
        )
        printed.append(done.stdout)
    return printed


# What they name -------------------------------------------------------------------------------------------------------


def test_files_and_folders_that_it_names_exist() -> None:
    named = set(re.findall(r"(?<=[`\s(])(?:book|bncourse|tests|scripts)/[\w./]+\w/?", TEXT))
    assert {"bncourse/ledger/registry.py", "tests/exercises/bank.py"} <= named
    missing = [name for name in named if not (ROOT / name).exists() and not any(new in name for new in NEW)]
    assert missing == []


def test_make_targets_that_it_names_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)(?=[`\s])", re.sub(r"make \.venv", "", TEXT))) & {"check", "test"} <= targets
    assert set(re.findall(r"`make ([a-z]+)`", TEXT)) <= targets


def test_the_citation_is_of_this_version_and_names_nobody() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == bncourse.__version__
    assert citation["authors"] == [{"name": "the bncourse authors"}]
    # A fork would cite somebody else's: the address is that of the repository that the file is read in.
    assert not citation.keys() & {"repository-code", "repository", "url"}


# The recipes ----------------------------------------------------------------------------------------------------------


def test_a_new_chapter(copy: Path) -> None:
    page = copy / "book" / "1_transform" / "6_my_chapter.ipynb"
    cells = [
        new_markdown_cell("(ch-my-chapter)=\n# 1.6 My chapter\n\nWhat is a mean?", id="title"),
        new_code_cell("from bncourse.reference import welford\n\nprint(welford([1.0, 3.0]).mean)", id="mean"),
        new_markdown_cell(QUESTIONS, id="questions"),
        new_markdown_cell("## Summary\n\nA mean lies in the middle.", id="end"),
    ]
    nbformat.write(new_notebook(cells=cells), page)
    line = "      - file: book/1_transform/5_training_and_inference\n"
    edit(copy / "_toc.yml", line, f"{line}      - file: book/1_transform/6_my_chapter\n")
    row = "| 2.1 The graph, node by node |"
    edit(copy / "README.md", row, f"| 1.6 | [it](book/1_transform/6_my_chapter.ipynb) | `bncourse.reference` |\n{row}")
    _, rules, _ = follow("A new chapter", copy)
    assert nbformat.read(page, as_version=4).cells[1].outputs[0].text == "2.0\n"
    assert int(re.search(r"(\d+) passed", rules)[1]) > 10


def test_a_new_exercise(copy: Path) -> None:
    """It is the one that the recipe starts from, under another name."""
    tasks, tests = copy / "bncourse" / "exercises" / "tasks", copy / "tests" / "exercises"
    shutil.copy(tasks / "bn_forward.py", tasks / "my_exercise.py")
    edit(tasks / "my_exercise.py", 'id="bn_forward"', 'id="my_exercise"')
    shutil.copy(tests / "forward_mistakes.py", tests / "my_mistakes.py")
    edit(tests / "bank.py", "    find_the_fault,\n]", "    find_the_fault,\n    my_exercise,\n]")
    edit(tests / "bank.py", "    missing_mask,\n    norm_axes,", "    missing_mask,\n    my_exercise,\n    norm_axes,")
    imports = "    merge_mistakes,\n    placement_mistakes,"
    edit(tests / "test_mistakes.py", imports, f"    my_mistakes,\n{imports}")
    edit(tests / "test_mistakes.py", "    fault_mistakes,\n)\nif", "    fault_mistakes,\n    my_mistakes,\n)\nif")
    edit(
        tests / "test_alternatives.py",
        "    bn_forward.id: FORWARD,\n",
        "    bn_forward.id: FORWARD,\n    'my_exercise': FORWARD,\n",
    )
    page = copy / "book" / "1_transform" / "exercises.ipynb"
    notebook = nbformat.read(page, as_version=4)
    notebook.cells += exercise_cells(copy)
    nbformat.write(notebook, page)
    _, checked = follow("A new exercise", copy)
    assert int(re.search(r"(\d+) passed", checked)[1]) > 40


def exercise_cells(copy: Path) -> list[nbformat.NotebookNode]:
    """The four cells of a page, with what the package prints."""
    code = "from bncourse.exercises import my_exercise as e; print(e.statement, end='\\0'); e.starter()"
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env=environment, cwd=copy, capture_output=True, text=True, check=True)
    statement, starter = run.stdout.removesuffix("\n").split("\0")
    head = f"(ex-my-exercise)=\n## my_exercise: the transform\n\n{statement}"
    check = "from bncourse.exercises import my_exercise\n\nmy_exercise.check(batch_norm_forward)"
    return [
        new_markdown_cell(head, id="my-exercise"),
        new_code_cell(starter, id="my-exercise-starter"),
        new_code_cell(check, id="my-exercise-check"),
        new_markdown_cell("`my_exercise.hint()` and `my_exercise.solution()` help.", id="my-exercise-help"),
    ]


def test_a_new_claim(copy: Path) -> None:
    shutil.copy(MADE / "my_claim.py", copy / "bncourse" / "ledger" / "entries")
    registry = copy / "bncourse" / "ledger" / "registry.py"
    edit(
        registry,
        "initialization, placement, regularization, transform\n",
        "initialization, my_claim, placement, regularization, transform\n",
    )
    edit(registry, "placement)\n", "placement, my_claim)\n")
    shutil.copy(MADE / "my_experiment.py", copy / "bncourse" / "experiments")
    ran, checked, listed, tested = follow("A new claim", copy)
    assert "C26" in ran
    assert (copy / "bncourse" / "results" / "my_experiment.json").exists()
    assert "ok   C26" in checked
    assert re.search(r"^C26 +the layer's output has a variance below one +supported +1\.2$", listed, re.MULTILINE)
    assert "2 passed" in tested


def test_a_new_kernel(copy: Path) -> None:
    if find_spec("triton") is None:
        pytest.skip("no Triton here: pip install 'bncourse[kernels]' (Linux only)")
    shutil.copy(MADE / "my_kernel.py", copy / "bncourse" / "kernels")
    tests = copy / "tests" / "kernels"
    shutil.copy(MADE / "my_kernel_interpreted.py", tests / "interpreted" / "test_my_kernel.py")
    shutil.copy(MADE / "my_kernel_compiled.py", tests / "test_my_kernel_compiled.py")
    interpreted, compiled = follow("A new kernel", copy)
    assert "1 passed" in interpreted
    assert "2 passed" in compiled


def test_a_recipe_whose_file_is_forgotten_fails(copy: Path) -> None:
    """Catches commands that pass whatever was made: here a claim that the registry does not name."""
    shutil.copy(MADE / "my_experiment.py", copy / "bncourse" / "experiments")
    with pytest.raises(AssertionError, match="no claim C26"):
        follow("A new claim", copy)
