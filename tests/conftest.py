"""Settings that every test shares, and the built book."""

import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock

# There is a test process for each core: with more threads than one they wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The first example of a test may import torch, and machines differ: time is no verdict here. Derandomized, so that a
# run can be repeated.
hypothesis.settings.register_profile("course", deadline=None, derandomize=True)
hypothesis.settings.load_profile("course")


ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow files first, for ``pytest --no-loadscope-reorder``.

    A file goes to one worker; the last of the long ones would run on alone.
    """
    items.sort(key=lambda item: not (item.get_closest_marker("slow") or item.get_closest_marker("browser")))


def newest(*patterns: str) -> float:
    """Return when the newest of the files that match was written."""
    return max(path.stat().st_mtime for pattern in patterns for path in ROOT.glob(pattern) if path.is_file())


@pytest.fixture(scope="session")
def built_book() -> Path:
    """The book's site, ``_build/html``, built first where it is missing or older than what it is made of."""
    site, finished = ROOT / "_build" / "html", ROOT / "_build" / "references.json"
    finished.parent.mkdir(exist_ok=True)
    with FileLock(ROOT / "_build" / "tests.lock"):  # workers that run beside each other build once
        sources = newest(
            "_config.yml", "_toc.yml", "references.bib", "book/**/[!.]*", "bncourse/**/*.py", "bncourse/results/*.json"
        )
        if not finished.exists() or finished.stat().st_mtime < sources:
            program = str(Path(sys.executable).parent / "jupyter-book")
            command = [program, "build", str(ROOT), "--warningiserror", "--keep-going", "--quiet"]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode:
                pytest.fail(f"the book does not build:\n{result.stderr[-4000:]}", pytrace=False)
    return site
