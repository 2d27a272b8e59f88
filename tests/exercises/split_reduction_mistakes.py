"""Wrong pairs of kernels for the statistics of parts; each is the right pair with some of its text replaced."""

from tests.exercises.bank import defined

KERNELS = """import triton
import triton.language as tl

@triton.jit
def {name}(x_pointer, partial_pointer, N, C, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr):
    c = {features}
    split = {split}
    splits = tl.cdiv(N, BLOCK_N)
    first = split * BLOCK_N
    n = {samples}
    inside = (n < N)[:, None] & (c < C)[None, :]
    x = tl.load(x_pointer + {place}, {loaded}){cast}
    count = {count}
    mean = tl.sum(x, axis=0) / {mean_count}
    deviation = {deviation}
    m2 = {m2}
    row = partial_pointer + {row} * C + c
    tl.store(row, count, mask=c < C)
    tl.store(row + {step} * C, mean, mask=c < C)
    tl.store(row + 2 * {step} * C, m2, {stored})

@triton.jit
def finish_{name}(partial_pointer, mean_pointer, var_pointer, splits, C, BLOCK_C: tl.constexpr):
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    count, mean, m2 = {start}
    for split in {parts}:
        row = partial_pointer + {row} * C + c
        more_count = tl.load(row, mask=c < C, other=1.0)
        more_mean = tl.load(row + {step} * C, mask=c < C, other=0.0)
        more_m2 = tl.load(row + 2 * {step} * C, mask=c < C, other=0.0)
        total = count + more_count
        delta = more_mean - mean
{merge}
    var = {var}
    {store}
"""
MERGE = """
        m2 += more_m2 + {between}
        mean += delta * {share}
        count = total
"""
FROM_ZERO = "tl.zeros((BLOCK_C,), tl.float32), tl.zeros((BLOCK_C,), tl.float32), tl.zeros((BLOCK_C,), tl.float32)"
FROM_FIRST = (
    "tl.load(partial_pointer + c, mask=c < C, other=1.0), "
    "tl.load(partial_pointer + C + c, mask=c < C, other=0.0), "
    "tl.load(partial_pointer + 2 * C + c, mask=c < C, other=0.0)"
)
RIGHT = {
    "features": "tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)",
    "split": "tl.program_id(1)",
    "samples": "first + tl.arange(0, BLOCK_N)",
    "place": "n[:, None] * C + c[None, :]",
    "loaded": "mask=inside, other=0.0",
    "cast": ".to(tl.float32)",
    "count": "tl.minimum(N - first, BLOCK_N).to(tl.float32)",
    "mean_count": "count",
    "deviation": "tl.where(inside, x - mean[None, :], 0.0)",
    "m2": "tl.sum(deviation * deviation, axis=0)",
    "row": "split * 3",
    "step": "1",
    "stored": "mask=c < C",
    "start": FROM_ZERO,
    "parts": "range(splits)",
    "between": "delta * delta * (count * more_count / total)",
    "share": "more_count / total",
    "merge": MERGE,
    "var": "m2 / count",
    "store": "tl.store(mean_pointer + c, mean, mask=c < C); tl.store(var_pointer + c, var, mask=c < C)",
}
# All means first, then how far each lies from theirs.
ABOUT = {
    "merge": """
        mean += {weight} * more_mean
        count = total
    mean = mean / {weights}
    for split in range(splits):
        row = partial_pointer + split * 3 * C + c
        more_count = tl.load(row, mask=c < C, other=1.0)
        delta = tl.load(row + C, mask=c < C, other=0.0) - mean
        m2 += tl.load(row + 2 * C, mask=c < C, other=0.0) + {between}
"""
}


def about(weight="more_count", weights="count", between="more_count * delta * delta"):
    return {"merge": ABOUT["merge"].format(weight=weight, weights=weights, between=between)}


def kernels(name, **changed):
    parts = {**RIGHT, **changed}
    merge = parts.pop("merge").format(between=parts["between"], share=parts["share"]).strip("\n")
    return defined(KERNELS.format(name=name, merge=merge, **parts), name, f"finish_{name}")


EARLY = """
        count += more_count
        mean += delta * more_count / count
        m2 += more_m2 + delta * delta * count * (more_count / count)
"""
MOVED = """
        mean += delta * more_count / total
        delta = more_mean - mean
        m2 += more_m2 + delta * delta * (count * more_count / total)
        count = total
"""
REPLACED = """
        count, mean, m2 = more_count, more_mean, more_m2
"""
# All rows of partial at once, in lanes of which some have no row.
AT_ONCE = """
        count = total
    k = tl.arange(0, 16)[:, None]
    rows = partial_pointer + k * 3 * C + c[None, :]
    counts = tl.load(rows, mask=(k < splits) & (c < C)[None, :])
    means = tl.load(rows + C, mask=(k < splits) & (c < C)[None, :])
    count = tl.sum(counts, axis=0)
    mean = tl.sum(counts * means, axis=0) / count
    m2s = tl.load(rows + 2 * C, mask=(k < splits) & (c < C)[None, :])
    m2 = tl.sum(m2s + counts * (means - mean[None, :]) * (means - mean[None, :]), axis=0)
"""
ROWS = {"row": "split", "step": "splits"}
AFTER_FIRST = {"start": FROM_FIRST, "parts": "range(1, splits)"}
SINGLES = {
    name: kernels(name, **changed)
    for name, changed in {
        "deviation_unmasked": {"deviation": "x - mean[None, :]"},
        "no_centring": {"deviation": "x"},
        "variance_for_m2": {"m2": "tl.sum(deviation * deviation, axis=0) / count"},
        "lanes_counted": {"count": "BLOCK_N * 1.0"},
        "whole_counted": {"count": "N.to(tl.float32)"},
        "mean_by_lanes": {"mean_count": "BLOCK_N"},
        "mean_by_whole": {"mean_count": "N"},
        "first_part_for_all": {
            "samples": "tl.arange(0, BLOCK_N)",
            "count": "tl.sum((n < N).to(tl.float32), axis=0)",
        },
        "samples_and_features_swapped": {"place": "c[None, :] * N + n[:, None]"},
        "axes_swapped": {
            "features": "tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)",
            "split": "tl.program_id(0)",
        },
        "first_features_only": {"features": "tl.arange(0, BLOCK_C)"},
        "layout_swapped": ROWS,
        "parts_weighted_equally": about(weight="1", weights="splits"),
        "parts_weighted_equally_running": {"share": "(1 / (split + 1))"},
        "means_halved": {**AFTER_FIRST, "share": "0.5"},
        "between_missing": {"between": "0.0"},
        "between_unweighted": about(between="delta * delta"),
        "between_unweighted_running": {"between": "delta * delta"},
        "between_unweighted_from_first": {**AFTER_FIRST, "between": "delta * delta"},
        "between_not_divided": {"between": "delta * delta * count * more_count"},
        "count_updated_early": {"merge": EARLY},
        "count_updated_early_from_first": {**AFTER_FIRST, "merge": EARLY},
        "mean_updated_early": {"merge": MOVED},
        "last_part_ignored": {"parts": "range(splits - 1)"},
        "first_part_ignored": {"parts": "range(1, splits)"},
        "last_part_only": {"merge": REPLACED},
        "unbiased_variance": {"var": "m2 / (count - 1)"},
        "not_divided": {"var": "m2"},
        "divided_by_part": {"var": "m2 / more_count"},
        "standard_deviation": {"var": "tl.sqrt(m2 / count)"},
        "results_swapped": {
            "store": "tl.store(mean_pointer + c, var, mask=c < C); tl.store(var_pointer + c, mean, mask=c < C)"
        },
    }.items()
}
IN_PLACE = [
    (
        kernels("load_without_a_mask", loaded="", deviation="tl.where(inside, x - mean[None, :], 0.0)"),
        {"read_outside"},
    ),
    (kernels("sum_without_other", loaded="mask=inside"), {"lanes_undefined"}),
    (kernels("rows_without_other", parts="range(1)", merge=AT_ONCE), {"lanes_undefined"}),
    (
        kernels("deviation_of_lanes_without_other", loaded="mask=inside", deviation="x - mean[None, :]"),
        {"lanes_undefined", "deviation_unmasked"},
    ),
    (
        kernels("one_in_each_and_no_other", loaded="mask=inside", between="0.0"),
        {"lanes_undefined", "between_missing"},
    ),
    (kernels("store_without_a_mask", stored=""), {"written_outside", "race"}),
    (kernels("only_a_mean", store="tl.store(mean_pointer + c, mean, mask=c < C)"), {"left_out"}),
    (
        kernels("two_mistakes_in_the_first", deviation="x - mean[None, :]", count="BLOCK_N * 1.0"),
        {"deviation_unmasked", "lanes_counted"},
    ),
    (
        kernels("one_mistake_in_each", deviation="x - mean[None, :]", between="0.0"),
        {"deviation_unmasked", "between_missing"},
    ),
    (
        kernels("weights_and_count", var="m2 / (count - 1)", **about(weight="1", weights="splits")),
        {"parts_weighted_equally", "unbiased_variance"},
    ),
]
one_pass = kernels("one_pass", m2="tl.sum(x * x, axis=0) - count * mean * mean")
one_pass_between = kernels(
    "one_pass_between",
    merge="""
        m2 += more_m2 + more_count * more_mean * more_mean
        mean += more_count * more_mean
        count = total
    mean = mean / count
    m2 -= count * mean * mean
""",
)
half_sums = kernels("half_sums", cast="")
zeros = kernels(
    "zeros", store="tl.store(mean_pointer + c, 0.0, mask=c < C); tl.store(var_pointer + c, 0.0, mask=c < C)"
)
UNNAMED = [
    zeros,
    one_pass,
    one_pass_between,
    half_sums,
    kernels("not_a_number", var="m2 / (count - count)"),
    kernels("twice", var="2 * m2 / count"),
    kernels("absolute_deviations", m2="tl.sum(tl.abs(deviation), axis=0)"),
    kernels(
        "count_too_large_by_one", count="(tl.minimum(N - first, BLOCK_N) + 1).to(tl.float32)", mean_count="(count - 1)"
    ),
]
