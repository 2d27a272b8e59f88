"""Fresh environments, and the export as a stranger to this repository would get it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]


class Environment:
    """A virtual environment of its own, with nothing of this one in it."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        self.scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")

    def run(self, *command: str, cwd: Path) -> str:
        """Run one of its programs away from the repository; the output, which a failure shows."""
        # One thread, as everywhere in the tests: with more, the small networks of the chapters train more slowly.
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        program = [str(self.scripts / command[0]), *command[1:]]
        result = subprocess.run(program, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
        return result.stdout

    def install(self, *requirements: str, cwd: Path) -> None:
        self.run("python", "-m", "pip", "install", "--quiet", *requirements, cwd=cwd)

    def installed(self, cwd: Path) -> dict[str, str]:
        """Name and version of each distribution."""
        lines = self.run("python", "-m", "pip", "list", "--format=freeze", cwd=cwd).split()
        return dict(line.split("==") for line in lines)


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
