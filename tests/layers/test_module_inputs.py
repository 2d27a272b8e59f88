"""PyTorch's own test inputs, on the CPU path and through the kernels."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("interpreted", [False, True], ids=["cpu", "kernels"])
def test_pytorch_inputs(interpreted: bool) -> None:
    if interpreted and importlib.util.find_spec("triton") is None:
        pytest.skip("the interpreter needs triton, which has no wheel for this platform")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/layers/pytorch_inputs.py"]
    environment = {**os.environ, "TRITON_INTERPRET": str(int(interpreted)), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    assert re.search(r"^\d{3} passed(, \d+ warnings?)? in", result.stdout, re.MULTILINE), result.stdout[-2000:]
