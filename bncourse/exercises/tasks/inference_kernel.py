"""Exercise: batch norm in inference mode, as a kernel."""

# mypy: disable-error-code="no-untyped-def"
# A kernel's arguments are pointers and numbers of Triton's own.

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bncourse.exercises.batches import affine_parameter
from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Fault, FaultSet
from bncourse.exercises.probe import Empty, Launch, Probe

if TYPE_CHECKING:
    import triton.language as tl


def normalize_kernel(
    x_pointer,
    y_pointer,
    mean_pointer,
    var_pointer,
    weight_pointer,
    bias_pointer,
    N,
    C,
    S,
    eps,
    BLOCK: tl.constexpr,
):
    """Batch norm in inference mode, for N examples of C maps of S values.

    y = (x - mean) / sqrt(var + eps) * weight + bias

    It is launched on a grid of N * C programs, one for each map. A map may
    be longer or shorter than a block.

    Parameters
    ----------
    x_pointer : float32 of shape (N, C, S), contiguous: the value [n, c, s]
        lies at place (n * C + c) * S + s.
    y_pointer : the result, likewise.
    mean_pointer, var_pointer, weight_pointer, bias_pointer : float32 of
        shape (C,).
    N, C, S : sizes.
    eps : positive number.
    BLOCK : how many values a program treats at once, a power of two.
    """
    row = tl.program_id(0)
    c = row % C
    mean = tl.load(mean_pointer + c)
    var = tl.load(var_pointer + c)
    weight = tl.load(weight_pointer + c)
    bias = tl.load(bias_pointer + c)
    inv_std = 1 / tl.sqrt(var + eps)
    for first in range(0, S, BLOCK):
        s = first + tl.arange(0, BLOCK)
        x = tl.load(x_pointer + row * S + s, mask=s < S, other=0.0)
        y = (x - mean) * inv_std * weight + bias
        tl.store(y_pointer + row * S + s, y, mask=s < S)


FAULTS = (
    Fault(
        "last_block_ignored",
        "A block that is not full is left out: the values of a map beyond its last whole block are never written. Go "
        "up to S, with `range(0, S, BLOCK)`, and let a mask keep the last lanes back.",
        ("blocks",),
        ("left_out",),
    ),
    Fault(
        "first_block_only",
        "Each program treats one block, and a map can be longer: go through all of its blocks, `range(0, S, BLOCK)`.",
        ("blocks",),
        ("left_out",),
    ),
    Fault(
        "channels_before_examples",
        "The channel is taken as `program_id // N`, as if all examples of a channel lay side by side. The maps of one "
        "example do: program number row has channel `row % C`.",
        ("channel",),
    ),
    Fault(
        "example_for_channel",
        "`program_id // C` is the number of the example; the channel is the remainder, `program_id % C`.",
        ("channel",),
    ),
    Fault(
        "first_channel_for_all",
        "All maps get the parameters of channel 0: add the channel, `program_id % C`, to their pointers.",
        ("channel",),
    ),
    Fault(
        "position_for_channel",
        "The parameters are looked up at `place % C`, which is right for vectors, where the channels lie side by side. "
        "Here the positions do: a whole map has one channel, `(place // S) % C`.",
        ("channel",),
    ),
    Fault("eps_missing", "eps is missing: divide by `sqrt(var + eps)`.", ("eps",)),
    Fault(
        "eps_fixed",
        "The argument eps is not used; 1e-5 stands in its place. Divide by `sqrt(var + eps)` with the eps that the "
        "launch gives.",
        ("eps",),
    ),
    Fault(
        "eps_outside",
        "eps is added outside the square root: write `sqrt(var + eps)`, not `sqrt(var) + eps`.",
        ("eps", "root"),
    ),
    Fault(
        "divided_by_variance",
        "The centred values are divided by the variance: divide by its square root, `sqrt(var + eps)`.",
        ("root",),
    ),
    Fault(
        "multiplied_by_root",
        "The centred values are multiplied by `sqrt(var + eps)`: divide by it.",
        ("root",),
    ),
    Fault("no_centring", "The mean is not subtracted: x_hat starts from `x - mean`.", ("centring",)),
    Fault("sign_flipped", "x_hat has the wrong sign: it starts from `x - mean`, not `mean - x`.", ("centring",)),
    Fault("weight_missing", "weight is missing: y is `x_hat * weight + bias`.", ("weight",)),
    Fault("bias_missing", "bias is missing: y is `x_hat * weight + bias`.", ("bias",)),
    Fault(
        "weight_bias_swapped",
        "weight and bias have changed places: x_hat is multiplied by weight, and bias is added.",
        ("roles",),
    ),
    Fault(
        "bias_scaled",
        "The shift is scaled as well, `(x_hat + bias) * weight`: add bias last, `x_hat * weight + bias`.",
        ("weight", "bias"),
    ),
)


def faulty_inference(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray]:
    """What a kernel writes that makes the mistakes in ``faults``; NaN where it writes nothing."""
    names = ("x", "mean", "var", "weight", "bias")
    x, mean, var, weight, bias = (arguments[name].astype(np.float64) for name in names)
    eps, block = arguments["eps"], arguments["BLOCK"]
    n, c, s = x.shape
    maps = np.arange(n * c).reshape(n, c, 1)
    channel = maps % c
    if "channels_before_examples" in faults:
        channel = maps // n
    if "example_for_channel" in faults:
        channel = maps // c
    if "first_channel_for_all" in faults:
        channel = maps * 0
    if "position_for_channel" in faults:
        channel = (maps * s + np.arange(s)) % c
    mean, var, weight, bias = (parameter[channel] for parameter in (mean, var, weight, bias))

    inside = {"eps_missing": 0.0, "eps_outside": 0.0, "eps_fixed": 1e-5}
    var_plus = var + next((value for fault, value in inside.items() if fault in faults), eps)
    divisor = var_plus if "divided_by_variance" in faults else np.sqrt(var_plus)
    if "eps_outside" in faults:
        divisor = divisor + eps
    if "multiplied_by_root" in faults:
        divisor = 1 / divisor
    centred = x if "no_centring" in faults else mean - x if "sign_flipped" in faults else x - mean
    x_hat = centred / divisor
    if "weight_bias_swapped" in faults:
        weight, bias = bias, weight
    # Whoever swaps the two and forgets one forgets the multiplication or the addition of the other.
    missing_weight, missing_bias = "weight_missing", "bias_missing"
    if "weight_bias_swapped" in faults:
        missing_weight, missing_bias = missing_bias, missing_weight
    if "bias_scaled" in faults:
        y = (x_hat + bias) * weight
    else:
        y = x_hat * (1.0 if missing_weight in faults else weight) + (0.0 if missing_bias in faults else bias)
    written = {"last_block_ignored": s // block * block, "first_block_only": block}
    end = next((value for fault, value in written.items() if fault in faults), s)
    return (np.where(np.arange(s) < end, y, np.nan),)


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """Maps shorter than a block, as long, longer, with a part of a block at the end; and extreme statistics."""

    def probe(name: str, shape: tuple[int, int, int], block: int, **special: float) -> Probe:
        channels = shape[1]
        std = special.get("std", 1.0) * rng.uniform(0.6, 1.8, channels)
        mean = special.get("offset", 0.0) + rng.uniform(1.0, 3.0, channels) * rng.choice([-1.0, 1.0], channels)
        away = rng.uniform(0.5, 1.0, channels) * rng.choice([-1.0, 1.0], channels)
        x = (mean + std * away)[:, None] + std[:, None] * rng.standard_normal(shape)
        arrays = {
            "x": x,
            "mean": mean,
            "var": std**2,
            "weight": affine_parameter(rng, channels),
            "bias": affine_parameter(rng, channels),
        }
        single = {name: array.astype(np.float32) for name, array in arrays.items()}
        arguments = {
            "x": single.pop("x"),
            "y": Empty(shape),
            **single,
            **dict(zip("NCS", shape, strict=True)),
            "eps": special.get("eps", 1e-5),
            "BLOCK": block,
        }
        launch = Launch((shape[0] * channels,))
        return Probe(name, arguments, special.get("condition", 5.0), launches=(launch,))

    return [
        probe("maps of one block", (2, 3, 16), 16),
        probe("blocks and a part of one", (2, 5, 37), 16),
        probe("maps shorter than a block", (3, 4, 7), 16),
        probe("as many examples as channels", (3, 3, 20), 8),
        probe("vectors", (2, 7, 1), 4),
        probe("far from zero", (2, 3, 11), 8, offset=1000.0, condition=2000.0),
        probe("small scale", (1, 5, 13), 8, std=3e-3),
        probe("large eps", (2, 3, 9), 4, eps=float(rng.uniform(0.3, 0.9))),
    ]


EXERCISE = Exercise(
    id="inference_kernel",
    title="Batch norm in inference mode, as a kernel",
    chapter="3.2",
    statement=(
        "Write the kernel of inference mode for contiguous maps: `x` has the shape `(N, C, S)`, and each of the "
        "`N * C` programs normalizes one map, in blocks of `BLOCK` values. All values of a map belong to one channel. "
        "The check launches your kernel in the interpreter, on memory that notes every read and write outside of the "
        "arrays."
    ),
    solution_function=normalize_kernel,
    kernels=True,
    outputs=("y",),
    reference=faulty_inference,
    faults=FAULTS,
    coincidences=(),
    make_probes=make_probes,
    properties=(
        Property("the mean of the map y", "y", lambda y, arguments: y.mean(axis=2)),
        Property("y", "y", lambda y, arguments: y),
    ),
    hints=(
        "Which map is yours? Programs are counted as maps lie in memory: the maps of one example follow each other. "
        "What is its channel, and at which place does it begin?",
        "Load the four parameters once, before the loop: each is one number, `tl.load(mean_pointer + c)`. Then go "
        "through the map with `for first in range(0, S, BLOCK)`; the lanes of a block are `first + tl.arange(0, "
        "BLOCK)`.",
        "With row = tl.program_id(0), the channel is row % C and the map begins at row * S. In the last block some "
        "lanes are beyond S, where the next map begins: mask=s < S, at the load and at the store.",
    ),
    explanation="""
    A map has one channel, so that its parameters are four numbers which a program loads once; only x and y are blocks.

    The mask does the same for the store as for the load. Without it at the store, the last block of a map would go on
    into the next map, which another program writes: in the interpreter that one comes later and repairs it, on a GPU
    nobody knows which comes last. Behind the last map there is somebody else's memory.

    other=0.0 does not matter here, because what is computed in those lanes is not stored. In a sum it would.
    """,
    passed_message=(
        "Your kernel agrees with the reference in eight fresh launches: maps of one block, shorter and longer ones, "
        "with and without a part of a block at the end, vectors, as many examples as channels, values far from zero, "
        "a variance that eps decides, and a large eps. It wrote every value of y, and neither read nor wrote anything "
        "that is not its own."
    ),
)
