"""Runs the grader's other half, :mod:`bncourse.exercises.grading.child`, inside walls, and reads what it sends.

Two walls exist. Bubblewrap gives the process a file system of its own, in which nothing exists but Python, its
packages without this one, and the child's few modules; no network; and no other process. The other wall, for a platform
whose container is thrown away after one submission, is an unprivileged user alone. Inside either, the child confines
itself further (:mod:`bncourse.exercises.grading.confine`).
"""

from __future__ import annotations

import compileall
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from io import RawIOBase
from pathlib import Path
from typing import NamedTuple

from bncourse.exercises import attempt, functions, kernel_memory, launching, probe, tasks
from bncourse.exercises.grading import child, confine, notebook, prove, stub, wire

MEMORY = 2**31
LARGEST_ANSWER = 2**23
POLL = 0.1
PROOF_SECONDS = 30
SCRATCH = 2**24
# Where the child's modules and the installed packages are inside the sandbox.
OWN, PACKAGES = "/grader", "/packages"
LIBRARIES = ("/lib", "/lib64", "/lib32")

# The child's package: its own modules under their own names, and a stub for what a submission imports.
MODULES = {
    "bncourse/exercises/__init__.py": stub,
    "bncourse/exercises/attempt.py": attempt,
    "bncourse/exercises/functions.py": functions,
    "bncourse/exercises/kernel_memory.py": kernel_memory,
    "bncourse/exercises/launching.py": launching,
    "bncourse/exercises/probe.py": probe,
    "bncourse/exercises/grading/child.py": child,
    "bncourse/exercises/grading/confine.py": confine,
    "bncourse/exercises/grading/notebook.py": notebook,
    "bncourse/exercises/grading/prove.py": prove,
    "bncourse/exercises/grading/wire.py": wire,
}
EMPTY_MODULES = ("bncourse/__init__.py", "bncourse/exercises/grading/__init__.py")
START = (
    "import sys; sys.path[:0] = [{own!r}]; sys.path += {packages!r}; "
    "from bncourse.exercises.grading.child import main; main({answer})"
)
ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    # The child may have one thread; a library that starts its own at import would fail.
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"),
    "MPLBACKEND": "agg",
    # Kernels are interpreted here, whatever a submission says before it imports Triton.
    "TRITON_INTERPRET": "1",
}
INSTALL_BUBBLEWRAP = "sudo apt-get install bubblewrap"
# Kernel settings that keep namespaces from ordinary programs, each with the value at which it does.
NAMESPACE_SWITCHES = {"kernel.apparmor_restrict_unprivileged_userns": "1", "kernel.unprivileged_userns_clone": "0"}


class SandboxError(RuntimeError):
    """No sandbox can be had on this machine, or one did not start; nothing was run without it.

    Attributes
    ----------
    problem, remedy : what is wrong, and what to do about it, where that is known.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem}. What helps: {remedy}" if remedy else problem)
        self.problem, self.remedy = problem, remedy


class Answer(NamedTuple):
    """What came out of the sandbox.

    Attributes
    ----------
    messages : whole messages, in the order in which they were sent. They may be forged.
    ended : "finished", "time" (it was stopped at the limit), "size" (it sent too much) or "died".
    seconds : how long it took, with starting and stopping.
    """

    messages: tuple[bytes, ...]
    ended: str
    seconds: float


@dataclass
class Sandbox:
    """A way to run submissions, as often as wanted and from several threads. Made by :func:`open_sandbox`.

    Parameters
    ----------
    own : folder with the child's modules.
    bubblewrap : the program, or None where an unprivileged user is the only wall.
    seconds : what one run may take.
    memory : bytes of address space that it may have.
    """

    own: Path
    bubblewrap: str | None
    seconds: float
    memory: int

    def __post_init__(self) -> None:
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End all runs that are under way; each raises :class:`SandboxError`."""
        self._stopped.set()

    def run(self, job: bytes) -> Answer:
        """Give ``job`` to a fresh child and return what it sends, in no more time than the limit.

        Raises
        ------
        SandboxError : if the child does not get as far as to confine itself.
        """
        start = time.monotonic()
        reader, writer = os.pipe()
        jobs = os.memfd_create("job")
        try:
            os.write(jobs, job)
            os.lseek(jobs, 0, os.SEEK_SET)
            process = subprocess.Popen(
                self._command(writer),
                stdin=jobs,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[writer],
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(jobs)
            os.close(writer)
        with os.fdopen(reader, "rb", buffering=0) as answers:
            try:
                stream, ended = self._read(answers, process, start + self.seconds)
            finally:
                errors = _end(process)
        messages = tuple(wire.unframe(stream))
        if not messages:
            silent = "it was silent until the time limit" if ended == "time" else "it ended without a word"
            reason = "it was stopped" if self._stopped.is_set() else errors or silent
            raise SandboxError(f"the sandbox did not start: {reason}")
        return Answer(messages, ended, time.monotonic() - start)

    def _read(self, answers: RawIOBase, process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, str]:
        """Everything that is sent until the end, the deadline, too much, or a stop; and which it was."""
        stream = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(answers, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0 and not self._stopped.is_set():
                if not selector.select(min(POLL, left)):
                    continue
                chunk = answers.read(2**16)
                if not chunk:
                    with suppress(subprocess.TimeoutExpired):
                        return bytes(stream), "finished" if process.wait(timeout=left) == 0 else "died"
                    break
                stream += chunk
                if len(stream) > LARGEST_ANSWER:
                    return bytes(stream), "size"
        return bytes(stream), "time"

    def _command(self, answer: int) -> list[str]:
        own, packages = str(self.own), _package_folders()
        walls: list[str] = []
        if self.bubblewrap is not None:
            walls = [self.bubblewrap, *_walls(self.own, packages)]
            own, packages = OWN, [f"{PACKAGES}/{number}" for number in range(len(packages))]
        start = START.format(own=own, packages=packages, answer=answer)
        return [*walls, _python(), "-I", "-S", "-B", "-X", "utf8", "-c", start]


@contextmanager
def open_sandbox(
    seconds: float, hidden: Sequence[Path], memory: int = MEMORY, platform_is_the_wall: bool = False
) -> Iterator[Sandbox]:
    """A sandbox that has been tried: what no submission may do was attempted in it, and failed.

    Parameters
    ----------
    seconds : what one run may take.
    hidden : files that must not be readable inside, besides this package's solutions.
    memory : bytes of address space that it may have.
    platform_is_the_wall : whether an unprivileged user will do where bubblewrap does not run, because the whole machine
        is a container that is thrown away after one submission.

    Raises
    ------
    SandboxError : if there is no sandbox, or if its walls have a hole; the message says what to do.
    """
    if sys.platform != "linux":
        raise SandboxError("submissions run in a sandbox that exists on Linux only", "grade on a Linux machine")
    program = shutil.which("bwrap")
    candidates: list[str | None] = [program] if program else []
    if platform_is_the_wall and os.geteuid() == 0:
        candidates.append(None)
    if not candidates:
        raise SandboxError("submissions run inside bubblewrap, which is not installed", INSTALL_BUBBLEWRAP)
    secret = [Path(tasks.__file__).parent / "bn_forward.py", *hidden]
    with tempfile.TemporaryDirectory(prefix="bncourse-") as folder:
        Path(folder).chmod(0o755)
        _write_modules(Path(folder))
        problems: list[SandboxError] = []
        for candidate in candidates:
            sandbox = Sandbox(Path(folder), candidate, seconds, memory)
            try:
                _prove(sandbox, secret)
            except SandboxError as problem:
                problems.append(problem)
                continue
            yield sandbox
            return
    raise SandboxError("; ".join(problem.problem for problem in problems), problems[0].remedy)


def _prove(sandbox: Sandbox, secret: Sequence[Path]) -> None:
    """Raise SandboxError unless everything that is tried inside fails."""
    trial = replace(sandbox, seconds=PROOF_SECONDS)
    paths = [str(path.resolve()) for path in secret]
    job = wire.pack({"seconds": PROOF_SECONDS, "memory": sandbox.memory, "prove": paths}, {})
    try:
        answer = trial.run(job)
    except SandboxError as error:
        raise SandboxError(error.problem, _remedy(error.problem) if sandbox.bubblewrap else "") from None
    if answer.ended != "finished":
        raise SandboxError("the sandbox could not be tried: the trial did not end")
    if holes := wire.unpack(answer.messages[0]).document["holes"]:
        raise SandboxError(f"the sandbox does not hold, so nothing was graded: inside it, {'; '.join(holes)}")


def _remedy(problem: str) -> str:
    if "Unknown option" in problem:
        return "install bubblewrap 0.7 or newer (Debian 12 and Ubuntu 24.04 have it)"
    for name, value in NAMESPACE_SWITCHES.items():
        switch = Path("/proc/sys", *name.split("."))
        if switch.exists() and switch.read_text().strip() == value:
            return f"sudo sysctl -w {name}={1 - int(value)}"
    return "grade on a machine, or in a container, whose kernel lets bubblewrap make namespaces"


def _write_modules(folder: Path) -> None:
    for name in EMPTY_MODULES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for name, module in MODULES.items():
        assert module.__file__ is not None
        shutil.copyfile(module.__file__, folder / name)
    compileall.compile_dir(folder, quiet=2)


def _walls(own: Path, packages: Sequence[str]) -> Iterator[str]:
    """Bubblewrap's arguments. What is not named here does not exist inside."""
    yield from ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
    yield from ("--die-with-parent", "--new-session", "--cap-drop", "ALL")
    if os.geteuid() == 0:
        # The child becomes nobody, and gives these up, before it reads a submission.
        yield from ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
    else:
        yield "--unshare-user"
    prefix, python = Path(sys.base_prefix), _python()
    mounts = [Path(folder) for folder in ("/usr/lib", "/usr/lib64", "/usr/lib32") if Path(folder).is_dir()]
    mounts += [Path(folder) for folder in LIBRARIES if Path(folder).is_dir() and not Path(folder).is_symlink()]
    mounts += [Path(python)] if str(prefix) in ("/", "/usr") else [prefix]
    for mount in mounts:
        yield from _bind(mount, mount)
        yield from _hide(mount, mount, ["python3*/*-packages/bncourse", "lib/python3*/*-packages/bncourse"])
    for folder in LIBRARIES:
        if Path(folder).is_symlink():
            yield from ("--symlink", str(Path(folder).readlink()), folder)
    for number, folder in enumerate(packages):
        inside = Path(PACKAGES, str(number))
        yield from _bind(Path(folder), inside)
        yield from _hide(Path(folder), inside, ["bncourse"])
    yield from _bind(own, Path(OWN))
    yield from ("--dir", "/dev")
    for device in ("/dev/null", "/dev/urandom"):
        yield from ("--dev-bind", device, device)
    yield from ("--perms", "1777", "--size", str(SCRATCH), "--tmpfs", "/tmp")
    yield from ("--chdir", "/", "--remount-ro", "/", "--")


def _bind(outside: Path, inside: Path) -> Iterator[str]:
    # A parent that bubblewrap makes of its own accord is closed to others than its owner; one that is asked for is not.
    for parent in reversed(inside.parents[:-1]):
        yield from ("--dir", str(parent))
    yield from ("--ro-bind", str(outside), str(inside))


def _hide(outside: Path, inside: Path, patterns: Sequence[str]) -> Iterator[str]:
    """Cover every copy of this package, whose solutions nobody should read, by an empty folder."""
    for found in (found for pattern in patterns for found in outside.glob(pattern) if found.is_dir()):
        covered = str(inside / found.relative_to(outside))
        yield from ("--tmpfs", covered, "--remount-ro", covered)


def _package_folders() -> list[str]:
    """Where this Python's installed packages are."""
    return [folder for folder in sys.path if Path(folder).name in ("site-packages", "dist-packages")]


def _python() -> str:
    """The interpreter behind a virtual environment's link."""
    return str(Path(sys.executable).resolve())


def _end(process: subprocess.Popen[bytes]) -> str:
    """Kill the process with everything that it started, and return what it wrote to its standard error at the start."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stderr is not None
    with process.stderr as errors:
        os.set_blocking(errors.fileno(), False)
        return (errors.read(2**12) or b"").decode(errors="replace").strip()
