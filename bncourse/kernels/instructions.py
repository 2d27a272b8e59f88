"""What a loop's instructions say of its speed before a GPU has run it: how many there are, and how many loads wait.

Three readings of a :class:`~bncourse.kernels.compiler.MachineCode`, explained in chapter 3.5.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bncourse.kernels.floor import DEVICES

if TYPE_CHECKING:
    from bncourse.kernels.compiler import MachineCode
    from bncourse.kernels.view import View

UNITS = {"A100 80GB SXM": 64, "H100 SXM": 128}
"""Units for float32 arithmetic in a multiprocessor, each of which does two FLOPs a clock."""

ISSUED = 128
"""Instructions that a multiprocessor starts in a clock, counted by thread: four, each for a warp of 32."""


def budget(device: str, bytes_per_value: float) -> float:
    r"""Instructions that a value may cost before they take longer than its bytes.

    .. math:: i^* = \frac{128}{2u} \, \frac{\pi}{\beta} \, q

    With :math:`\pi` and :math:`\beta` the datasheet's FLOPs and bytes a second, :math:`u` the multiprocessor's float32
    units and :math:`q` the bytes (chapter 3.5, equation ``eq-instruction-budget``).

    Parameters
    ----------
    device : one of ``UNITS``.
    bytes_per_value : that cross memory: :func:`bncourse.kernels.floor.bytes_per_value`.

    Raises
    ------
    ValueError : for a device whose units are not in ``UNITS``.
    """
    if device not in UNITS:
        raise ValueError(f"expected device to be one of {', '.join(UNITS)}, got {device!r}")
    promised = DEVICES[device]
    return ISSUED / (2 * UNITS[device]) * promised.flops / promised.bandwidth * bytes_per_value


def per_value(kernel: MachineCode, view: View, blocks: Mapping[str, int] | None = None) -> float:
    """Instructions of a kernel's loop over tiles, of all threads, for each value of the batch.

    Masked lanes have no value and are executed all the same, so that tiles which do not fit cost more.

    Parameters
    ----------
    kernel : a kernel whose last loop is the one over the tiles of the batch, as in all of the package's.
    view : the batch.
    blocks : lengths of a tile, if they are not ``view.blocks``.
    """
    sizes = (view.examples, view.channels, view.positions)
    tile = (blocks or view.blocks).values()
    tiles = math.prod(-(-size // block) for size, block in zip(sizes, tile, strict=True))
    return len(kernel.loops[-1]) * 32 * kernel.warps * tiles / math.prod(sizes)


def loads_under_way(loop: Sequence[str]) -> int:
    """The most loads from global memory that a thread has started at one time in a loop, and not had to wait for.

    A load into registers (``LDG``) is waited for by the first instruction that names one of them. Copies into shared
    memory (``LDGSTS``) are waited for by count: a trip waits until all but some groups have arrived, one group being
    the copies of a trip, and starts another.

    Parameters
    ----------
    loop : instructions of one trip, in order, as :class:`~bncourse.kernels.compiler.MachineCode` holds them.
    """
    waiting: list[set[int]] = []
    most = 0
    for instruction in loop:
        named = {int(number) for number in re.findall(r"\bR(\d+)\b", instruction)}
        filled: set[int] = set()
        if load := re.search(r"\bLDG(\.\S+) R(\d+)", instruction):
            width = re.search(r"\.(64|128)\b", load[1])
            first, count = int(load[2]), int(width[1]) // 32 if width else 1
            filled = set(range(first, first + count))
        waiting = [registers for registers in waiting if not registers & (named | filled)]
        if filled:
            waiting.append(filled)
        most = max(most, len(waiting))
    copies = sum("LDGSTS" in instruction for instruction in loop)
    left = re.findall(r"\bDEPBAR\.LE SB0, 0x([0-9a-f]+)", "\n".join(loop)) if copies else []
    return most + copies * (1 + max((int(groups, 16) for groups in left), default=0))
