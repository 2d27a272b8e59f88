"""What the kernels share: where a tile lies, its sums, and the bits that remember what a ReLU let through.

Data is seen as examples, channels and positions, ``x[n, c, s]`` at the place ``(n * C + c) * S + s``. A contiguous
batch of images is just that. Where the channels lie side by side, as in a channels-last batch or one of vectors, every
position counts as an example, and ``S`` is 1.
"""

import triton
import triton.language as tl


@triton.jit
def tile_indices(tile, tiles_s, first_c, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_S: tl.constexpr):
    """n, c and s of a tile, each along an axis of its own; n in 64 bits, for arrays of more than 2**31 values."""
    n = (tile // tiles_s).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    s = (tile % tiles_s) * BLOCK_S + tl.arange(0, BLOCK_S)
    c = first_c + tl.arange(0, BLOCK_C)
    return n[:, None, None], c[None, :, None], s[None, None, :]


@triton.jit
def tile_size(tile, tiles_s, N, S, BLOCK_N: tl.constexpr, BLOCK_S: tl.constexpr):
    """How many values of each channel a tile has: fewer at the end of an axis."""
    examples = tl.minimum(N - (tile // tiles_s) * BLOCK_N, BLOCK_N)
    positions = tl.minimum(S - (tile % tiles_s) * BLOCK_S, BLOCK_S)
    return examples * positions


@triton.jit
def sum_channels(values):
    """One sum for each channel, over examples and positions.

    Of one channel all values at once: each thread first adds up what it has of them, in whichever rows they are.
    """
    if values.shape[1] == 1:
        return tl.full((1,), tl.sum(values), values.dtype)
    return tl.sum(tl.sum(values, axis=2), axis=0)


@triton.jit
def flag_bytes(tile, tiles_s, first_c, N, C, S, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_S: tl.constexpr):
    """Where a tile's flags lie, eight to a byte, and which of those bytes there are.

    Every run of values that lie side by side begins a new byte, so that no two programs share one.
    """
    n = ((tile // tiles_s).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N))[:, None]
    if BLOCK_S == 1:
        width = tl.cdiv(C, 8)
        byte = first_c // 8 + tl.arange(0, BLOCK_C // 8)[None, :]
        row = n
    else:
        # Tiles with many positions have one channel.
        width = tl.cdiv(S, 8)
        byte = (tile % tiles_s) * (BLOCK_S // 8) + tl.arange(0, BLOCK_S // 8)[None, :]
        row = n * C + first_c
    return row * width + byte, (n < N) & (byte < width)


@triton.jit
def store_flags(
    pointer, flags, tile, tiles_s, first_c, N, C, S, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_S: tl.constexpr
):
    """Write a tile's flags, the first of eight in the lowest bit."""
    places, inside = flag_bytes(tile, tiles_s, first_c, N, C, S, BLOCK_N, BLOCK_C, BLOCK_S)
    by_eight = tl.reshape(flags.to(tl.int32), (BLOCK_N, BLOCK_C * BLOCK_S // 8, 8))
    packed = tl.sum(by_eight << tl.arange(0, 8)[None, None, :], axis=2)
    tl.store(pointer + places, packed.to(tl.uint8), mask=inside)


@triton.jit
def load_flags(
    pointer, tile, tiles_s, first_c, N, C, S, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_S: tl.constexpr
):
    """Read a tile's flags."""
    places, inside = flag_bytes(tile, tiles_s, first_c, N, C, S, BLOCK_N, BLOCK_C, BLOCK_S)
    packed = tl.load(pointer + places, mask=inside, other=0).to(tl.int32)
    flags = (packed[:, :, None] >> tl.arange(0, 8)[None, None, :]) & 1
    return tl.reshape(flags, (BLOCK_N, BLOCK_C, BLOCK_S)) != 0
