"""What the compiler makes of the kernels for an A100 and an H100, neither of which need be there."""

import ast
import functools
import inspect
import os

import pytest
import torch

pytest.importorskip("triton", reason="no Triton here: pip install 'bncourse[kernels]' (Linux only)")
if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
    pytest.skip("TRITON_INTERPRET is set, so that nothing is compiled", allow_module_level=True)

from bncourse.kernels import backward, forward, tiles, view
from bncourse.kernels.compiler import MachineCode, compile_kernel, compile_kernels, kernel_arguments
from bncourse.kernels.view import PROGRAMS_PER_CORE, WARPS, View
from tests.kernels.pairs import covering

pytestmark = pytest.mark.slow

VIEWS = {
    "NCHW 56x56": View(256, 64, 56 * 56),
    "NCHW 14x14": View(256, 1024, 14 * 14),
    "NCHW 7x7": View(32, 2048, 7 * 7),
    "channels last, C = 64": View(256 * 56 * 56, 64, 1),
    "channels last, C = 24": View(128 * 112 * 112, 24, 1),
    "rows, C = 1024": View(8192, 1024, 1),
    "rows, C = 129": View(8192, 129, 1),
}
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
CHOICES, _ = covering({"name": tuple(VIEWS), "dtype": tuple(DTYPES), "architecture": (80, 90)}, lambda choice: True)

# Arrays of the size of x that each kernel reads and writes, of which flags are none.
STREAMS = {
    "statistics_kernel": (1, 0),
    "normalize_kernel": (2, 1),
    "sums_kernel": (2, 0),
    "gradients_kernel": (2, 2),
}


@functools.cache
def compiled(name: str, dtype: str, architecture: int, **options: bool) -> dict[str, MachineCode]:
    return compile_kernels(VIEWS[name], DTYPES[dtype], architecture, **options)


def fused(name: str, dtype: str, architecture: int) -> dict[str, MachineCode]:
    """All that can be asked for at a time, which takes the most registers."""
    return compiled(name, dtype, architecture, relu=True, residual=True)


def widest(name: str, dtype: str) -> int:
    """Bits that a thread can move at a time: what divides the length of a row, up to 16 bytes."""
    row = VIEWS[name].channels if VIEWS[name].positions == 1 else VIEWS[name].positions
    return min(128, DTYPES[dtype].itemsize * 8 * (row & -row))


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: "-".join(map(str, choice.values())))
class TestFused:
    def test_nothing_spills(self, choice):
        for kernel in fused(**choice).values():
            assert (kernel.spills, kernel.stack) == (0, 0), kernel

    def test_data_moves_in_the_widest_instructions(self, choice):
        """Catches sizes that the compiler does not know to be multiples: it would load each value on its own."""
        name, dtype = choice["name"], choice["dtype"]
        blocks, bits = VIEWS[name].blocks, DTYPES[dtype].itemsize * 8
        tile = blocks["BLOCK_N"] * blocks["BLOCK_C"] * blocks["BLOCK_S"]
        wide = widest(name, dtype)
        instructions = tile * bits // (wide * 32 * WARPS)
        for kernel in fused(**choice).values():
            reads, writes = STREAMS[kernel.name]
            assert kernel.loads.get(wide, 0) >= reads * instructions, kernel
            assert kernel.stores.get(wide, 0) >= writes * instructions, kernel
            if wide > bits == 16:
                assert 16 not in {*kernel.loads, *kernel.stores}, kernel

    def test_registers_let_as_many_programs_run_at_a_time_as_are_started(self, choice):
        """Four programs of four warps share a multiprocessor's registers: 128 for each thread.

        With more, the last of them waits until another ends, and runs alone. Where rows are not aligned every value has
        an address of its own, and three at a time is what there is.
        """
        aligned = widest(choice["name"], choice["dtype"]) >= 64
        for kernel in fused(**choice).values():
            assert kernel.resident >= (PROGRAMS_PER_CORE if aligned else 3), kernel
            assert kernel.shared * PROGRAMS_PER_CORE <= 227 * 1024, kernel

    def test_it_is_code_for_that_architecture(self, choice):
        for kernel in fused(**choice).values():
            assert f".target sm_{choice['architecture']}" in kernel.ptx


@pytest.mark.parametrize("name", ["NCHW 7x7", "rows, C = 1024"])
def test_inference_reads_x_once_and_writes_y_once(name):
    kernels = compiled(name, "bfloat16", 90, training=False)
    assert [*kernels] == ["normalize_kernel", "sums_kernel", "gradients_kernel"]
    normalize, full = kernels["normalize_kernel"], fused(name, "bfloat16", 90)["normalize_kernel"]
    assert normalize.spills == 0
    assert sum(normalize.loads.values()) < sum(full.loads.values())
    assert 8 not in normalize.stores, "flags that nobody asked for"


def test_a_tile_far_too_large_is_seen_to_spill(monkeypatch):
    """The check of the check: 256 values of x and as many of dy are too many for a thread's registers."""
    monkeypatch.setattr(view, "TILE", 2**15)
    arguments = kernel_arguments(View(256, 64, 2**15), torch.float32, relu=True)
    kernel = compile_kernel(backward.gradients_kernel, arguments)
    assert kernel.spills > 100
    assert kernel.stack > 0


def test_a_length_that_the_compiler_does_not_know_costs_the_wide_loads():
    """The check of the other check: with C in units of 1, rows may begin anywhere."""
    name = "channels last, C = 24"
    arguments = kernel_arguments(VIEWS[name], torch.bfloat16) | {"C_units": 24 + 1, "C_UNIT": 1}
    assert 128 not in compile_kernel(forward.statistics_kernel, arguments).loads


def test_a_tile_of_several_maps_is_summed_within_the_threads_first():
    """Catches summing one axis after the other: a sum for each map across the threads, or for each column.

    Five exchanges between threads make a sum over a warp, and the loop has three sums.
    """
    for positions in (14 * 14, 8 * 8, 7 * 7):
        sizes = View(256, 64, positions)
        kernel = compile_kernel(forward.statistics_kernel, kernel_arguments(sizes, torch.bfloat16))
        [loop] = kernel.loops
        assert sizes.blocks["BLOCK_N"] > 1
        assert sum("SHFL" in instruction for instruction in loop) <= 3 * (5 + 2), positions


def test_a_tile_divides_once_for_its_size_and_once_for_its_share():
    """Catches quotients for each of eight channels in a thread, whose divisors are all the same."""
    kernel = compiled("channels last, C = 64", "bfloat16", 90)["statistics_kernel"]
    assert kernel.ptx.count("div.full.f32") == 2


def test_a_loop_holds_what_a_tile_takes():
    """Every global load of x stands in the loop over tiles, and what comes before and behind it does not."""
    kernel = compiled("NCHW 56x56", "float32", 90)["statistics_kernel"]
    [loop] = kernel.loops
    assert sum("LDG" in instruction for instruction in loop) == kernel.loads[128] == 4
    assert not any("STG" in instruction for instruction in loop)
    assert sum("STG" in instruction for instruction in kernel.sass) == kernel.stores[32] == 3


@pytest.mark.parametrize(
    "sizes",
    [View(1, 16, 16), View(1, 8, 1), View(2, 1, 1), View(2**31, 8, 1), View(2**20, 1, 2**12)],
    ids=str,
)
@pytest.mark.parametrize("training", [True, False])
def test_lengths_that_triton_takes_for_constants_compile(sizes, training):
    """Catches ``(N * S).to(...)``: an argument that is 1 becomes a number of Python's, which has no such method."""
    for kernel in compile_kernels(sizes, torch.float32, training=training).values():
        assert kernel.spills == 0


@pytest.mark.parametrize("module", [forward, backward, tiles], ids=lambda module: module.__name__)
def test_every_masked_load_says_what_it_gives_outside(module):
    """Catches what the interpreter cannot: it takes zero for it, a GPU takes anything."""
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Call)]
    loads = [call for call in calls if ast.unparse(call.func) == "tl.load"]
    assert loads
    for call in loads:
        assert {keyword.arg for keyword in call.keywords} == {"mask", "other"}, ast.unparse(call)
