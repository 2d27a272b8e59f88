"""The exercises about kernels, which run in Triton's interpreter, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bncourse.exercises import list_exercises

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
BANKS = ("test_mistakes.py", "test_alternatives.py", "test_interface.py", "grading/test_same_verdict.py")
OWN = sorted(str(path.relative_to(HERE)) for path in (HERE / "interpreted").glob("test_*.py"))
KERNELS = [exercise.id for exercise in list_exercises() if exercise.kernels]


@pytest.mark.parametrize("file", [*OWN, *BANKS])
def test_in_the_interpreter(file):
    pytest.importorskip("triton", reason="no Triton here: pip install 'bncourse[kernels]' (Linux only)")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"TRITON_INTERPRET": "1", "BNCOURSE_TEST_KERNELS": "1", "OMP_NUM_THREADS": "1"}
    environment.setdefault("BNCOURSE_TEST_SEEDS", "2")  # the interpreter is slow
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", "-p", "no:xdist"]
    chosen = [] if file in OWN else ["-k", " or ".join(KERNELS)]
    command += [*chosen, str(HERE / file)]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.fail(f"{result.stdout[-6000:]}\n{result.stderr[-2000:]}", pytrace=False)
    assert " passed" in result.stdout


def test_the_solutions_compile_for_a_gpu():
    """Catches a solution that the interpreter alone takes. Every array is float32, and sizes of blocks are 32."""
    pytest.importorskip("triton")
    code = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from bncourse.exercises import list_exercises
from bncourse.exercises.source import solution_code
from tests.exercises.bank import defined

for exercise in list_exercises():
    if not exercise.kernels:
        continue
    found = defined(solution_code(exercise), *exercise.function_names)
    for kernel in found if isinstance(found, tuple) else (found,):
        constants = {p.name: 32 for p in kernel.params if p.is_constexpr}
        signature = {p.name: "*fp32" if "pointer" in p.name else "i32" for p in kernel.params}
        signature |= dict.fromkeys(constants, "constexpr") | dict.fromkeys({"eps"} & signature.keys(), "fp32")
        compiled = triton.compile(ASTSource(kernel, signature, constants, {}), target=GPUTarget("cuda", 90, 32))
        assert ".entry" in compiled.asm["ptx"]
"""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_every_exercise_about_kernels_is_in_the_banks():
    """Catches a kernel whose mistakes nobody puts to the check: the other tests go by the list in bank.py."""
    code = "from tests.exercises.bank import EXERCISES; print(*[e.id for e in EXERCISES if e.kernels])"
    environment = os.environ | {"BNCOURSE_TEST_KERNELS": "1"}
    command = [sys.executable, "-c", code]
    listed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert sorted(listed.split()) == sorted(KERNELS)


def test_a_kernel_that_was_made_for_a_gpu_is_told_so():
    """Catches a traceback, or a wrong verdict, where Triton was imported before its interpreter was switched on."""
    pytest.importorskip("triton")
    code = """
from bncourse.exercises import missing_mask
from tests.exercises.bank import defined
result = missing_mask.check(defined(missing_mask.starter(), *missing_mask.function_names))
assert result.outcome == "error", result
assert 'os.environ["TRITON_INTERPRET"] = "1"' in result.message
assert "Restart" in result.message
"""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_without_triton_the_check_says_what_to_install():
    code = """
import sys
sys.modules["triton"] = None
from bncourse.exercises import inference_kernel
result = inference_kernel.check(print)
assert result.outcome == "error", result
assert "pip install 'bncourse[kernels]'" in result.message
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_check_of_a_kernel_loads_no_torch():
    """Catches a second of waiting for a library that no kernel of an exercise needs."""
    pytest.importorskip("triton")
    code = """
import sys
from bncourse.exercises import inference_kernel
from tests.exercises.bank import solved
assert inference_kernel.check(solved(inference_kernel)).outcome == "passed"
assert "torch" not in sys.modules
"""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
