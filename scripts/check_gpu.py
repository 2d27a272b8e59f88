"""Run the kernels' tests on this machine's GPU, and some of them again under compute-sanitizer.

They take the PyTorch, Triton and pytest that Python has, and no network. ``make gpu PYTHON=...`` takes another Python.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = "tests/kernels/test_device.py"
# Nothing of tests/conftest.py is needed, nor what it imports.
PYTEST = [sys.executable, "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", TESTS]
ERRORS_FOUND = 99


def main() -> int:
    """Return the status with which to exit."""
    lacking = missing()
    if lacking:
        print("The kernels cannot be tested on a GPU here:", *lacking, sep="\n- ", file=sys.stderr)
        return 1
    import torch
    import triton

    device = torch.cuda.get_device_properties(0)
    print(f"{device.name}, {device.multi_processor_count} multiprocessors; torch {torch.__version__}, ", end="")
    print(f"triton {triton.__version__}, CUDA {torch.version.cuda}", flush=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    status = subprocess.run(PYTEST, cwd=ROOT, env=environment, check=False).returncode
    return status or sanitize(environment)


def missing() -> list[str]:
    """What this machine lacks, one line each."""
    lines = [
        f"no {library} for {sys.executable}: pip install {library}, or make gpu PYTHON=... with one that has it"
        for library in ("torch", "triton", "pytest")
        if importlib.util.find_spec(library) is None
    ]
    if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
        lines.append("TRITON_INTERPRET is set, so that the kernels would be interpreted: unset it")
    if importlib.util.find_spec("torch") is not None:
        import torch

        if torch.version.cuda is None:
            lines.append(f"torch {torch.__version__} is built without CUDA: install a build that has it")
        elif not torch.cuda.is_available():
            lines.append("no CUDA device that torch can see: nvidia-smi says whether the driver is there")
    return lines


def sanitize(environment: dict[str, str]) -> int:
    """Look for wrong accesses and races in the small cases, where NVIDIA's tool is there and can run."""
    tool = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if tool is None:
        print("compute-sanitizer is not here (it comes with the CUDA toolkit): accesses and races were not checked")
        return 0
    # Every array gets an allocation of its own, so that an access beyond its end is one beyond an allocation.
    environment = environment | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    for check in ("memcheck", "racecheck"):
        command = [tool, "--tool", check, "--error-exitcode", str(ERRORS_FOUND), *PYTEST, "-k", "small"]
        result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        print(f"compute-sanitizer {check}: {'nothing found' if result.returncode == 0 else 'see below'}", flush=True)
        if result.returncode:
            print(result.stdout[-6000:], result.stderr[-2000:], sep="\n")
            if "Device not supported" in result.stdout + result.stderr:
                print("compute-sanitizer cannot run on this machine: accesses and races were not checked")
                return 0
            return result.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
