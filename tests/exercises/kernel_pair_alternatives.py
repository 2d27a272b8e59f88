"""Correct pairs of kernels that differ from the solutions in how they go about it."""

from tests.exercises.bank import defined

HEADER = "import triton\nimport triton.language as tl\n\n"
MOMENTS_HEAD = """
@triton.jit
def {name}(x, partial, N, C, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr):
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    k = tl.program_id(1)
    n = k * BLOCK_N + tl.arange(0, BLOCK_N)
"""
FINISH_HEAD = """
@triton.jit
def finish_{name}(partial, mean_out, var_out, splits, C, BLOCK_C: tl.constexpr):
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    known = c < C
"""
STORE_PART = """
    tl.store(partial + (3 * k) * C + c, count, mask=c < C)
    tl.store(partial + (3 * k + 1) * C + c, mean, mask=c < C)
    tl.store(partial + (3 * k + 2) * C + c, m2, mask=c < C)
"""
SPLIT_REDUCTION = {
    "counted_by_the_mask": (
        """
    inside = (n < N)[:, None] & (c < C)[None, :]
    values = tl.load(x + n[:, None] * C + c[None, :], mask=inside, other=0.0).to(tl.float32)
    count = tl.sum((n < N).to(tl.float32), 0)
    mean = tl.sum(values, 0) / count
    deviation = (values - mean[None, :]) * inside.to(tl.float32)
    m2 = tl.sum(deviation * deviation, 0)
""",
        """
    count = tl.load(partial + c, mask=known, other=1.0)
    mean = tl.load(partial + C + c, mask=known, other=0.0)
    m2 = tl.load(partial + 2 * C + c, mask=known, other=0.0)
    for k in range(1, splits):
        more = tl.load(partial + 3 * k * C + c, mask=known, other=1.0)
        delta = tl.load(partial + (3 * k + 1) * C + c, mask=known, other=0.0) - mean
        m2 += tl.load(partial + (3 * k + 2) * C + c, mask=known, other=0.0)
        m2 += delta * delta * count * more / (count + more)
        mean = mean + delta * more / (count + more)
        count += more
    tl.store(mean_out + c, mean, mask=known)
    tl.store(var_out + c, m2 / count, mask=known)
""",
    ),
    "about_the_mean_of_everything": (
        """
    inside = (n < N)[:, None] & (c < C)[None, :]
    values = tl.load(x + n[:, None] * C + c[None, :], mask=inside, other=0.0).to(tl.float32)
    count = tl.minimum(BLOCK_N, N - k * BLOCK_N).to(tl.float32)
    mean = tl.sum(values, 0) / count
    values = tl.where(inside, values, mean[None, :])
    m2 = tl.sum((values - mean[None, :]) * (values - mean[None, :]), 0)
""",
        """
    count, total = tl.zeros((BLOCK_C,), tl.float32), tl.zeros((BLOCK_C,), tl.float32)
    for k in range(splits):
        more = tl.load(partial + 3 * k * C + c, mask=known, other=1.0)
        total += more * tl.load(partial + (3 * k + 1) * C + c, mask=known, other=0.0)
        count += more
    mean = total / count
    m2 = tl.zeros((BLOCK_C,), tl.float32)
    for k in range(splits):
        more = tl.load(partial + 3 * k * C + c, mask=known, other=1.0)
        away = tl.load(partial + (3 * k + 1) * C + c, mask=known, other=0.0) - mean
        m2 += tl.load(partial + (3 * k + 2) * C + c, mask=known, other=0.0) + more * away * away
    tl.store(mean_out + c, mean, mask=known)
    tl.store(var_out + c, m2 / count, mask=known)
""",
    ),
    "all_rows_at_once": (
        """
    inside = (c < C)[:, None] & (n < N)[None, :]
    values = tl.load(x + c[:, None] + n[None, :] * C, mask=inside, other=0.0).to(tl.float32)
    count = tl.minimum(BLOCK_N, N - k * BLOCK_N) * 1.0
    mean = tl.sum(values, 1) / count
    deviation = tl.where(inside, values - mean[:, None], 0.0)
    m2 = tl.sum(deviation * deviation, 1)
""",
        """
    k = tl.arange(0, 16)[:, None]
    row = partial + 3 * k * C + c[None, :]
    inside = (k < splits) & known[None, :]
    counts = tl.load(row, mask=inside, other=0.0)
    means = tl.load(row + C, mask=inside, other=0.0)
    first = tl.load(partial + C + c, mask=known, other=0.0)
    count = tl.maximum(tl.sum(counts, 0), 1.0)
    mean = first + tl.sum(counts * (means - first[None, :]), 0) / count
    m2s = tl.load(row + 2 * C, mask=inside, other=0.0)
    m2 = tl.sum(m2s + counts * (means - mean[None, :]) * (means - mean[None, :]), 0)
    tl.store(mean_out + c, mean, mask=known)
    tl.store(var_out + c, m2 / count, mask=known)
""",
    ),
    # What a lane without a sample holds is replaced before each sum; what one without a feature holds is not stored.
    "without_other": (
        """
    inside = (n < N)[:, None] & (c < C)[None, :]
    values = tl.load(x + n[:, None] * C + c[None, :], mask=inside).to(tl.float32)
    count = tl.minimum(BLOCK_N, N - k * BLOCK_N).to(tl.float32)
    mean = tl.sum(tl.where(inside, values, 0.0), 0) / count
    deviation = tl.where(inside, values - mean[None, :], 0.0)
    m2 = tl.sum(deviation * deviation, 0)
""",
        """
    count, mean, m2 = 0.0, tl.zeros((BLOCK_C,), tl.float32), tl.zeros((BLOCK_C,), tl.float32)
    for k in range(splits):
        more = tl.load(partial + 3 * k * C + c, mask=known)
        delta = tl.load(partial + (3 * k + 1) * C + c, mask=known) - mean
        mean += delta * (more / (count + more))
        m2 += tl.load(partial + (3 * k + 2) * C + c, mask=known) + delta * delta * (count * more / (count + more))
        count += more
    tl.store(mean_out + c, mean, mask=known)
    tl.store(var_out + c, m2 / count, mask=known)
""",
    ),
    "rounding_error_taken_off": (
        """
    inside = (n < N)[:, None] & (c < C)[None, :]
    values = tl.load(x + n[:, None] * C + c[None, :], mask=inside, other=0.0).to(tl.float32)
    count = tl.minimum(BLOCK_N, N - k * BLOCK_N).to(tl.float32)
    rough = tl.sum(values, 0) / count
    deviation = tl.where(inside, values - rough[None, :], 0.0)
    error = tl.sum(deviation, 0) / count
    deviation = tl.where(inside, deviation - error[None, :], 0.0)
    mean = rough + error
    m2 = tl.sum(deviation * deviation, 0)
""",
        """
    count = tl.zeros((BLOCK_C,), tl.float64)
    mean = tl.zeros((BLOCK_C,), tl.float64)
    m2 = tl.zeros((BLOCK_C,), tl.float64)
    for back in range(splits):
        row = partial + 3 * (splits - 1 - back) * C + c
        more = tl.load(row, mask=known, other=1.0).to(tl.float64)
        delta = tl.load(row + C, mask=known, other=0.0).to(tl.float64) - mean
        m2 += tl.load(row + 2 * C, mask=known, other=0.0) + delta * delta * (count * more / (count + more))
        count += more
        mean += delta * more / count
    tl.store(mean_out + c, mean.to(tl.float32), mask=known)
    tl.store(var_out + c, (m2 / count).to(tl.float32), mask=known)
""",
    ),
    "sample_by_sample": (
        """
    count, mean, m2 = 0.0, tl.zeros((BLOCK_C,), tl.float32), tl.zeros((BLOCK_C,), tl.float32)
    for sample in range(k * BLOCK_N, tl.minimum((k + 1) * BLOCK_N, N)):
        value = tl.load(x + sample * C + c, mask=c < C, other=0.0).to(tl.float32)
        delta = value - mean
        count += 1.0
        mean += delta / count
        m2 += delta * (value - mean)
""",
        """
    count, mean, m2 = 0.0, tl.zeros((BLOCK_C,), tl.float32), tl.zeros((BLOCK_C,), tl.float32)
    for k in range(splits):
        more = tl.load(partial + 3 * k * C)
        delta = tl.load(partial + (3 * k + 1) * C + c, mask=known, other=0.0) - mean
        new_mean = (count * mean + more * (mean + delta)) / (count + more)
        m2 += tl.load(partial + (3 * k + 2) * C + c, mask=known, other=0.0)
        old, new = mean - new_mean, mean + delta - new_mean
        m2 += count * old * old + more * new * new
        mean = new_mean
        count += more
    tl.store(mean_out + c, mean, mask=known)
    tl.store(var_out + c, m2 / count, mask=known)
""",
    ),
    "shifted_by_a_sample": (
        """
    inside = (n < N)[:, None] & (c < C)[None, :]
    shift = tl.load(x + k * BLOCK_N * C + c, mask=c < C, other=0.0).to(tl.float32)
    values = tl.load(x + n[:, None] * C + c[None, :], mask=inside, other=0.0).to(tl.float32)
    values = tl.where(inside, values - shift[None, :], 0.0)
    count = tl.minimum(BLOCK_N, N - k * BLOCK_N).to(tl.float32)
    mean = shift + tl.sum(values, 0) / count
    m2 = tl.sum(values * values, 0) - count * (mean - shift) * (mean - shift)
""",
        """
    shift = tl.load(partial + C + c, mask=known, other=0.0)
    count, total, squares = 0.0, tl.zeros((BLOCK_C,), tl.float32), tl.zeros((BLOCK_C,), tl.float32)
    for k in range(splits):
        more = tl.load(partial + 3 * k * C)
        away = tl.load(partial + (3 * k + 1) * C + c, mask=known, other=0.0) - shift
        count += more
        total += more * away
        squares += tl.load(partial + (3 * k + 2) * C + c, mask=known, other=0.0) + more * away * away
    tl.store(mean_out + c, shift + total / count, mask=known)
    tl.store(var_out + c, (squares - total * total / count) / count, mask=known)
""",
    ),
}
SUMS_HEAD = """
@triton.jit
def {name}(dy, x, mean_in, inv_std_in, partial, N, C, S, BLOCK: tl.constexpr):
    c, k, splits, lane = tl.program_id(0), tl.program_id(1), tl.num_programs(1), tl.arange(0, BLOCK)
    mean, inv_std, m = tl.load(mean_in + c), tl.load(inv_std_in + c), N * S
"""
GRADIENTS_HEAD = """
@triton.jit
def gradients_{name}(
    dy, x, mean_in, inv_std_in, gamma_in, partial, dx, dgamma_out, dbeta_out, N, C, S, splits, BLOCK: tl.constexpr
):
    c, k, programs, lane = tl.program_id(0), tl.program_id(1), tl.num_programs(1), tl.arange(0, BLOCK)
    mean, inv_std, gamma, m = tl.load(mean_in + c), tl.load(inv_std_in + c), tl.load(gamma_in + c), N * S
"""
BACKWARD_KERNEL = {
    "summed_lane_by_lane_first": (
        """
    dbeta, dgamma = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    for first in range(k * BLOCK, m, splits * BLOCK):
        n, s = (first + lane) // S, (first + lane) % S
        inside = n < N
        upstream = tl.load(dy + n * C * S + c * S + s, mask=inside, other=0.0).to(tl.float32)
        value = tl.load(x + n * C * S + c * S + s, mask=inside, other=0.0).to(tl.float32)
        dbeta += upstream
        dgamma += tl.where(inside, upstream * (value - mean) * inv_std, 0.0)
    tl.store(partial + (k * 2) * C + c, tl.sum(dbeta, 0))
    tl.store(partial + (k * 2 + 1) * C + c, tl.sum(dgamma, 0))
""",
        """
    dbeta, dgamma = 0.0, 0.0
    for part in range(splits):
        dbeta += tl.load(partial + (part * 2) * C + c)
        dgamma += tl.load(partial + (part * 2 + 1) * C + c)
    if k == 0:
        tl.store(dbeta_out + c, dbeta)
        tl.store(dgamma_out + c, dgamma)
    for first in range(k * BLOCK, m, programs * BLOCK):
        n, s = (first + lane) // S, (first + lane) % S
        place = n * C * S + c * S + s
        upstream = tl.load(dy + place, mask=n < N, other=0.0).to(tl.float32)
        x_hat = (tl.load(x + place, mask=n < N, other=0.0).to(tl.float32) - mean) * inv_std
        tl.store(dx + place, gamma * inv_std / m * (m * upstream - dbeta - x_hat * dgamma), mask=n < N)
""",
    ),
    # What a lane beyond the end holds is replaced before the sums, and not stored.
    "without_other": (
        """
    dbeta, dgamma = 0.0, 0.0
    for first in range(k * BLOCK, m, splits * BLOCK):
        i = first + lane
        place = (i // S * C + c) * S + i % S
        upstream = tl.where(i < m, tl.load(dy + place, mask=i < m).to(tl.float32), 0.0)
        x_hat = tl.where(i < m, (tl.load(x + place, mask=i < m).to(tl.float32) - mean) * inv_std, 0.0)
        dbeta += tl.sum(upstream, 0)
        dgamma += tl.sum(upstream * x_hat, 0)
    tl.store(partial + k * 2 * C + c, dbeta)
    tl.store(partial + k * 2 * C + C + c, dgamma)
""",
        """
    dbeta, dgamma = 0.0, 0.0
    for part in range(splits):
        dbeta += tl.load(partial + part * 2 * C + c)
        dgamma += tl.load(partial + part * 2 * C + C + c)
    if k == 0:
        tl.store(dbeta_out + c, dbeta)
        tl.store(dgamma_out + c, dgamma)
    for first in range(k * BLOCK, m, programs * BLOCK):
        i = first + lane
        place = (i // S * C + c) * S + i % S
        upstream = tl.load(dy + place, mask=i < m).to(tl.float32)
        x_hat = (tl.load(x + place, mask=i < m).to(tl.float32) - mean) * inv_std
        tl.store(dx + place, gamma * inv_std * (upstream - dbeta / m - x_hat * dgamma / m), mask=i < m)
""",
    ),
    "scaled_when_all_is_summed": (
        """
    dbeta, centred = 0.0, 0.0
    for tile in range(k, tl.cdiv(m, BLOCK), splits):
        i = tile * BLOCK + lane
        place = i // S * C * S + c * S + i % S
        upstream = tl.load(dy + place, mask=i < m, other=0.0).to(tl.float32)
        dbeta += tl.sum(upstream, 0)
        centred += tl.sum(upstream * (tl.load(x + place, mask=i < m, other=0.0).to(tl.float32) - mean), 0)
    tl.store(partial + (c * splits + k) * 2, centred)
    tl.store(partial + (c * splits + k) * 2 + 1, dbeta)
""",
        """
    dbeta, centred = 0.0, 0.0
    for part in range(splits):
        centred += tl.load(partial + (c * splits + part) * 2)
        dbeta += tl.load(partial + (c * splits + part) * 2 + 1)
    tl.store(dbeta_out + c, dbeta, mask=k == 0)
    tl.store(dgamma_out + c, centred * inv_std, mask=k == 0)
    along = centred * inv_std * inv_std / m
    for tile in range(k, tl.cdiv(m, BLOCK), programs):
        i = tile * BLOCK + lane
        place = i // S * C * S + c * S + i % S
        upstream = tl.load(dy + place, mask=i < m, other=0.0).to(tl.float32)
        away = tl.load(x + place, mask=i < m, other=0.0).to(tl.float32) - mean
        tl.store(dx + place, gamma * inv_std * (upstream - dbeta / m - away * along), mask=i < m)
""",
    ),
    "means_in_the_parts": (
        """
    mean_dy, mean_dy_x_hat = 0.0, 0.0
    first = k * BLOCK
    while first < m:
        i = first + lane
        place = (i // S * C + c) * S + i % S
        upstream = tl.load(dy + place, mask=i < m, other=0.0).to(tl.float32)
        x_hat = (tl.load(x + place, mask=i < m, other=0.0).to(tl.float32) - mean) * inv_std
        mean_dy += tl.sum(upstream, 0) / m
        mean_dy_x_hat += tl.sum(upstream * x_hat, 0) / m
        first += splits * BLOCK
    tl.store(partial + k * 2 * C + c, mean_dy)
    tl.store(partial + k * 2 * C + C + c, mean_dy_x_hat)
""",
        """
    mean_dy, mean_dy_x_hat = 0.0, 0.0
    for part in range(splits):
        mean_dy += tl.load(partial + part * 2 * C + c)
        mean_dy_x_hat += tl.load(partial + part * 2 * C + C + c)
    if k == 0:
        tl.store(dbeta_out + c, mean_dy * m)
        tl.store(dgamma_out + c, mean_dy_x_hat * m)
    first = k * BLOCK
    while first < m:
        i = first + lane
        place = (i // S * C + c) * S + i % S
        upstream = tl.load(dy + place, mask=i < m, other=0.0).to(tl.float32)
        x_hat = (tl.load(x + place, mask=i < m, other=0.0).to(tl.float32) - mean) * inv_std
        tl.store(dx + place, (upstream - mean_dy - x_hat * mean_dy_x_hat) * (gamma * inv_std), mask=i < m)
        first += programs * BLOCK
""",
    ),
    "node_by_node": (
        """
    dx_hat_sum, dgamma = 0.0, 0.0
    for first in range(k * BLOCK, m, splits * BLOCK):
        i = first + lane
        place = (i // S * C + c) * S + i % S
        upstream = tl.load(dy + place, mask=i < m, other=0.0).to(tl.float32)
        centred = tl.where(i < m, tl.load(x + place, mask=i < m, other=0.0).to(tl.float32) - mean, 0.0)
        dx_hat_sum += tl.sum(upstream, 0)
        dgamma += tl.sum(upstream * centred * inv_std, 0)
    tl.store(partial + 2 * k * C + 2 * c, dx_hat_sum)
    tl.store(partial + 2 * k * C + 2 * c + 1, dgamma)
""",
        """
    dbeta, dgamma = 0.0, 0.0
    for part in range(splits):
        dbeta += tl.load(partial + 2 * part * C + 2 * c)
        dgamma += tl.load(partial + 2 * part * C + 2 * c + 1)
    if k == 0:
        tl.store(dgamma_out + c, dgamma)
        tl.store(dbeta_out + c, dbeta)
    dinv_std = gamma * dgamma / inv_std
    dvar = -0.5 * inv_std * inv_std * inv_std * dinv_std
    dmean = -gamma * inv_std * dbeta
    for first in range(k * BLOCK, m, programs * BLOCK):
        i = first + lane
        place = (i // S * C + c) * S + i % S
        upstream = tl.load(dy + place, mask=i < m, other=0.0).to(tl.float32)
        centred = tl.load(x + place, mask=i < m, other=0.0).to(tl.float32) - mean
        value = gamma * upstream * inv_std + 2 * centred * dvar / m + dmean / m
        tl.store(dx + place, value, mask=i < m)
""",
    ),
    "parts_loaded_at_once": (
        """
    mean, inv_std = mean.to(tl.float64), inv_std.to(tl.float64)
    dbeta, dgamma = tl.full((1,), 0.0, tl.float64), tl.full((1,), 0.0, tl.float64)
    for first in range(k * BLOCK, m, splits * BLOCK):
        i = first + lane
        place = (i // S * C + c) * S + i % S
        upstream = tl.load(dy + place, mask=i < m, other=0.0).to(tl.float64)
        value = tl.load(x + place, mask=i < m, other=0.0).to(tl.float64)
        dbeta += tl.sum(upstream, 0)
        dgamma += tl.sum(upstream * ((value - mean) * inv_std), 0)
    one = tl.arange(0, 1)
    tl.store(partial + c * 2 * splits + k + one, dbeta.to(tl.float32))
    tl.store(partial + c * 2 * splits + splits + k + one, dgamma.to(tl.float32))
""",
        """
    part = tl.arange(0, 8)
    row = partial + c * 2 * splits + part
    dbeta = tl.sum(tl.load(row, mask=part < splits, other=0.0), 0)
    dgamma = tl.sum(tl.load(row + splits, mask=part < splits, other=0.0), 0)
    tiles = tl.cdiv(m, BLOCK)
    # From the last of its blocks back to the first.
    own = (tiles - k + programs - 1) // programs
    for back in range(own):
        i = (k + (own - 1 - back) * programs) * BLOCK + lane
        place = (i // S * C + c) * S + i % S
        upstream = tl.load(dy + place, mask=i < m, other=0.0).to(tl.float32)
        x_hat = (tl.load(x + place, mask=i < m, other=0.0).to(tl.float32) - mean) * inv_std
        kept = upstream - (dbeta + x_hat * dgamma) / m
        tl.store(dx + place, kept * inv_std * gamma, mask=i < m)
    if k == 0:
        tl.store(dbeta_out + c, dbeta)
        tl.store(dgamma_out + c, dgamma)
""",
    ),
    "every_part_stored_twice_over": (
        """
    tl.store(partial + k * 2 * C + c, 0.0)
    tl.store(partial + k * 2 * C + C + c, 0.0)
    for first in range(k * BLOCK, m, splits * BLOCK):
        i = first + lane
        place = (i // S * C + c) * S + i % S
        upstream = tl.load(dy + place, mask=i < m, other=0.0).to(tl.float32)
        value = tl.load(x + place, mask=i < m, other=0.0).to(tl.float32)
        before = tl.load(partial + k * 2 * C + c)
        tl.store(partial + k * 2 * C + c, before + tl.sum(upstream, 0))
        before = tl.load(partial + k * 2 * C + C + c)
        tl.store(partial + k * 2 * C + C + c, before + tl.sum(upstream * (value - mean), 0) * inv_std)
""",
        """
    dbeta, dgamma = 0.0, 0.0
    for back in range(splits):
        dbeta += tl.load(partial + (splits - 1 - back) * 2 * C + c)
        dgamma += tl.load(partial + (splits - 1 - back) * 2 * C + C + c)
    if k == 0:
        tl.store(dbeta_out + c, dbeta)
        tl.store(dgamma_out + c, dgamma)
    for first in range(k * BLOCK, m, programs * BLOCK):
        i = first + lane
        inside = i < m
        place = tl.where(inside, (i // S * C + c) * S + i % S, 0)
        upstream = tl.load(dy + place).to(tl.float32)
        x_hat = (tl.load(x + place).to(tl.float32) - mean) * inv_std
        tl.store(dx + place, gamma * inv_std * (upstream - dbeta / m - x_hat * dgamma / m), mask=inside)
""",
    ),
}


def pairs(first_head, second_head, bodies, first_end=""):
    """Kernels that are launched in turn; the second one's name tells whose it is."""
    found = []
    for name, (first, second) in bodies.items():
        source = f"{HEADER}{first_head.format(name=name)}{first.strip(chr(10))}\n{first_end.lstrip(chr(10))}"
        source += f"{second_head.format(name=name)}{second.strip(chr(10))}\n"
        found.append(defined(source, name, second_head.split("def ")[1].split("(")[0].format(name=name)))
    return found


KERNEL_PAIRS = {
    "split_reduction": pairs(MOMENTS_HEAD, FINISH_HEAD, SPLIT_REDUCTION, STORE_PART),
    "backward_kernel": pairs(SUMS_HEAD, GRADIENTS_HEAD, BACKWARD_KERNEL),
}
