"""Correct kernels that differ from the solutions in how they go about it."""

from tests.exercises.bank import defined

HEADER = "import triton\nimport triton.language as tl\n\n"
INFERENCE_HEAD = (
    "@triton.jit\n"
    "def {name}(x, y, mean, var, weight, bias, N, C, S, eps, BLOCK: tl.constexpr):\n"
    "    row, lane = tl.program_id(0), tl.arange(0, BLOCK)\n"
)
INFERENCE = {
    "scale_and_shift_folded": """
    c = row % C
    scale = tl.load(weight + c) * tl.rsqrt(tl.load(var + c) + eps)
    shift = tl.load(bias + c) - tl.load(mean + c) * scale
    for first in range(0, S, BLOCK):
        inside = first + lane < S
        place = row * S + first + lane
        tl.store(y + place, tl.load(x + place, mask=inside, other=0.0) * scale + shift, mask=inside)
""",
    "blocks_counted": """
    c = row - row // C * C
    for block in range(tl.cdiv(S, BLOCK)):
        s = block * BLOCK + lane
        centred = tl.load(x + row * S + s, mask=s < S, other=0.0) - tl.load(mean + c)
        x_hat = centred / tl.sqrt(tl.load(var + c) + eps)
        tl.store(y + row * S + s, x_hat * tl.load(weight + c) + tl.load(bias + c), mask=s < S)
""",
    "from_the_last_block_to_the_first": """
    c = row % C
    last = (S - 1) // BLOCK * BLOCK
    for back in range(0, S, BLOCK):
        s = last - back + lane
        value = tl.load(x + row * S + s, mask=s < S, other=float("nan"))
        inv_std = 1 / tl.sqrt(tl.load(var + c) + eps)
        value = (value - tl.load(mean + c)) * inv_std * tl.load(weight + c) + tl.load(bias + c)
        tl.store(y + row * S + s, value, mask=s < S)
""",
    "parameters_for_every_lane": """
    for first in range(0, S, BLOCK):
        place = row * S + first + lane
        inside = first + lane < S
        c = place // S % C
        value = tl.load(x + place, mask=inside, other=0.0) - tl.load(mean + c, mask=inside, other=0.0)
        value = value * tl.rsqrt(tl.load(var + c, mask=inside, other=1.0) + eps)
        value = value * tl.load(weight + c, mask=inside, other=0.0)
        tl.store(y + place, value + tl.load(bias + c, mask=inside, other=0.0), mask=inside)
""",
    "maps_taken_in_another_order": """
    n, c = row % N, row // N
    begins = (n * C + c) * S
    first = 0
    while first < S:
        inside = first + lane < S
        value = tl.load(x + begins + first + lane, mask=inside, other=0.0)
        value = (value - tl.load(mean + c)) / tl.sqrt(tl.load(var + c) + eps)
        tl.store(y + begins + first + lane, value * tl.load(weight + c) + tl.load(bias + c), mask=inside)
        first += BLOCK
""",
    # What these lanes hold is not stored.
    "without_other": """
    c = row % C
    for first in range(0, S, BLOCK):
        s = first + lane
        value = tl.load(x + row * S + s, mask=s < S) - tl.load(mean + c)
        value = value * tl.rsqrt(tl.load(var + c) + eps) * tl.load(weight + c) + tl.load(bias + c)
        tl.store(y + row * S + s, value, mask=s < S)
""",
    "in_float64": """
    c = row % C
    inv_std = 1 / tl.sqrt(tl.load(var + c).to(tl.float64) + eps)
    for first in range(0, S, BLOCK):
        s = first + lane
        value = tl.load(x + row * S + s, mask=s < S, other=0.0).to(tl.float64)
        value = (value - tl.load(mean + c)) * inv_std * tl.load(weight + c) + tl.load(bias + c)
        tl.store(y + row * S + s, value.to(tl.float32), mask=s < S)
""",
}
STATISTICS_HEAD = (
    "@triton.jit\n"
    "def {name}(x, mean_out, var_out, N, C, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr):\n"
    "    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)\n"
    "    lane = tl.arange(0, BLOCK_N)\n"
)
STATISTICS_END = """
    tl.store(mean_out + c, mean, mask=c < C)
    tl.store(var_out + c, m2 / N, mask=c < C)
"""
STATISTICS = {
    "masked_by_a_factor": """
    total = tl.zeros((BLOCK_C,), tl.float32)
    for first in range(0, N, BLOCK_N):
        inside = (first + lane < N)[:, None] & (c < C)[None, :]
        total += tl.sum(tl.load(x + (first + lane)[:, None] * C + c[None, :], mask=inside, other=0).to(tl.float32), 0)
    mean = total / N
    m2 = total * 0
    for first in range(0, N, BLOCK_N):
        inside = (first + lane < N)[:, None] & (c < C)[None, :]
        values = tl.load(x + (first + lane)[:, None] * C + c[None, :], mask=inside, other=0).to(tl.float32)
        deviation = (values - mean[None, :]) * inside.to(tl.float32)
        m2 += tl.sum(deviation * deviation, 0)
""",
    "what_was_added_taken_off": """
    total = tl.zeros((BLOCK_C,), tl.float32)
    for first in range(0, N, BLOCK_N):
        inside = (first + lane < N)[:, None] & (c < C)[None, :]
        total += tl.sum(tl.load(x + (first + lane)[:, None] * C + c[None, :], mask=inside, other=0).to(tl.float32), 0)
    mean = total / N
    m2 = total * 0
    for first in range(0, N, BLOCK_N):
        inside = (first + lane < N)[:, None] & (c < C)[None, :]
        values = tl.load(x + (first + lane)[:, None] * C + c[None, :], mask=inside, other=0).to(tl.float32)
        values = tl.where(inside, values, mean[None, :])
        m2 += tl.sum((values - mean[None, :]) * (values - mean[None, :]), 0)
""",
    # What these lanes hold is replaced before each sum.
    "without_other": """
    total = tl.zeros((BLOCK_C,), tl.float32)
    for first in range(0, N, BLOCK_N):
        inside = (first + lane < N)[:, None] & (c < C)[None, :]
        values = tl.load(x + (first + lane)[:, None] * C + c[None, :], mask=inside).to(tl.float32)
        total += tl.sum(tl.where(inside, values, 0.0), 0)
    mean = total / N
    m2 = total * 0
    for first in range(0, N, BLOCK_N):
        inside = (first + lane < N)[:, None] & (c < C)[None, :]
        values = tl.load(x + (first + lane)[:, None] * C + c[None, :], mask=inside).to(tl.float32)
        deviation = tl.where(inside, values - mean[None, :], 0.0)
        m2 += tl.sum(deviation * deviation, 0)
""",
    "sample_by_sample": """
    mean = tl.zeros((BLOCK_C,), tl.float32)
    m2 = tl.zeros((BLOCK_C,), tl.float32)
    for n in range(N):
        value = tl.load(x + n * C + c, mask=c < C, other=0.0).to(tl.float32)
        delta = value - mean
        mean += delta / (n + 1)
        m2 += delta * (value - mean)
""",
    "blocks_merged": """
    count = 0.0
    mean = tl.zeros((BLOCK_C,), tl.float32)
    m2 = tl.zeros((BLOCK_C,), tl.float32)
    for first in range(0, N, BLOCK_N):
        inside = (first + lane < N)[:, None] & (c < C)[None, :]
        values = tl.load(x + (first + lane)[:, None] * C + c[None, :], mask=inside, other=0).to(tl.float32)
        size = tl.minimum(N - first, BLOCK_N).to(tl.float32)
        block_mean = tl.sum(values, 0) / size
        deviation = tl.where(inside, values - block_mean[None, :], 0.0)
        delta = block_mean - mean
        share = size / (count + size)
        m2 += tl.sum(deviation * deviation, 0) + delta * delta * count * share
        mean += delta * share
        count += size
""",
    "shifted_by_the_first_sample": """
    shift = tl.load(x + c, mask=c < C, other=0.0).to(tl.float32)
    total = tl.zeros((BLOCK_C,), tl.float32)
    squares = tl.zeros((BLOCK_C,), tl.float32)
    for first in range(0, N, BLOCK_N):
        inside = (first + lane < N)[:, None] & (c < C)[None, :]
        values = tl.load(x + (first + lane)[:, None] * C + c[None, :], mask=inside, other=0).to(tl.float32)
        shifted = tl.where(inside, values - shift[None, :], 0.0)
        total += tl.sum(shifted, 0)
        squares += tl.sum(shifted * shifted, 0)
    mean = shift + total / N
    m2 = squares - total * total / N
""",
    "features_along_the_first_axis": """
    total = tl.zeros((BLOCK_C, BLOCK_N), tl.float32)
    for first in range(0, N, BLOCK_N):
        inside = (c < C)[:, None] & (first + lane < N)[None, :]
        total += tl.load(x + c[:, None] + (first + lane)[None, :] * C, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(total, 1) / N
    total = total * 0
    for first in range(0, N, BLOCK_N):
        inside = (c < C)[:, None] & (first + lane < N)[None, :]
        values = tl.load(x + c[:, None] + (first + lane)[None, :] * C, mask=inside, other=0.0).to(tl.float32)
        total += tl.where(inside, (values - mean[:, None]) * (values - mean[:, None]), 0.0)
    m2 = tl.sum(total, 1)
""",
}


def kernels(head, bodies, end=""):
    return [
        defined(f"{HEADER}{head.format(name=name)}{body.strip(chr(10))}\n{end.lstrip(chr(10))}", name)
        for name, body in bodies.items()
    ]


KERNELS = {
    "inference_kernel": kernels(INFERENCE_HEAD, INFERENCE),
    "missing_mask": kernels(STATISTICS_HEAD, STATISTICS, STATISTICS_END),
}
