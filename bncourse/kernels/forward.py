"""The forward kernels: statistics of parts of the batch, then one that merges them, normalizes and does the rest."""

import triton
import triton.language as tl

from bncourse.kernels.tiles import store_flags, sum_channels, tile_indices, tile_size


@triton.jit
def statistics_kernel(
    x_pointer,
    partial_pointer,
    N,
    C_units,
    S_units,
    C_UNIT: tl.constexpr,
    S_UNIT: tl.constexpr,
    ACCUMULATOR: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    """Count, mean and m2 of every ``splits``-th tile of some channels: a row of ``partial``, (splits, 3, C).

    Each tile takes passes over values that are in registers, which costs no traffic; Chan's formula merges it with the
    tiles before it (chapter 1.4, equation ``eq-merge``).
    """
    C, S = C_units * C_UNIT, S_units * S_UNIT
    first_c = tl.program_id(0) * BLOCK_C
    split, splits = tl.program_id(1), tl.num_programs(1)
    tiles_s = tl.cdiv(S, BLOCK_S)
    tiles = tl.cdiv(N, BLOCK_N) * tiles_s

    # Count and size are the same for all channels. Kept once, they are divided by once and not for each (chapter 3.5).
    count = tl.zeros((1,), ACCUMULATOR)
    mean = tl.zeros((BLOCK_C,), ACCUMULATOR)
    m2 = tl.zeros((BLOCK_C,), ACCUMULATOR)
    for tile in range(split, tiles, splits):
        n, c, s = tile_indices(tile, tiles_s, first_c, BLOCK_N, BLOCK_C, BLOCK_S)
        inside = (n < N) & (c < C) & (s < S)
        x = tl.load(x_pointer + (n * C + c) * S + s, mask=inside, other=0.0).to(ACCUMULATOR)
        size = tile_size(tile, tiles_s, N, S, BLOCK_N, BLOCK_S).to(ACCUMULATOR)
        reciprocal = 1 / size
        tile_mean = sum_channels(x) * reciprocal
        deviation = tl.where(inside, x - tile_mean[None, :, None], 0.0)
        # Deviations from the mean add up to zero. What they do add up to is its rounding error: without this step a
        # channel whose values are all 10000.1 has a variance, and eps is too small to hide it.
        error = sum_channels(deviation) * reciprocal
        deviation = tl.where(inside, deviation - error[None, :, None], 0.0)
        tile_m2 = sum_channels(deviation * deviation)
        count, mean, m2 = merge(count, mean, m2, size, tile_mean + error, tile_m2)

    c = first_c + tl.arange(0, BLOCK_C)
    row = partial_pointer + split * 3 * C + c
    tl.store(row, count, mask=c < C)
    tl.store(row + C, mean, mask=c < C)
    tl.store(row + 2 * C, m2, mask=c < C)


@triton.jit
def merge(count, mean, m2, more_count, more_mean, more_m2):
    """Count, mean and m2 of two parts together."""
    total = count + more_count
    # A channel beyond the last one has no values in any part.
    share = more_count / tl.maximum(total, 1.0)
    delta = more_mean - mean
    return total, mean + delta * share, m2 + more_m2 + delta * (delta * (count * share))


@triton.jit
def merged(partial_pointer, splits, c, C, ACCUMULATOR: tl.constexpr, ROWS: tl.constexpr, BLOCK_C: tl.constexpr):
    """Count, mean and m2 of the whole batch from those of its parts, some rows at a time, always in the same order."""
    count = tl.zeros((BLOCK_C,), ACCUMULATOR)
    mean = tl.zeros((BLOCK_C,), ACCUMULATOR)
    m2 = tl.zeros((BLOCK_C,), ACCUMULATOR)
    for first in range(0, splits, ROWS):
        split = first + tl.arange(0, ROWS)[:, None]
        inside = (split < splits) & (c < C)[None, :]
        row = partial_pointer + split * 3 * C + c[None, :]
        counts = tl.load(row, mask=inside, other=0.0)
        means = tl.load(row + C, mask=inside, other=0.0)
        m2s = tl.load(row + 2 * C, mask=inside, other=0.0)
        rows_count = tl.sum(counts, axis=0)
        # Averaged as distances from one of them, so that a large mean costs no digits.
        one = tl.load(partial_pointer + (first * 3 + 1) * C + c, mask=c < C, other=0.0)
        rows_mean = one + tl.sum(counts * (means - one[None, :]), axis=0) / tl.maximum(rows_count, 1.0)
        between = means - rows_mean[None, :]
        rows_m2 = tl.sum(m2s + counts * between * between, axis=0)
        count, mean, m2 = merge(count, mean, m2, rows_count, rows_mean, rows_m2)
    return count, mean, m2


@triton.jit
def normalize_kernel(
    x_pointer,
    residual_pointer,
    y_pointer,
    flags_pointer,
    weight_pointer,
    bias_pointer,
    partial_pointer,
    mean_pointer,
    inv_std_pointer,
    running_mean_pointer,
    running_var_pointer,
    momentum: tl.float64,
    eps: tl.float64,
    splits,
    N,
    C_units,
    S_units,
    C_UNIT: tl.constexpr,
    S_UNIT: tl.constexpr,
    TRAINING: tl.constexpr,
    RELU: tl.constexpr,
    ACCUMULATOR: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    """``y = act(weight * x_hat + bias + residual)``; a pointer that is None stands for what is not there.

    In training, every program merges the parts of its channels' statistics, which are few; the first one stores them,
    and takes them into the running statistics. In inference the running statistics are used.
    """
    C, S = C_units * C_UNIT, S_units * S_UNIT
    first_c = tl.program_id(0) * BLOCK_C
    channel = first_c + tl.arange(0, BLOCK_C)
    known = channel < C
    momentum, eps = tl.full((BLOCK_C,), momentum, ACCUMULATOR), tl.full((BLOCK_C,), eps, ACCUMULATOR)
    if TRAINING:
        count, mean, m2 = merged(partial_pointer, splits, channel, C, ACCUMULATOR, ROWS, BLOCK_C)
        var = m2 / tl.maximum(count, 1.0)
        inv_std = 1 / tl.sqrt(var + eps)
        if tl.program_id(1) == 0:
            tl.store(mean_pointer + channel, mean, mask=known)
            tl.store(inv_std_pointer + channel, inv_std, mask=known)
            if running_mean_pointer is not None:
                old_mean = tl.load(running_mean_pointer + channel, mask=known, other=0.0).to(ACCUMULATOR)
                old_var = tl.load(running_var_pointer + channel, mask=known, other=0.0).to(ACCUMULATOR)
                unbiased = m2 / tl.maximum(count - 1, 1.0)
                tl.store(running_mean_pointer + channel, old_mean + momentum * (mean - old_mean), mask=known)
                tl.store(running_var_pointer + channel, old_var + momentum * (unbiased - old_var), mask=known)
    else:
        mean = tl.load(running_mean_pointer + channel, mask=known, other=0.0).to(ACCUMULATOR)
        var = tl.load(running_var_pointer + channel, mask=known, other=1.0).to(ACCUMULATOR)
        inv_std = 1 / tl.sqrt(var + eps)
        if tl.program_id(1) == 0:
            tl.store(mean_pointer + channel, mean, mask=known)
            tl.store(inv_std_pointer + channel, inv_std, mask=known)
    scale = inv_std
    shift = tl.zeros((BLOCK_C,), ACCUMULATOR)
    if weight_pointer is not None:
        scale = inv_std * tl.load(weight_pointer + channel, mask=known, other=0.0).to(ACCUMULATOR)
    if bias_pointer is not None:
        shift = tl.load(bias_pointer + channel, mask=known, other=0.0).to(ACCUMULATOR)

    tiles_s = tl.cdiv(S, BLOCK_S)
    tiles = tl.cdiv(N, BLOCK_N) * tiles_s
    for tile in range(tl.program_id(1), tiles, tl.num_programs(1)):
        n, c, s = tile_indices(tile, tiles_s, first_c, BLOCK_N, BLOCK_C, BLOCK_S)
        inside = (n < N) & (c < C) & (s < S)
        place = (n * C + c) * S + s
        x = tl.load(x_pointer + place, mask=inside, other=0.0).to(ACCUMULATOR)
        y = (x - mean[None, :, None]) * scale[None, :, None] + shift[None, :, None]
        if residual_pointer is not None:
            y += tl.load(residual_pointer + place, mask=inside, other=0.0).to(ACCUMULATOR)
        if RELU:
            positive = y > 0
            # Not maximum(y, 0): a NaN is to stay one.
            y = tl.where(y <= 0, 0.0, y)
            if flags_pointer is not None:
                store_flags(
                    flags_pointer, positive & inside, tile, tiles_s, first_c, N, C, S, BLOCK_N, BLOCK_C, BLOCK_S
                )
        tl.store(y_pointer + place, y.to(y_pointer.dtype.element_ty), mask=inside)
