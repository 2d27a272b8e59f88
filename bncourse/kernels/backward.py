"""The backward kernels: sums over parts of the batch, then one that adds them up and writes the gradients."""

import triton
import triton.language as tl

from bncourse.kernels.tiles import load_flags, sum_channels, tile_indices


@triton.jit
def load_gradients(
    dy_pointer,
    x_pointer,
    flags_pointer,
    values,
    where,
    sizes,
    RELU: tl.constexpr,
    ACCUMULATOR: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    """A tile's places, which of them there are, dy as it leaves the activation backwards, and x_hat.

    dy is zero where the ReLU was: the flags tell or, without a residual, x itself.
    """
    mean, inv_std, scale, bias = values
    tile, tiles_s, first_c = where
    N, C, S = sizes
    n, c, s = tile_indices(tile, tiles_s, first_c, BLOCK_N, BLOCK_C, BLOCK_S)
    inside = (n < N) & (c < C) & (s < S)
    place = (n * C + c) * S + s
    x = tl.load(x_pointer + place, mask=inside, other=0.0).to(ACCUMULATOR)
    centred = x - mean[None, :, None]
    dy = tl.load(dy_pointer + place, mask=inside, other=0.0).to(ACCUMULATOR)
    if RELU:
        if flags_pointer is not None:
            passed = load_flags(flags_pointer, tile, tiles_s, first_c, N, C, S, BLOCK_N, BLOCK_C, BLOCK_S)
        else:
            # The forward pass's own expression: another one rounds to another sign where y is nearly zero.
            passed = centred * scale[None, :, None] + bias[None, :, None] > 0
        dy = tl.where(passed, dy, 0.0)
    return place, inside, dy, centred * inv_std[None, :, None]


@triton.jit
def sums_kernel(
    dy_pointer,
    x_pointer,
    flags_pointer,
    weight_pointer,
    bias_pointer,
    mean_pointer,
    inv_std_pointer,
    partial_pointer,
    N,
    C_units,
    S_units,
    C_UNIT: tl.constexpr,
    S_UNIT: tl.constexpr,
    RELU: tl.constexpr,
    ACCUMULATOR: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    """Sums of ``dy`` and of ``dy * x_hat`` over every ``splits``-th tile: a row of ``partial``, (splits, 2, C)."""
    C, S = C_units * C_UNIT, S_units * S_UNIT
    first_c = tl.program_id(0) * BLOCK_C
    split, splits = tl.program_id(1), tl.num_programs(1)
    channel = first_c + tl.arange(0, BLOCK_C)
    values = channel_values(
        mean_pointer, inv_std_pointer, weight_pointer, bias_pointer, channel, C, ACCUMULATOR, BLOCK_C
    )
    sizes = N, C, S
    tiles_s = tl.cdiv(S, BLOCK_S)
    tiles = tl.cdiv(N, BLOCK_N) * tiles_s

    dbias = tl.zeros((BLOCK_C,), ACCUMULATOR)
    dweight = tl.zeros((BLOCK_C,), ACCUMULATOR)
    for tile in range(split, tiles, splits):
        where = tile, tiles_s, first_c
        _place, inside, dy, x_hat = load_gradients(
            dy_pointer, x_pointer, flags_pointer, values, where, sizes, RELU, ACCUMULATOR, BLOCK_N, BLOCK_C, BLOCK_S
        )
        dbias += sum_channels(dy)
        dweight += sum_channels(tl.where(inside, dy * x_hat, 0.0))

    row = partial_pointer + split * 2 * C + channel
    tl.store(row, dbias, mask=channel < C)
    tl.store(row + C, dweight, mask=channel < C)


@triton.jit
def channel_values(
    mean_pointer,
    inv_std_pointer,
    weight_pointer,
    bias_pointer,
    channel,
    C,
    ACCUMULATOR: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """mean, inv_std, scale and bias of some channels: weight times inv_std, weight 1 and bias 0 where there is none."""
    known = channel < C
    mean = tl.load(mean_pointer + channel, mask=known, other=0.0)
    inv_std = tl.load(inv_std_pointer + channel, mask=known, other=0.0)
    scale = inv_std
    bias = tl.zeros((BLOCK_C,), ACCUMULATOR)
    if weight_pointer is not None:
        scale = inv_std * tl.load(weight_pointer + channel, mask=known, other=0.0).to(ACCUMULATOR)
    if bias_pointer is not None:
        bias = tl.load(bias_pointer + channel, mask=known, other=0.0).to(ACCUMULATOR)
    return mean, inv_std, scale, bias


@triton.jit
def gradients_kernel(
    dy_pointer,
    x_pointer,
    flags_pointer,
    weight_pointer,
    bias_pointer,
    mean_pointer,
    inv_std_pointer,
    partial_pointer,
    dx_pointer,
    dresidual_pointer,
    dweight_pointer,
    dbias_pointer,
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
    """``dx``, and the gradients of the residual, the weight and the bias (chapter 2.2, equation ``eq-bn-dx``)."""
    C, S = C_units * C_UNIT, S_units * S_UNIT
    first_c = tl.program_id(0) * BLOCK_C
    channel = first_c + tl.arange(0, BLOCK_C)
    known = channel < C
    values = channel_values(
        mean_pointer, inv_std_pointer, weight_pointer, bias_pointer, channel, C, ACCUMULATOR, BLOCK_C
    )
    dbias = tl.zeros((BLOCK_C,), ACCUMULATOR)
    dweight = tl.zeros((BLOCK_C,), ACCUMULATOR)
    for first in range(0, splits, ROWS):
        split = first + tl.arange(0, ROWS)[:, None]
        present = (split < splits) & known[None, :]
        row = partial_pointer + split * 2 * C + channel[None, :]
        dbias += tl.sum(tl.load(row, mask=present, other=0.0), axis=0)
        dweight += tl.sum(tl.load(row + C, mask=present, other=0.0), axis=0)
    if tl.program_id(1) == 0:
        tl.store(dbias_pointer + channel, dbias.to(dbias_pointer.dtype.element_ty), mask=known)
        tl.store(dweight_pointer + channel, dweight.to(dweight_pointer.dtype.element_ty), mask=known)
    # Divided twice: N * S need not fit 32 bits.
    offset, along = dbias / N / S, dweight / N / S
    scale = values[2]
    sizes = N, C, S

    tiles_s = tl.cdiv(S, BLOCK_S)
    tiles = tl.cdiv(N, BLOCK_N) * tiles_s
    for tile in range(tl.program_id(1), tiles, tl.num_programs(1)):
        where = tile, tiles_s, first_c
        place, inside, dy, x_hat = load_gradients(
            dy_pointer, x_pointer, flags_pointer, values, where, sizes, RELU, ACCUMULATOR, BLOCK_N, BLOCK_C, BLOCK_S
        )
        if dresidual_pointer is not None:
            tl.store(dresidual_pointer + place, dy.to(dresidual_pointer.dtype.element_ty), mask=inside)
        if TRAINING:
            dy = dy - offset[None, :, None] - x_hat * along[None, :, None]
        dx = dy * scale[None, :, None]
        tl.store(dx_pointer + place, dx.to(dx_pointer.dtype.element_ty), mask=inside)
