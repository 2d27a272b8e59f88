"""Wrong kernels for statistics as learners write them; each is the right one with some of its text replaced."""

from tests.exercises.bank import defined

KERNEL = """import triton
import triton.language as tl

@triton.jit
def {name}(x_pointer, mean_pointer, var_pointer, N, C, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr):
    c = {features}
    lanes = tl.cdiv(N, BLOCK_N) * BLOCK_N
    whole = N // BLOCK_N * BLOCK_N
    total = tl.zeros((BLOCK_C,), tl.float32)
    squares = tl.zeros((BLOCK_C,), tl.float32)
    for first in range(0, {mean_end}, BLOCK_N):
        n = first + tl.arange(0, BLOCK_N)
        inside = (n < N)[:, None] & (c < C)[None, :]
        x = tl.load(x_pointer + {place}, {loaded}){cast}
        total {mean_adds} tl.sum(x, axis=0)
        squares += tl.sum(x * x, axis=0)
    mean = total / {mean_count}
    m2 = tl.zeros((BLOCK_C,), tl.float32)
    for first in range(0, {var_end}, BLOCK_N):
        n = first + tl.arange(0, BLOCK_N)
        inside = (n < N)[:, None] & (c < C)[None, :]
        x = tl.load(x_pointer + {place}, {loaded_again}).to(tl.float32)
        deviation = {deviation}
        m2 {var_adds} tl.sum({square}, axis=0)
    var = {var}
    {store}
"""
RIGHT = {
    "features": "tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)",
    "mean_end": "N",
    "var_end": "N",
    "place": "n[:, None] * C + c[None, :]",
    "loaded": "mask=inside, other=0.0",
    "loaded_again": "mask=inside, other=0.0",
    "cast": ".to(tl.float32)",
    "mean_adds": "+=",
    "var_adds": "+=",
    "mean_count": "N",
    "deviation": "tl.where(inside, x - mean[None, :], 0.0)",
    "square": "deviation * deviation",
    "var": "m2 / N",
    "store": "tl.store(mean_pointer + c, mean, mask=c < C); tl.store(var_pointer + c, var, mask=c < C)",
}


def kernel(name, **changed):
    return defined(KERNEL.format(name=name, **{**RIGHT, **changed}), name)


SINGLES = {
    name: kernel(name, **changed)
    for name, changed in {
        "deviation_unmasked": {"deviation": "x - mean[None, :]"},
        "mean_by_lanes": {"mean_count": "lanes"},
        "var_by_lanes": {"var": "m2 / lanes"},
        "mean_last_block_ignored": {"mean_end": "whole"},
        "var_last_block_ignored": {"var_end": "whole"},
        "mean_one_block_only": {"mean_adds": "="},
        "var_one_block_only": {"var_adds": "="},
        "unbiased_variance": {"var": "m2 / (N - 1)"},
        "not_divided": {"var": "m2"},
        "standard_deviation": {"var": "tl.sqrt(m2 / N)"},
        "no_centring": {"deviation": "x"},
        "absolute_deviation": {"square": "tl.abs(deviation)"},
        "results_swapped": {
            "store": "tl.store(mean_pointer + c, var, mask=c < C); tl.store(var_pointer + c, mean, mask=c < C)"
        },
        "samples_and_features_swapped": {"place": "c[None, :] * N + n[:, None]"},
        "first_features_only": {"features": "tl.arange(0, BLOCK_C)"},
    }.items()
}
STORE_VAR = "tl.store(mean_pointer + c, mean, mask=c < C); tl.store(var_pointer + c, var)"
IN_PLACE = [
    (kernel("store_without_a_mask", store=STORE_VAR), {"written_outside"}),
    (kernel("load_without_a_mask", loaded=""), {"read_outside"}),
    (kernel("sum_without_other", loaded="mask=inside"), {"lanes_undefined"}),
    (
        kernel("undefined_times_0", loaded_again="mask=inside", deviation="(x - mean[None, :]) * inside"),
        {"lanes_undefined"},
    ),
    (
        kernel("deviation_of_lanes_without_other", loaded_again="mask=inside", deviation="x - mean[None, :]"),
        {"lanes_undefined", "deviation_unmasked"},
    ),
    (
        kernel("sum_without_other_by_lanes", loaded="mask=inside", mean_count="lanes"),
        {"lanes_undefined", "mean_by_lanes"},
    ),
    (kernel("samples_masked_alone", loaded="mask=(n < N)[:, None], other=0.0"), {"read_outside"}),
    (
        kernel("unmasked_in_two_places", store=STORE_VAR, deviation="x - mean[None, :]"),
        {"written_outside", "deviation_unmasked"},
    ),
    (
        kernel("two_wrong_counts", mean_count="lanes", var="m2 / (N - 1)"),
        {"mean_by_lanes", "unbiased_variance"},
    ),
    (
        kernel("variance_left_out", store="tl.store(mean_pointer + c, mean, mask=c < C)"),
        {"left_out"},
    ),
]
one_pass = kernel("one_pass", var="squares / N - mean * mean")
half_sums = kernel("half_sums", cast="")
zeros = kernel("zeros", store="tl.store(mean_pointer + c, 0.0, mask=c < C); tl.store(var_pointer + c, 0.0, mask=c < C)")
UNNAMED = [
    zeros,
    one_pass,
    half_sums,
    kernel("not_a_number", var="m2 / (N - N)"),
    kernel("twice", var="2 * m2 / N"),
    kernel("in_order_of_size", var="tl.maximum(m2 / N, mean)"),
]
