"""Wrong pairs of kernels for the backward pass; each is the right pair with some of its text replaced."""

from tests.exercises.bank import defined

KERNELS = """import triton
import triton.language as tl

@triton.jit
def {name}(dy_pointer, x_pointer, mean_pointer, inv_std_pointer, partial_pointer, N, C, S, BLOCK: tl.constexpr):
    c, split, splits = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    m = N * S
    mean, inv_std = tl.load(mean_pointer + c), tl.load(inv_std_pointer + c)
    sum_dy, sum_dy_x_hat = 0.0, 0.0
    for first in range({sums_from}, {sums_to}, {sums_step}):
        i = first + tl.arange(0, BLOCK)
        place = {place}
        dy = tl.load(dy_pointer + place, {loaded}){cast}
        x = tl.load(x_pointer + place, {x_loaded}){cast}
        x_hat = {x_hat}
        sum_dy {adds} tl.sum(dy, axis=0)
        sum_dy_x_hat {adds} tl.sum(dy * {factor}, axis=0)
    tl.store(partial_pointer + {dy_row}, sum_dy)
    tl.store(partial_pointer + {x_hat_row}, sum_dy_x_hat)

@triton.jit
def gradients_{name}(
    dy_pointer, x_pointer, mean_pointer, inv_std_pointer, gamma_pointer, partial_pointer, dx_pointer, dgamma_pointer,
    dbeta_pointer, N, C, S, splits, BLOCK: tl.constexpr
):
    c, k, programs = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    m = N * S
    mean, inv_std, gamma = tl.load(mean_pointer + c), tl.load(inv_std_pointer + c), tl.load(gamma_pointer + c)
    first_sum, second_sum = 0.0, 0.0
    for split in {parts}:
        first_sum {collects} tl.load(partial_pointer + (split * 2 + 0) * C + c)
        second_sum {collects} tl.load(partial_pointer + (split * 2 + 1) * C + c)
    dbeta, dgamma = first_sum, second_sum
    if {who}:
        tl.store(dbeta_pointer + c, {dbeta})
        tl.store(dgamma_pointer + c, {dgamma})
    for first in range({dx_from}, {dx_to}, {dx_step}):
        i = first + tl.arange(0, BLOCK)
        place = {place}
        dy = tl.load(dy_pointer + place, mask=i < m, other=0.0){cast}
        x = tl.load(x_pointer + place, mask=i < m, other=0.0){cast}
        x_hat = {x_hat}
        dx = {gamma} * {inv_std} * (dy {minus_mean} {mean_path} {minus_variance} {along} * {variance_path})
        tl.store(dx_pointer + place, dx, {stored})
"""
RIGHT = {
    "sums_from": "split * BLOCK",
    "sums_to": "m",
    "sums_step": "splits * BLOCK",
    "place": "(i // S * C + c) * S + i % S",
    "loaded": "mask=i < m, other=0.0",
    "x_loaded": "mask=i < m, other=0.0",
    "cast": ".to(tl.float32)",
    "x_hat": "(x - mean) * inv_std",
    "adds": "+=",
    "factor": "x_hat",
    "dy_row": "(split * 2 + 0) * C + c",
    "x_hat_row": "(split * 2 + 1) * C + c",
    "parts": "range(splits)",
    "collects": "+=",
    "who": "k == 0",
    "dbeta": "dbeta",
    "dgamma": "dgamma",
    "dx_from": "k * BLOCK",
    "dx_to": "m",
    "dx_step": "programs * BLOCK",
    "gamma": "gamma",
    "inv_std": "inv_std",
    "minus_mean": "-",
    "mean_path": "dbeta / m",
    "minus_variance": "-",
    "along": "x_hat",
    "variance_path": "dgamma / m",
    "stored": "mask=i < m",
}


def kernels(name, **changed):
    return defined(KERNELS.format(name=name, **{**RIGHT, **changed}), name, f"gradients_{name}")


SINGLES = {
    name: kernels(name, **changed)
    for name, changed in {
        "mean_path_dropped": {"mean_path": "0.0"},
        "variance_path_dropped": {"variance_path": "0.0"},
        "count_missing": {"mean_path": "dbeta", "variance_path": "dgamma"},
        "mean_path_summed": {"mean_path": "dbeta"},
        "variance_path_summed": {"variance_path": "dgamma"},
        "mean_path_sign": {"minus_mean": "+"},
        "variance_path_sign": {"minus_variance": "+"},
        "variance_path_centred": {"along": "(x - mean)"},
        "divided_by_examples": {"mean_path": "dbeta / N", "variance_path": "dgamma / N"},
        "divided_by_block": {"mean_path": "dbeta / BLOCK", "variance_path": "dgamma / BLOCK"},
        "gamma_missing": {"gamma": "1.0"},
        "inv_std_missing": {"inv_std": "1.0"},
        "inv_std_squared": {"inv_std": "inv_std * inv_std"},
        "no_centring": {"x_hat": "x * inv_std"},
        "dgamma_from_x": {"factor": "x"},
        "dgamma_from_centred": {"factor": "(x - mean)"},
        "dgamma_averaged": {"dgamma": "dgamma / m"},
        "dgamma_times_gamma": {"dgamma": "gamma * dgamma"},
        "dbeta_averaged": {"dbeta": "dbeta / m"},
        "dbeta_times_gamma": {"dbeta": "gamma * dbeta"},
        "dgamma_dbeta_swapped": {"dgamma": "dbeta", "dbeta": "dgamma"},
        "sums_swapped": {"dy_row": RIGHT["x_hat_row"], "x_hat_row": RIGHT["dy_row"]},
        "sums_last_block_ignored": {"sums_to": "m // BLOCK * BLOCK"},
        "sums_one_block_only": {"sums_to": "tl.minimum(m, split * BLOCK + 1)"},
        "sums_last_tile_kept": {"adds": "="},
        "not_split": {"sums_from": "0", "sums_step": "BLOCK"},
        "first_part_only": {"parts": "range(1)"},
        "last_part_only": {"collects": "="},
        "last_part_ignored": {"parts": "range(splits - 1)"},
        "dx_last_block_ignored": {"dx_to": "m // BLOCK * BLOCK"},
        "dx_one_block_only": {"dx_to": "tl.minimum(m, k * BLOCK + 1)"},
        "channels_first": {"place": "c * m + i"},
        "channels_last": {"place": "i * C + c"},
    }.items()
}
IN_PLACE = [
    (kernels("load_without_a_mask", loaded=""), {"read_outside"}),
    (kernels("sums_without_other", loaded="mask=i < m", x_loaded="mask=i < m"), {"lanes_undefined"}),
    (kernels("dy_without_other", loaded="mask=i < m"), {"lanes_undefined"}),
    # dy is 0 in these lanes, and 0 times infinity is not.
    (kernels("x_without_other", x_loaded="mask=i < m"), {"lanes_undefined"}),
    (
        kernels("no_other_and_no_gamma", loaded="mask=i < m", gamma="1.0"),
        {"lanes_undefined", "gamma_missing"},
    ),
    (kernels("store_without_a_mask", stored=""), {"written_outside"}),
    (kernels("everybody_stores_the_sums", who="k >= 0"), {"race"}),
    (kernels("everybody_writes_all_of_dx", dx_from="0", dx_step="BLOCK"), {"race"}),
    (kernels("nobody_stores_dbeta", dbeta="dbeta, mask=c < 0"), {"left_out"}),
    (kernels("parts_in_one_row", dy_row="c", x_hat_row="C + c"), {"race", "read_unwritten"}),
    (
        kernels("blocks_ignored_twice", sums_to="m // BLOCK * BLOCK", dx_to="m // BLOCK * BLOCK"),
        {"sums_last_block_ignored", "dx_last_block_ignored"},
    ),
    (kernels("x_hat_not_scaled", x_hat="(x - mean)"), {"dgamma_from_centred", "variance_path_centred"}),
    (
        kernels("both_paths_dropped", mean_path="0.0", variance_path="0.0"),
        {"mean_path_dropped", "variance_path_dropped"},
    ),
    (kernels("averages_for_sums", dgamma="dgamma / m", dbeta="dbeta / m"), {"dgamma_averaged", "dbeta_averaged"}),
]
lean_x_hat = kernels("lean_x_hat", x_hat="(x * inv_std - mean * inv_std)")
half_sums = kernels("half_sums", cast="")
zeros = kernels("zeros", gamma="0.0", dbeta="0.0", dgamma="0.0")
UNNAMED = [
    zeros,
    lean_x_hat,
    half_sums,
    kernels("dy_passed_through", gamma="1.0", inv_std="1.0", mean_path="0.0", variance_path="0.0"),
    kernels("not_a_number", inv_std="(inv_std / (m - m))"),
    kernels("twice", gamma="2 * gamma"),
    kernels("counted_without_one", mean_path="dbeta / (m - 1)", variance_path="dgamma / (m - 1)"),
]
