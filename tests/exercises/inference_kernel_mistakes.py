"""Wrong kernels of inference mode as learners write them; each is the right one with some of its text replaced."""

from tests.exercises.bank import defined

KERNEL = """import triton
import triton.language as tl

@triton.jit
def {name}(
    x_pointer, y_pointer, mean_pointer, var_pointer, weight_pointer, bias_pointer, N, C, S, eps, BLOCK: tl.constexpr
):
    row = tl.program_id(0)
    n, lane = row // C, tl.arange(0, BLOCK)
    for first in range(0, {end}, BLOCK):
        s = first + lane
        place = {place}
        c = {channel}
        mean, var = tl.load(mean_pointer + c), tl.load(var_pointer + c)
        weight, bias = tl.load(weight_pointer + c), tl.load(bias_pointer + c)
        x = tl.load(x_pointer + place, {loaded})
        y = {y}
        {store}
"""
RIGHT = {
    "end": "S",
    "place": "row * S + s",
    "channel": "row % C",
    "loaded": "mask=s < S, other=0.0",
    "y": "(x - mean) / tl.sqrt(var + eps) * weight + bias",
    "store": "tl.store(y_pointer + place, y, mask=s < S)",
}


def kernel(name, **changed):
    return defined(KERNEL.format(name=name, **{**RIGHT, **changed}), name)


SINGLES = {
    name: kernel(name, **changed)
    for name, changed in {
        "last_block_ignored": {"end": "S // BLOCK * BLOCK"},
        "first_block_only": {"end": "1"},
        "channels_before_examples": {"channel": "row // N"},
        "example_for_channel": {"channel": "n"},
        "first_channel_for_all": {"channel": "0"},
        "position_for_channel": {"channel": "place % C"},
        "eps_missing": {"y": "(x - mean) * tl.rsqrt(var) * weight + bias"},
        "eps_fixed": {"y": "(x - mean) * tl.rsqrt(var + 1e-5) * weight + bias"},
        "eps_outside": {"y": "(x - mean) / (tl.sqrt(var) + eps) * weight + bias"},
        "divided_by_variance": {"y": "weight * (x - mean) / (var + eps) + bias"},
        "multiplied_by_root": {"y": "(x - mean) * tl.sqrt(var + eps) * weight + bias"},
        "no_centring": {"y": "x * tl.rsqrt(var + eps) * weight + bias"},
        "sign_flipped": {"y": "(mean - x) * tl.rsqrt(var + eps) * weight + bias"},
        "weight_missing": {"y": "(x - mean) * tl.rsqrt(var + eps) + bias"},
        "bias_missing": {"y": "(x - mean) * (weight * tl.rsqrt(var + eps))"},
        "weight_bias_swapped": {"y": "(x - mean) * tl.rsqrt(var + eps) * bias + weight"},
        "bias_scaled": {"y": "((x - mean) * tl.rsqrt(var + eps) + bias) * weight"},
    }.items()
}
UNMASKED_STORE = "tl.store(y_pointer + place, y)"
ADDED = "tl.store(y_pointer + place, y + tl.load(y_pointer + place, mask=s < S, other=0.0))"
IN_PLACE = [
    (kernel("store_without_a_mask", store=UNMASKED_STORE), {"written_outside", "race"}),
    (kernel("load_without_a_mask", loaded=""), {"read_outside"}),
    (kernel("no_mask_and_no_bias", store=UNMASKED_STORE, y="(x - mean) / tl.sqrt(var + eps) * weight"), None),
    (kernel("map_for_channel", channel="row"), {"read_outside"}),
    (kernel("scales_x_in_place", y="x", store="tl.store(x_pointer + place, 2 * x, mask=s < S)"), None),
    (kernel("one_place_too_far", store="tl.store(y_pointer + place + 1, y, mask=s < S)"), None),
    (kernel("far_before_the_array", store="tl.store(y_pointer + place - 1000000, y, mask=s < S)"), None),
    (kernel("all_programs_write_one_map", store="tl.store(y_pointer + s, y, mask=s < S)"), {"left_out", "race"}),
    (kernel("mask_one_too_narrow", store="tl.store(y_pointer + place, y, mask=s < S - 1)"), {"left_out"}),
    (
        kernel("adds_to_what_is_there", store=ADDED),
        None,
    ),
    (kernel("adds_atomically", store="tl.atomic_add(y_pointer + place, y, mask=s < S)"), {"read_unwritten"}),
]
EXPECTED = {
    "no_mask_and_no_bias": {"written_outside", "race", "bias_missing"},
    "scales_x_in_place": {"in_place", "left_out"},
    "one_place_too_far": {"left_out", "written_outside"},
    "far_before_the_array": {"left_out", "written_outside"},
    "adds_to_what_is_there": {"written_outside", "race", "read_unwritten"},
}
IN_PLACE = [(function, faults or EXPECTED[function.__name__]) for function, faults in IN_PLACE]
zeros = kernel("zeros", y="x * 0")
UNNAMED = [
    zeros,
    kernel("x_passed_through", y="x"),
    kernel("not_a_number", y="x * float('nan')"),
    kernel("three_halves", y="1.5 * (x - mean) / tl.sqrt(var + eps) * weight + bias"),
    kernel("a_relu_too_many", y="tl.maximum((x - mean) / tl.sqrt(var + eps) * weight + bias, 0.0)"),
    kernel("maps_transposed", store="tl.store(y_pointer + row * S + S - 1 - s, y, mask=s < S)"),
]
