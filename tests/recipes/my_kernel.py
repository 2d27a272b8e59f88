"""Every value doubled."""

import triton
import triton.language as tl


@triton.jit
def double_kernel(x_pointer, y_pointer, size, BLOCK: tl.constexpr):
    """One program for each block of values."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = place < size
    tl.store(y_pointer + place, 2 * tl.load(x_pointer + place, mask=inside), mask=inside)
