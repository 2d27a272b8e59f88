"""What this machine has of what the course can use, and a remedy for each thing that it has not."""

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Literal, NamedTuple

import bncourse

# What each optional library is for, and the extra that brings it.
LIBRARIES = {
    "torch": ("experiments and layers", "lab"),
    "triton": ("the GPU kernels of part 3", "kernels"),
    "matplotlib": ("figures", "lab"),
    "scipy": ("intervals", "lab"),
    "scikit-learn": ("the digits data", "lab"),
    "pandas": ("tables of results", "lab"),
    "jupyter-book": ("building the book", "book"),
    "nbval": ("re-running the chapters", "test"),
}
# Playwright's driver needs libatomic1, which a bare Debian lacks.
INSTALL_BROWSER = "sudo apt-get install chromium libatomic1"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Finding(NamedTuple):
    """One thing looked for.

    Attributes
    ----------
    subject : what was looked for.
    state : ``ok``; ``missing``, where some chapters or commands go without it; or ``wrong``, where nothing works.
    found : what there is.
    remedy : what to do about it; empty where ``state`` is ``ok``.
    """

    subject: str
    state: Literal["ok", "missing", "wrong"]
    found: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at everything that the course can use on this machine."""
    return [_python(), *_core(), *_libraries(), *_torch_settings(), _interpreter(), _browser(), _sandbox()]


def report() -> bool:
    """Print what :func:`examine` found as a table; return whether everything works that must."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False)
    for heading in ("looked for", "state", "found", "remedy"):
        table.add_column(heading, overflow="fold")
    findings = examine()
    for finding in findings:
        table.add_row(*map(escape, finding[:4]))
    # A notebook gets plain text, which reads the same wherever the notebook is shown.
    if sys.stdout.isatty():
        console = Console()
    else:
        console = Console(width=86, force_jupyter=False, force_terminal=False, color_system=None)
    console.print(table)
    return not any(finding.state == "wrong" for finding in findings)


def browser() -> str | None:
    """The path of a Chromium or Chrome, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def _python() -> Finding:
    version = platform.python_version()
    wanted = metadata.metadata("bncourse")["Requires-Python"]
    lowest, above = sorted(int(minor) for minor in re.findall(r"3\.(\d+)", wanted))
    if not lowest <= sys.version_info.minor < above:
        return Finding("Python", "wrong", version, f"use a Python {wanted}")
    return Finding("Python", "ok", f"{version} on {platform.system()} {platform.machine()}")


def _core() -> Iterator[Finding]:
    yield Finding("bncourse", "ok", bncourse.__version__)
    yield Finding("numpy", "ok", metadata.version("numpy"))


def _libraries() -> Iterator[Finding]:
    for name, (purpose, extra) in LIBRARIES.items():
        try:
            yield Finding(name, "ok", metadata.version(name))
        except metadata.PackageNotFoundError:
            remedy = f"pip install 'bncourse[{extra}]'"
            if name == "triton" and sys.platform != "linux":
                remedy = "published for Linux only; every other part works without it"
            yield Finding(name, "missing", f"not installed ({purpose})", remedy)


def _torch_settings() -> Iterator[Finding]:
    try:
        import torch
    except ImportError:
        yield Finding("threads", "ok", f"{os.cpu_count()} cores; torch is not installed")
        return
    yield Finding("threads", "ok", f"{torch.get_num_threads()} of torch on {os.cpu_count()} cores")
    if torch.cuda.is_available():
        yield Finding("GPU", "ok", f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}")
    else:
        remedy = "none needed: kernels run in Triton's interpreter, and part 3 shows recorded measurements"
        yield Finding("GPU", "missing", "no CUDA device", remedy)


def _interpreter() -> Finding:
    on = os.environ.get("TRITON_INTERPRET") == "1"
    if _version("triton") < (3, 7) and _version("numpy") >= (2, 4):
        # It makes numbers of arrays with one element, which NumPy has refused since then.
        remedy = "pip install 'triton>=3.7' or 'numpy<2.4'"
        return Finding("Triton's interpreter", "missing", "Triton before 3.7 does not interpret with NumPy 2.4", remedy)
    return Finding("Triton's interpreter", "ok", "on" if on else "off; TRITON_INTERPRET=1 turns it on")


def _version(library: str) -> tuple[int, ...]:
    """The first two numbers of its version; so high that it is in nobody's way if it is not installed."""
    try:
        major, minor = metadata.version(library).split(".")[:2]
    except metadata.PackageNotFoundError:
        return (sys.maxsize,)
    return int(major), int(minor)


def _browser() -> Finding:
    if browser() is None:
        return Finding("browser", "missing", "no Chromium (tests of the built book)", INSTALL_BROWSER)
    return Finding("browser", "ok", "Chromium")


def _sandbox() -> Finding:
    """Bubblewrap may be installed and still be refused the namespaces that it needs, so its walls are tried."""
    purpose = "grading other people's notebooks"
    if sys.platform != "linux":
        return Finding("sandbox", "missing", f"it exists on Linux only ({purpose})", "grade on a Linux machine")
    from bncourse.exercises.grading.sandbox import SandboxError, open_sandbox

    try:
        with open_sandbox(seconds=30, hidden=[]):
            return Finding("sandbox", "ok", "bubblewrap, with walls that hold")
    except SandboxError as error:
        return Finding("sandbox", "missing", f"{error.problem} ({purpose})", error.remedy or "see what it says")
