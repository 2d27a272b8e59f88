"""Tries, from inside the sandbox and after it was confined, to do what no submission may do."""

from __future__ import annotations

import importlib
import mmap
import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

UNREADABLE = "Python's own library cannot be read by an unprivileged user"


def holes(hidden: Sequence[str], memory: int) -> list[str]:
    """What could be done and must not be; empty if the walls stand.

    Parameters
    ----------
    hidden : files that must not be readable here, and beside which nothing may be written.
    memory : bytes that this process may have.
    """
    found = [f"{path} can be read" for path in hidden if _succeeds(Path(path).read_bytes)]
    folders = [
        "/",
        "/usr/lib",
        "/dev",
        "/etc",
        "/home",
        "/root",
        *{str(Path(path).parent) for path in [__file__, *hidden]},
    ]
    found += [f"a file can be written in {folder}" for folder in folders if _succeeds(partial(_write, folder))]
    attempts: dict[str, Callable[[], object]] = {
        "a process can be started": _fork,
        "a program can be started": lambda: os.execv("/usr/bin/env", ["env"]),
        "a network connection can be opened": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "more memory than allowed can be taken": lambda: mmap.mmap(-1, memory),
        "the package's answers can be imported": lambda: importlib.import_module("bncourse.reference"),
        "the process is still privileged": lambda: os.setuid(0),
    }
    found += [name for name, act in attempts.items() if _succeeds(act)]
    # A wall may also be too high: the unprivileged user must still be able to read Python's own library.
    if not _succeeds(partial(importlib.import_module, "colorsys")):
        found.append(UNREADABLE)
    return found


def _succeeds(act: Callable[[], object]) -> bool:
    try:
        act()
    except (OSError, ImportError, MemoryError, ValueError):
        return False
    return True


def _write(folder: str) -> None:
    path = Path(folder) / "bncourse-was-here"
    path.write_bytes(b"")
    path.unlink()


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)
