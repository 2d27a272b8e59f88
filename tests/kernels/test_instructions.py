"""Loops made by hand, whose loads can be followed with a finger."""

import math
import os

import pytest

pytest.importorskip("triton", reason="no Triton here: pip install 'bncourse[kernels]' (Linux only)")

from bncourse.kernels.compiler import MachineCode
from bncourse.kernels.instructions import budget, loads_under_way, per_value
from bncourse.kernels.view import View

pytestmark = pytest.mark.slow

INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") not in ("", "0")

LOAD = "@!P0 LDG.E.128 R{}, desc[UR6][R{}.64]"


def machine_code(loops: tuple[tuple[str, ...], ...], warps: int = 4) -> MachineCode:
    return MachineCode("kernel", 90, warps, 32, 0, 0, 0, {}, {}, "", (), loops)


@pytest.mark.parametrize(
    ("loop", "expected"),
    [
        ([LOAD.format(8, 2), LOAD.format(12, 4), "FADD R20, R8, R12"], 2),
        ([LOAD.format(8, 2), "FADD R20, R8, R20", LOAD.format(12, 4), "FADD R20, R12, R20"], 1),
        # The last of the four registers is needed, and the first of them is not named.
        ([LOAD.format(8, 2), "FADD R20, R11, R20", LOAD.format(12, 4)], 1),
        # The register behind them belongs to somebody else, and an address of 64 bits makes no load wider.
        ([LOAD.format(8, 2), "FADD R20, R12, R20", LOAD.format(16, 4)], 2),
        (["LDG.E.U16 R8, desc[UR6][R2.64]", "IADD3 R9, R9, 0x1, RZ", "LDG.E.U16 R10, [R4.64]"], 2),
        # The second load needs an address that the first one brings, or overwrites what it has brought.
        (["LDG.E.64 R8, [R2.64]", "LDG.E R12, [R8.64]"], 1),
        (["LDG.E R8, [R2.64]", "LDG.E R8, [R4.64]"], 1),
        (["FADD R20, R8, R20", "BRA 0x230"], 0),
    ],
)
def test_a_load_is_waited_for_where_its_registers_are_first_named(loop: list[str], expected: int) -> None:
    """Catches a count of loads in the loop, and widths read from the address or forgotten."""
    assert loads_under_way(loop) == expected


@pytest.mark.parametrize(("left", "expected"), [(0, 2), (1, 4), (16, 34)])
def test_copies_are_under_way_in_as_many_groups_as_the_loop_does_not_wait_for_and_one(left: int, expected: int) -> None:
    copies = ["LDGSTS.E.BYPASS.128 [R9], [R36.64], P0", "LDGSTS.E.BYPASS.128 [R9+0x800], [R10.64], P0"]
    assert loads_under_way([f"DEPBAR.LE SB0, {left:#x}", "LDS.128 R4, [R6]", *copies, "LDGDEPBAR"]) == expected


@pytest.mark.skipif(INTERPRETED, reason="TRITON_INTERPRET is set, so that nothing is compiled")
@pytest.mark.parametrize("architecture", [80, 90])
def test_the_statistics_ask_for_a_tile_before_they_add_it_up(architecture: int) -> None:
    """Catches sums that begin when the first load has arrived: chapter 3.3 counts the bytes under way by tiles."""
    import torch

    from bncourse.kernels.compiler import compile_kernels

    for view in (View(256 * 56 * 56, 64, 1), View(256, 64, 56 * 56)):
        for dtype, wide in ((torch.bfloat16, 2), (torch.float32, 4)):
            kernel = compile_kernels(view, dtype, architecture)["statistics_kernel"]
            assert loads_under_way(kernel.loops[-1]) == kernel.loads[128] == wide


def test_instructions_for_each_value_count_lanes_that_have_none() -> None:
    """Catches tiles that are not rounded up along each axis, and the loop before the last."""
    loops = (("before",) * 99, ("a",) * 7)
    view = View(100, 3, 50)
    assert view.blocks == {"BLOCK_N": 32, "BLOCK_C": 1, "BLOCK_S": 64}
    executed = 7 * (32 * 4) * (math.ceil(100 / 32) * 3 * 1)
    assert per_value(machine_code(loops), view) == pytest.approx(executed / (100 * 3 * 50))

    blocks = {"BLOCK_N": 8, "BLOCK_C": 2, "BLOCK_S": 16}
    executed = 7 * (32 * 8) * (13 * 2 * 4)
    assert per_value(machine_code(loops, warps=8), view, blocks) == pytest.approx(executed / (100 * 3 * 50))


def test_a_device_whose_units_are_not_known_has_no_budget() -> None:
    with pytest.raises(ValueError, match="expected device to be one of A100 80GB SXM, H100 SXM, got 'T4'"):
        budget("T4", 2)
