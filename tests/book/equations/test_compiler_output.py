"""The equations of chapter 3.5, both sides evaluated on random input."""

import math
import os

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="no Triton here: pip install 'bncourse[kernels]' (Linux only)")

from bncourse.kernels.compiler import REGISTERS, RESIDENT_WARPS, MachineCode, compile_kernel, kernel_arguments
from bncourse.kernels.floor import DEVICES, least_bytes
from bncourse.kernels.forward import statistics_kernel
from bncourse.kernels.instructions import UNITS, budget
from bncourse.kernels.view import View

INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") not in ("", "0")


@pytest.mark.equation("eq-load-width")
@pytest.mark.skipif(INTERPRETED, reason="TRITON_INTERPRET is set, so that nothing is compiled")
@pytest.mark.parametrize("side_by_side", ["channels", "positions"])
@pytest.mark.parametrize("seed", range(3))
def test_loads_are_as_wide_as_every_row_is_aligned(seed, side_by_side):
    """Catches rows in values instead of bits, a width that only the first row allows, and units that are not passed."""
    rng = np.random.default_rng(seed)
    dtype = (torch.bfloat16, torch.float32, torch.float16)[seed]
    row = int(rng.integers(1, 8)) * 2 ** int(rng.integers(0, 5)) * 9
    view = View(4096, row, 1) if side_by_side == "channels" else View(512, 8, row)
    kernel = compile_kernel(statistics_kernel, kernel_arguments(view, dtype))

    begins = [n * row * dtype.itemsize for n in range(64)]
    allowed = max(size for size in (1, 2, 4, 8, 16) if all(begin % size == 0 for begin in begins))
    width = math.gcd(128, 8 * dtype.itemsize * row)
    assert max(kernel.loads) == width == 8 * allowed


@pytest.mark.equation("eq-resident")
@pytest.mark.parametrize("registers", range(16, 256, 7))
@pytest.mark.parametrize("warps", [4, 8])
def test_programs_come_in_until_registers_or_warps_run_out(registers, warps):
    """Catches registers handed out singly, and a last program of which only some warps fit."""
    left, kept, programs = REGISTERS, 0, 0
    for_warp = 32 * next(size for size in range(8, 264, 8) if size >= registers)
    while left >= warps * for_warp and kept + warps <= RESIDENT_WARPS:
        left, kept, programs = left - warps * for_warp, kept + warps, programs + 1
    formula = math.floor(min(64, math.floor(65536 / (32 * 8 * math.ceil(registers / 8)))) / warps)
    found = MachineCode("kernel", 90, warps, registers, 0, 0, 0, {}, {}, "", (), ()).resident
    assert formula == programs == found


@pytest.mark.equation("eq-instruction-budget")
@pytest.mark.parametrize("device", UNITS)
@pytest.mark.parametrize("seed", range(3))
def test_a_pass_at_its_budget_starts_instructions_for_as_long_as_its_bytes_take(seed, device):
    """Catches FLOPs taken for instructions, and instructions of a warp taken for those of a thread."""
    cores = int(np.random.default_rng(seed).integers(40, 150))
    units, flops, bandwidth = UNITS[device], DEVICES[device].flops, DEVICES[device].bandwidth
    shape = (64, 24 + seed, 56, 56)
    # One pass over x and y, as in inference; the parameters are next to nothing.
    q = 2 * 2
    formula = 128 / (2 * units) * flops / bandwidth * q
    assert formula == budget(device, q)

    clock = flops / (cores * units * 2)
    warps = math.prod(shape) / 32
    clocks = warps * formula / (4 * cores)
    assert clocks / clock == pytest.approx(least_bytes("inference", shape) / bandwidth, rel=1e-4)
