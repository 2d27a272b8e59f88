"""What the compiler makes of the kernels: registers, spills, widths of loads, for a GPU that need not be there."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from bncourse.kernels.backend import INTERPRETED
from bncourse.kernels.backward import gradients_kernel, sums_kernel
from bncourse.kernels.forward import normalize_kernel, statistics_kernel
from bncourse.kernels.launch import MAX_SPLITS
from bncourse.kernels.view import WARPS, View

REGISTERS, RESIDENT_WARPS = 65536, 64
"""What a multiprocessor has, of an A100 as of an H100: registers of 32 bits, and warps that it keeps at a time."""

TYPES = {
    torch.float16: ("fp16", tl.float32),
    torch.bfloat16: ("bf16", tl.float32),
    torch.float32: ("fp32", tl.float32),
    torch.float64: ("fp64", tl.float64),
}
"""Triton's names for the dtypes of ``x``, and what each is accumulated in."""


@dataclass(frozen=True)
class MachineCode:
    """A compiled kernel in numbers.

    Attributes
    ----------
    architecture : compute capability times ten: 80 for an A100, 90 for an H100.
    warps : groups of 32 threads in a program.
    registers : for each thread, of at most 255.
    stack : bytes of memory that each thread keeps beside its registers.
    spills : instructions that move a value between a register and that memory (``LDL`` and ``STL``).
    shared : bytes of shared memory for each program.
    loads, stores : instructions on global memory by their width, the bits that one of them moves for each thread.
    ptx : the code in the form before the last one, which can be read.
    sass : the instructions that the GPU runs, one to an entry.
    loops : those of each loop without a loop in it, in the order of the code.
    name : of the kernel.
    """

    name: str
    architecture: int
    warps: int
    registers: int
    stack: int
    spills: int
    shared: int
    loads: Mapping[int, int]
    stores: Mapping[int, int]
    ptx: str = field(repr=False)
    sass: tuple[str, ...] = field(repr=False)
    loops: tuple[tuple[str, ...], ...] = field(repr=False)

    @property
    def resident(self) -> int:
        """Programs that a multiprocessor keeps at the same time; it gives registers out by eight a thread."""
        warps = REGISTERS // (-(-self.registers // 8) * 8 * 32)
        return min(warps, RESIDENT_WARPS) // self.warps


def compile_kernels(
    view: View,
    dtype: torch.dtype,
    architecture: int = 90,
    *,
    training: bool = True,
    relu: bool = False,
    residual: bool = False,
    affine: bool = True,
    cores: int = 132,
    warps: int = WARPS,
) -> dict[str, MachineCode]:
    """The kernels that serve a batch, forward and backward, as the compiler makes them with no GPU there.

    Parameters
    ----------
    view : the batch's sizes, as in ``View(examples=256, channels=64, positions=56 * 56)``.
    dtype : of ``x``; the parameters and the running statistics are float32, or float64 with it.
    architecture : 80 for an A100, 90 for an H100.
    training, relu, residual, affine : what the operator is asked for.
    cores : multiprocessors of the GPU, which decide into how many parts the statistics are split; 132 in an H100.
    warps : of a program.

    Returns
    -------
    machine code by the kernel's name. In inference there is no ``statistics_kernel``.

    Raises
    ------
    RuntimeError : if the process interprets Triton's kernels: then there is nothing to compile.
    """
    arguments = kernel_arguments(
        view, dtype, training=training, relu=relu, residual=residual, affine=affine, cores=cores
    )
    kernels = [*([statistics_kernel] if training else []), normalize_kernel, sums_kernel, gradients_kernel]
    return {kernel.__name__: compile_kernel(kernel, arguments, architecture, warps) for kernel in kernels}


def kernel_arguments(
    view: View,
    dtype: torch.dtype,
    *,
    training: bool = True,
    relu: bool = False,
    residual: bool = False,
    affine: bool = True,
    cores: int = 132,
) -> dict[str, Any]:
    """What :mod:`bncourse.kernels.launch` passes to the four kernels, by name: types of arrays, numbers, dtypes.

    Parameters
    ----------
    view : how the batch is seen, in three axes.
    dtype : of the batch.
    training : whether statistics are the batch's.
    relu, residual : what follows the transform.
    affine : whether there are weight and bias.
    cores : multiprocessors of the GPU, which decide the grid.
    """
    data, accumulator = TYPES[dtype]
    wide = str(accumulator)
    splits = view.grid(cores, MAX_SPLITS)[1]
    arrays = {
        **dict.fromkeys(("x", "y", "dy", "dx"), data),
        **dict.fromkeys(("partial", "mean", "inv_std", "running_mean", "running_var", "dweight", "dbias"), wide),
        **dict.fromkeys(("weight", "bias"), wide if affine else None),
        "residual": data if residual else None,
        "dresidual": data if residual and relu else None,
        "flags": "u8" if residual and relu else None,
    }
    return {
        **{f"{name}_pointer": kind and f"*{kind}" for name, kind in arrays.items()},
        **view.sizes,
        **view.blocks,
        "momentum": 0.1,
        "eps": 1e-5,
        "splits": splits,
        "ROWS": view.rows(splits),
        "TRAINING": training,
        "RELU": relu,
        "ACCUMULATOR": accumulator,
    }


def compile_kernel(
    kernel: Any, arguments: Mapping[str, Any], architecture: int = 90, warps: int = WARPS
) -> MachineCode:
    """Compile one kernel for arguments that are told by name, of which there may be more than it takes.

    An array is told by its type, as in ``"*fp32"``, and taken to begin at a multiple of 16 bytes, as PyTorch's do.

    Parameters
    ----------
    kernel : a function decorated with ``triton.jit``.
    arguments : by name, as :func:`kernel_arguments` tells them.
    architecture : of the GPU, as 90 for Hopper.
    warps : of a program.
    """
    if INTERPRETED or not isinstance(kernel, triton.JITFunction):
        raise RuntimeError(
            "expected kernels that can be compiled, got interpreted ones: "
            "unset TRITON_INTERPRET before bncourse.kernels is imported"
        )
    signature: dict[str, str] = {}
    constants: dict[tuple[int, ...], Any] = {}
    attributes: dict[tuple[int, ...], list[list[Any]]] = {}
    for place, parameter in enumerate(kernel.params):
        value = arguments[parameter.name]
        kind, divisible = _specialize(value, parameter)
        signature[parameter.name] = kind
        if kind == "constexpr":
            constants[(place,)] = value
        elif divisible:
            attributes[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constants, attributes)
    compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options={"num_warps": warps})
    usage, code = _dump(compiled.asm["cubin"], "-res-usage"), _code(_dump(compiled.asm["cubin"], "-sass"))
    ptx, sass = compiled.asm["ptx"], tuple(code.values())
    return MachineCode(
        name=kernel.__name__,
        architecture=architecture,
        warps=warps,
        registers=_number(r"REG:(\d+)", usage),
        stack=_number(r"STACK:(\d+)", usage),
        spills=sum(bool(re.search(r"\b(?:LDL|STL)\b", instruction)) for instruction in sass),
        shared=compiled.metadata.shared,
        loads=_widths("ld", ptx),
        stores=_widths("st", ptx),
        ptx=ptx,
        sass=sass,
        loops=_loops(code),
    )


def _specialize(value: Any, parameter: Any) -> tuple[str, bool]:
    """The type under which Triton compiles for an argument, and whether it relies on its being a multiple of 16."""
    if parameter.annotation_type:
        return parameter.annotation_type, False
    if parameter.is_constexpr or value is None or value == 1:
        return "constexpr", False
    if isinstance(value, str):
        return value, True
    return "i32" if value < 2**31 else "i64", value % 16 == 0


def _dump(cubin: bytes, option: str) -> str:
    """What the ``cuobjdump`` that Triton carries says of a binary."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        command = [triton.knobs.nvidia.cuobjdump.path, option, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"expected {pattern} in what cuobjdump prints, got:\n{text}")
    return int(found[1])


def _code(dump: str) -> dict[int, str]:
    """Instructions by their addresses."""
    found = re.findall(r"/\*([0-9a-f]{4,})\*/\s+([^;]+?)\s*;", dump)
    return {int(address, 16): instruction for address, instruction in found}


def _loops(code: Mapping[int, str]) -> tuple[tuple[str, ...], ...]:
    """What lies between a jump back and where it leads, unless another loop lies there as well.

    The code ends in a jump to itself, which is none.
    """
    jumps = [(to, at) for at, instruction in code.items() if (to := _target(instruction)) is not None and to < at]
    inner = [(to, at) for to, at in jumps if not any(to <= a and b < at for a, b in jumps)]
    return tuple(tuple(instruction for a, instruction in code.items() if to <= a <= at) for to, at in inner)


def _target(instruction: str) -> int | None:
    found = re.search(r"\bBRA\b.*?0x([0-9a-f]+)$", instruction)
    return int(found[1], 16) if found else None


def _widths(operation: str, ptx: str) -> dict[int, int]:
    """Instructions on global memory by the bits that each moves, ``ld.global.v4.b32`` being one of 128."""
    found = re.findall(rf"\b{operation}\.global[\w.:]*?(?:\.v(\d))?\.[bfsu](\d+)\s", ptx)
    return dict(sorted(Counter(int(lanes or 1) * int(bits) for lanes, bits in found).items()))
