"""Fresh environments, and the export as a stranger to this repository would get it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]

EVERY = bool(os.environ.get("BNCOURSE_TEST_EVERY_NOTEBOOK"))
"""Whether to run all notebooks, as once a week: `make test` runs each in the development environment anyway."""


class Environment:
    """A virtual environment of its own, with nothing of this one in it. It is filled by uv, several times faster."""

    def __init__(self, folder: Path) -> None:
        from uv import find_uv_bin

        self.uv = find_uv_bin()
        # With pip, for the notebooks' first cells.
        subprocess.run([self.uv, "venv", "--quiet", "--seed", "--python", sys.executable, str(folder)], check=True)
        self.scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")

    def run(self, *command: str, cwd: Path) -> str:
        """Run one of its programs; the output, which a failure shows."""
        # One thread, as everywhere in the tests: with more, the small networks of the chapters train more slowly.
        return checked([str(self.scripts / command[0]), *command[1:]], cwd, {"OMP_NUM_THREADS": "1"})

    def install(self, *requirements: str, cwd: Path) -> None:
        python = str(self.scripts / "python")
        # A folder of wheels, where a machine has one, is known to pip only.
        wheels = {"UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", "")}
        checked([self.uv, "pip", "install", "--quiet", "--python", python, *requirements], cwd, wheels)

    def installed(self, cwd: Path) -> dict[str, str]:
        """Name and version of each distribution."""
        lines = self.run("python", "-m", "pip", "list", "--format=freeze", cwd=cwd).split()
        return dict(line.split("==") for line in lines)

    def execute(self, notebooks: list[Path]) -> None:
        """Run notebooks where they lie; each must print what is stored in it."""
        stored = {path: printed(path) for path in notebooks}
        for path in notebooks:
            self.run("jupyter", "execute", "--inplace", "--timeout=240", path.name, cwd=path.parent)
            assert printed(path) == stored[path], path.name


def checked(command: list[str], cwd: Path, variables: dict[str, str]) -> str:
    """The output of a command, which must succeed, away from this repository's package."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(command, cwd=cwd, env=own | variables, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return result.stdout


def printed(path: Path) -> dict[str, str]:
    """What each cell printed, but for those whose output differs between machines.

    Without a library that they need, some chapters print that they skip their cells: this would be seen.
    """
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return {
        cell.id: "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
        for cell in cells
        if "nbval-ignore-output" not in cell.metadata.get("tags", [])
    }


def export_to(folder: Path) -> Path:
    """The export, made for an unknown repository, so that the notebooks install the wheel beside them."""
    code = "import sys; sys.path.insert(0, 'scripts'); import export_notebooks as e; e.export(e.ROOT, None)"
    with FileLock(ROOT / "_build" / "tests.lock"):
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
        shutil.copytree(ROOT / "_build" / "export", folder / "export")
    return folder / "export"


def locked(name: str) -> str:
    """The requirement for ``name`` as the lock pins it."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return next(line.split(" ;")[0] for line in lines if line.startswith(f"{name}=="))
