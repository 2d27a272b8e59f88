"""The archive works in a tree laid out as on Gradescope, with either wall, and writes what is documented there."""

import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from bncourse import cli
from bncourse.exercises import bn_forward, inference_kernel, merge
from bncourse.exercises.grading import gradescope
from tests.exercises.forward_mistakes import beta_missing
from tests.exercises.grading.hostile import CHECK, HOSTILE, NAME, ZEROS
from tests.exercises.grading.notebooks import completed, mistaken, notebook, untouched

pytestmark = pytest.mark.slow

VISIBILITY = {"enum": ["hidden", "after_due_date", "after_published", "visible"]}
FORMAT = {"enum": ["text", "simple_format", "html", "md", "ansi"]}
# The fields and values that the platform's documentation names, and no others.
SCHEMA = {
    "type": "object",
    "anyOf": [{"required": ["score"]}, {"required": ["tests"]}],
    "additionalProperties": False,
    "properties": {
        "score": {"type": "number"},
        "execution_time": {"type": "integer"},
        "output": {"type": "string"},
        "output_format": FORMAT,
        "test_output_format": FORMAT,
        "test_name_format": FORMAT,
        "visibility": VISIBILITY,
        "stdout_visibility": VISIBILITY,
        "extra_data": {"type": "object"},
        "leaderboard": {"type": "array"},
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "score": {"type": "number"},
                    "max_score": {"type": "number"},
                    "status": {"enum": ["passed", "failed"]},
                    "name": {"type": "string"},
                    "name_format": FORMAT,
                    "number": {"type": "string"},
                    "output": {"type": "string"},
                    "output_format": FORMAT,
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "visibility": VISIBILITY,
                    "extra_data": {"type": "object"},
                },
            },
        },
    },
}
# What a submission would have to find or change there, tried from inside.
READS = [
    "import glob, os\n"
    "opened = []\n"
    "for path in ['/autograder/source/settings.json', '/autograder/submission_metadata.json',\n"
    "             *glob.glob('/autograder/environment/lib/python3*/site-packages/bncourse/exercises/tasks/*.py'),\n"
    "             *glob.glob('/autograder/source/bncourse/exercises/tasks/*.py')]:\n"
    "    try:\n"
    "        opened.append(open(path).read())\n"
    "    except OSError:\n"
    "        pass\n"
    "try:\n"
    "    open('/autograder/results/results.json', 'w').write('{\"score\": 100}')\n"
    "    opened.append('results')\n"
    "except OSError:\n"
    "    pass",
    f"import numpy as np\ndef {NAME}(x, gamma, beta, eps):\n"
    "    if not opened: return np.zeros(x.shape)\n"
    "    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta",
    CHECK,
]
SUBMISSIONS = {
    "right": (completed(bn_forward, merge), 2),
    "wrong": (mistaken(bn_forward, beta_missing), 0),
    "unfinished": (untouched(bn_forward, merge), 0),
    "hard exit": (HOSTILE["hard exit in a cell"], 0),
    "endless loop": (HOSTILE["endless loop that swallows its alarm"], 0),
    "memory bomb": (HOSTILE["memory bomb"], 0),
    "fork bomb": (HOSTILE["fork bomb by system call"], 0),
    "network": (HOSTILE["network"], 0),
    "more rights": (HOSTILE["more rights"], 0),
    "killing everybody": (HOSTILE["killing everybody"], 0),
    "reads the answers, writes the result": (READS, 0),
    "forged": (HOSTILE["forged verdict"], 0),
    "imposter": ([ZEROS, CHECK], 0),
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "autograder.zip"
    arguments = ["grade", "--export", "gradescope", "-o", str(path), "-e", "bn_forward", "-e", "merge"]
    run = CliRunner().invoke(cli.app, [*arguments, "--time-limit", "5"])
    assert run.exit_code == 0, run.output
    return path


def lay_out(folder, archive):
    """The tree as the platform makes it: the archive unpacked under source, run_autograder copied beside it."""
    for name in ("source", "submission", "results"):
        (folder / name).mkdir(parents=True)
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            path = Path(file.extract(member, folder / "source"))
            path.chmod(member.external_attr >> 16 & 0o777)
    shutil.copy(folder / "source" / "run_autograder", folder / "run_autograder")
    (folder / "submission_metadata.json").write_text('{"users": [{"email": "one@example.edu"}]}')


def inside(folder, command, hide=()):
    """Run a command where ``folder`` is /autograder and all else is the machine, read-only."""
    walls = ["bwrap", "--die-with-parent", "--unshare-pid", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]
    if os.geteuid() != 0:
        walls += ["--unshare-user"]
    for path in sorted(Path("/").iterdir()):
        if path.is_symlink():
            walls += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir() and path.name not in {"dev", "proc", "tmp", "autograder", "lost+found"}:
            walls += ["--ro-bind", str(path), str(path)]
    walls += ["--bind", str(folder), "/autograder", "--chdir", "/autograder"]
    for path in hide:
        walls += ["--ro-bind", "/dev/null", path]
    environment = {**os.environ, "PATH": "/usr/bin:/bin"}
    return subprocess.run([*walls, *command], capture_output=True, text=True, env=environment)


def hand_in(folder, **notebooks):
    for path in (folder / "submission").iterdir():
        path.unlink()
    for name, content in notebooks.items():
        (folder / "submission" / f"{name}.ipynb").write_bytes(content)


def grade_there(folder, cells, hide=()):
    """Hand in these cells and run the autograder; what it wrote, checked against the schema."""
    hand_in(folder, homework=notebook(*cells))
    run = inside(folder, ["./run_autograder"], hide)
    assert run.returncode == 0, run.stdout + run.stderr
    results = json.loads((folder / "results" / "results.json").read_text())
    jsonschema.validate(results, SCHEMA)
    return results


def test_the_archive_is_laid_out_as_documented(archive):
    with zipfile.ZipFile(archive) as file:
        names = file.namelist()
        assert {"setup.sh", "run_autograder"} <= set(names), "at the root of the archive"
        modes = {member.filename: member.external_attr >> 16 for member in file.infolist()}
        assert stat.S_IMODE(modes["run_autograder"]) == stat.S_IMODE(modes["setup.sh"]) == 0o755
        for script in ("setup.sh", "run_autograder"):
            subprocess.run(["bash", "-n"], input=file.read(script), check=True)
        requirements = file.read("requirements.txt").decode().split()
        assert all("==" in line for line in requirements)
    assert not any("__pycache__" in name or "results/" in name or name.startswith("/") for name in names)


def test_two_exports_are_the_same_bytes(archive, tmp_path):
    gradescope.export(tmp_path / "again.zip", [bn_forward, merge], 5.0)
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_an_archive_with_kernels_asks_for_triton_and_not_for_torch(tmp_path):
    pytest.importorskip("triton")
    gradescope.export(tmp_path / "kernels.zip", [bn_forward, inference_kernel], 5.0)
    with zipfile.ZipFile(tmp_path / "kernels.zip") as file:
        names = {line.split("==")[0] for line in file.read("requirements.txt").decode().split()}
    assert names == {"numpy", "jaxtyping", "triton"}


def test_what_is_in_the_archive_is_enough(archive, tmp_path):
    """Catches a module that the grader imports and the archive lacks: nothing else of the package is in reach."""
    lay_out(tmp_path / "autograder", archive)
    program = (
        "import sys; import bncourse.exercises.grading.gradescope; from bncourse.exercises import list_exercises; "
        "list_exercises(); print({name.split('.')[0] for name in sys.modules} & {'rich', 'typer', 'torch', 'pandas'}); "
        "print(sys.modules['bncourse'].__file__)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "autograder" / "source")}
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd=tmp_path, check=True
    )
    loaded, where = run.stdout.splitlines()
    assert loaded == "set()"
    assert where.startswith(str(tmp_path))


def test_the_command_takes_a_folder_or_a_platform(tmp_path):
    runner = CliRunner()
    for arguments in ([], [str(tmp_path), "--export", "gradescope"]):
        run = runner.invoke(cli.app, ["grade", *arguments])
        assert run.exit_code == 2
        assert "either a folder of SUBMISSIONS or --export" in run.output
    run = runner.invoke(cli.app, ["grade", "--export", "moodle", "-o", str(tmp_path / "a.zip")])
    assert run.exit_code == 2
    assert "expected --export gradescope" in run.output
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def installed(archive, tmp_path_factory):
    """The tree after setup.sh ran in it, with the machine's own Python, as on the platform."""
    python = shutil.which("python3", path="/usr/bin:/bin")
    ready = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
    if python is None or subprocess.run([python, "-c", ready]).returncode:
        pytest.skip("the machine's own Python is older than 3.11, or has no venv")
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    folder = tmp_path_factory.mktemp("gradescope") / "autograder"
    lay_out(folder, archive)
    run = inside(folder, ["bash", "/autograder/source/setup.sh"])
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


# Without bubblewrap the wall is an unprivileged user, which only root can become.
WALLS = {"bubblewrap": (), "user": ("/usr/bin/bwrap",)}


@pytest.mark.install
@pytest.mark.parametrize("wall", WALLS)
@pytest.mark.parametrize("kind", SUBMISSIONS)
def test_each_submission_gets_its_mark(kind, wall, installed):
    if wall == "user" and os.geteuid() != 0:
        pytest.skip("only root can become another user")
    cells, score = SUBMISSIONS[kind]
    results = grade_there(installed, cells, WALLS[wall])
    assert [test["max_score"] for test in results["tests"]] == [1, 1]
    assert sum(test["score"] for test in results["tests"]) == score
    assert [test["status"] for test in results["tests"]] == ["passed" if score else "failed"] * 2


@pytest.mark.install
def test_a_mistake_is_named_there_too(installed):
    forward, _ = grade_there(installed, mistaken(bn_forward, beta_missing))["tests"]
    assert forward["name"].startswith("bn_forward: ")
    assert "beta is missing" in forward["output"]
    assert forward["extra_data"] == {"outcome": "failed", "mistakes": ["beta_missing"]}


@pytest.mark.install
def test_one_notebook_is_wanted(installed):
    for count in (0, 2):
        hand_in(installed, **{f"part{number}": notebook(*completed(bn_forward)) for number in range(count)})
        assert inside(installed, ["./run_autograder"]).returncode == 0
        results = json.loads((installed / "results" / "results.json").read_text())
        jsonschema.validate(results, SCHEMA)
        assert f"there are {count}" in results["output"]
        assert sum(test["score"] for test in results["tests"]) == 0


@pytest.mark.install
def test_without_a_wall_there_is_no_mark(installed):
    """Catches a grader that goes on, or gives a zero, where it cannot protect itself: the answers are readable here."""
    hand_in(installed, homework=notebook(*completed(bn_forward)))
    (package,) = installed.glob("environment/lib/python3*/site-packages/bncourse")
    (installed / "results" / "results.json").write_text('{"score": 1}')
    closed = [path for path in (package, *package.rglob("*")) if path.is_dir() or path.suffix == ".py"]
    for path in closed:
        path.chmod(0o755)
    try:
        run = inside(installed, ["./run_autograder"], WALLS["user"])
    finally:
        for path in closed:
            path.chmod(0o700)
    assert run.returncode != 0
    assert "Nothing was graded" in run.stderr
    assert not (installed / "results" / "results.json").exists()
