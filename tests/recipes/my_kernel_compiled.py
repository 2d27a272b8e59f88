"""The doubling kernel compiles for an A100 and an H100, and spills nothing."""

import pytest
from bncourse.kernels.my_kernel import double_kernel

from bncourse.kernels.compiler import compile_kernel


@pytest.mark.parametrize("architecture", [80, 90])
def test_compiles(architecture):
    arguments = {"x_pointer": "*fp32", "y_pointer": "*fp32", "size": 4096, "BLOCK": 512}
    made = compile_kernel(double_kernel, arguments, architecture)
    assert made.spills == 0
