"""Exercise: the statistics of a batch that is split over programs."""

# mypy: disable-error-code="no-untyped-def"
# A kernel's arguments are pointers and numbers of Triton's own.

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bncourse.exercises.batches import FAR_FROM_ZERO, HALF_ALONE
from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Coincidence, Fault, FaultSet
from bncourse.exercises.probe import Empty, Launch, Probe

if TYPE_CHECKING:
    import triton.language as tl


def moments_kernel(
    x_pointer,
    partial_pointer,
    N,
    C,
    BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Count, mean and m2 of one tile of a batch of vectors.

    m2 = sum((x - mean)**2), about the mean of the tile itself

    It is launched on a grid of (cdiv(C, BLOCK_C), splits) programs, with
    splits = cdiv(N, BLOCK_N). Program (i, k) takes the features from
    i * BLOCK_C on and the samples from k * BLOCK_N on: as many of them as
    there are, up to BLOCK_C and BLOCK_N.

    Parameters
    ----------
    x_pointer : float32 or float16 of shape (N, C): the value [n, c] lies at
        place n * C + c.
    partial_pointer : the result, float32 of shape (splits, 3, C): row
        [k, 0] is the count of samples in part k, the same number for each
        feature, [k, 1] the mean and [k, 2] m2.
    N, C : any sizes.
    BLOCK_N, BLOCK_C : lengths of a block, powers of two.
    """
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    split = tl.program_id(1)
    n = split * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = (n < N)[:, None] & (c < C)[None, :]
    place = n[:, None] * C + c[None, :]
    x = tl.load(x_pointer + place, mask=inside, other=0.0).to(tl.float32)

    count = tl.minimum(N - split * BLOCK_N, BLOCK_N).to(tl.float32)
    mean = tl.sum(x, axis=0) / count
    deviation = tl.where(inside, x - mean[None, :], 0.0)
    m2 = tl.sum(deviation * deviation, axis=0)

    row = partial_pointer + split * 3 * C + c
    tl.store(row, count, mask=c < C)
    tl.store(row + C, mean, mask=c < C)
    tl.store(row + 2 * C, m2, mask=c < C)


def finish_kernel(
    partial_pointer,
    mean_pointer,
    var_pointer,
    splits,
    C,
    BLOCK_C: tl.constexpr,
):
    """Mean and biased variance of the whole batch, from its parts.

    It is launched afterwards, on a grid of cdiv(C, BLOCK_C) programs.

    Parameters
    ----------
    partial_pointer : what moments_kernel wrote, of shape (splits, 3, C).
    mean_pointer, var_pointer : the results, float32 of shape (C,).
    splits, C : sizes.
    BLOCK_C : how many features a program treats, a power of two.
    """
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    count = tl.zeros((BLOCK_C,), tl.float32)
    mean = tl.zeros((BLOCK_C,), tl.float32)
    m2 = tl.zeros((BLOCK_C,), tl.float32)
    for split in range(splits):
        row = partial_pointer + split * 3 * C + c
        more_count = tl.load(row, mask=c < C, other=1.0)
        more_mean = tl.load(row + C, mask=c < C, other=0.0)
        more_m2 = tl.load(row + 2 * C, mask=c < C, other=0.0)
        total = count + more_count
        share = more_count / total
        delta = more_mean - mean
        mean += delta * share
        m2 += more_m2 + delta * delta * count * share
        count = total
    tl.store(mean_pointer + c, mean, mask=c < C)
    tl.store(var_pointer + c, m2 / count, mask=c < C)


PARTS_EQUAL = (
    "The parts' means are averaged with equal weights, and the last part may be smaller than the others: weigh each "
    "mean by its count."
)
BETWEEN_UNWEIGHTED = (
    "What the parts' means contribute to m2 has no weight: a part counts as often as it has samples. Merging one by "
    "one, it is `delta**2 * count * more_count / total`, with the counts so far, of the new part and of both; about "
    "the mean of everything, `more_count * (more_mean - mean)**2`."
)
COUNT_EARLY = (
    "In the term between the parts the count is taken after the new part has been added to it: the weight of "
    "`delta**2` is the count before, times the share of the new part, `count * more_count / total`, with `total = "
    "count + more_count`."
)
FAULTS = (
    Fault(
        "deviation_unmasked",
        "Lanes without a sample enter m2: with `other=0.0` the load gives them 0, and after the subtraction they hold "
        "minus the mean. Set the deviation to zero there, `tl.where(inside, x - mean, 0.0)`.",
        ("padding",),
    ),
    Fault(
        "no_centring",
        "m2 of a part is taken about zero: it is the sum of the squares of `x - mean`, not of x.",
        ("padding",),
    ),
    Fault(
        "variance_for_m2",
        "The third row of partial holds variances: m2 is the sum of squared deviations itself, not divided by the "
        "count.",
        ("within",),
    ),
    Fault(
        "lanes_counted",
        "Each part is taken to have BLOCK_N samples. The last one may have fewer: part k, with k = "
        "`tl.program_id(1)`, has `tl.minimum(N - k * BLOCK_N, BLOCK_N)`. That is its count, and by that its sum is "
        "divided.",
        ("count", "mean of a part"),
    ),
    Fault(
        "whole_counted",
        "Each part is taken to have N samples, which is the count of the whole: part k, with k = "
        "`tl.program_id(1)`, has `tl.minimum(N - k * BLOCK_N, BLOCK_N)`.",
        ("count", "mean of a part"),
    ),
    Fault(
        "mean_by_lanes",
        "The mean of a part is its sum divided by the number of lanes. In the last part some of them may hold no "
        "sample: divide by the part's count.",
        ("mean of a part",),
    ),
    Fault(
        "mean_by_whole",
        "The sum of a part is divided by N, the count of the whole: divide it by the count of the part.",
        ("mean of a part",),
    ),
    Fault(
        "first_part_for_all",
        "All parts are the first one: the samples of part k begin at `k * BLOCK_N`, with k = `tl.program_id(1)`.",
        # Parts that are all the same have the same count, and nothing between them.
        ("samples", "padding", "count", "mean of a part", "mean", "between", "parts"),
    ),
    Fault(
        "samples_and_features_swapped",
        "The array is read with samples and features swapped: the value [n, c] lies at place `n * C + c`, not at "
        "`c * N + n`.",
        ("samples",),
    ),
    Fault(
        "axes_swapped",
        "The two axes of the grid have changed places: `tl.program_id(0)` counts blocks of features, "
        "`tl.program_id(1)` the parts.",
        ("grid",),
        ("left_out", "written_outside", "read_unwritten"),
    ),
    Fault(
        "first_features_only",
        "All programs take the first BLOCK_C features: begin at `tl.program_id(0) * BLOCK_C`.",
        ("grid",),
        ("left_out", "race", "read_unwritten"),
    ),
    Fault(
        "layout_swapped",
        "The rows of partial lie in another order, first all counts, then all means, then all m2: the shape is "
        "(splits, 3, C), so row [k, j] begins at `(k * 3 + j) * C`.",
        ("layout",),
    ),
    Fault("parts_weighted_equally", PARTS_EQUAL, ("mean",)),
    Fault("parts_weighted_equally_running", PARTS_EQUAL, ("mean", "between")),
    Fault(
        "means_halved",
        "The mean is the half of the mean so far and the new part's: what has been merged already counts as often as "
        "it has samples, so move by the share of the new part, `more_count / total`.",
        ("mean",),
    ),
    Fault(
        "between_missing",
        "What lies between the parts is missing in the variance: samples also deviate because the parts' means differ. "
        "With each part, add `delta**2 * count * more_count / total`: delta is the part's mean minus the mean so far, "
        "and the counts are those so far, of the part, and of both.",
        ("between",),
    ),
    Fault("between_unweighted", BETWEEN_UNWEIGHTED, ("between",)),
    Fault("between_unweighted_running", BETWEEN_UNWEIGHTED, ("between", "mean")),
    Fault("between_unweighted_from_first", BETWEEN_UNWEIGHTED, ("between", "mean")),
    Fault(
        "between_not_divided",
        "The term between the parts is not divided by the count of both: it is "
        "`delta**2 * count * more_count / total`, and total that count.",
        ("between", "mean"),
    ),
    Fault("count_updated_early", COUNT_EARLY, ("between", "mean")),
    Fault("count_updated_early_from_first", COUNT_EARLY, ("between", "mean")),
    Fault(
        "mean_updated_early",
        "The mean is moved before delta is taken for m2: delta is the new part's mean minus the mean before.",
        ("between", "mean"),
    ),
    Fault(
        "last_part_ignored",
        "The last part is left out when the parts are merged: `range(splits)` goes up to it.",
        ("parts",),
    ),
    Fault(
        "first_part_ignored",
        "The first part is left out when the parts are merged: begin with part 0, or with its three numbers in place "
        "of zeros.",
        ("parts",),
    ),
    Fault(
        "last_part_only",
        "The results are those of the last part alone: merge each part into what you have of those before it.",
        ("parts", "mean", "between", "divisor"),
    ),
    Fault(
        "unbiased_variance",
        "This is the unbiased variance: divide m2 by the count, not by the count minus 1.",
        ("divisor",),
    ),
    Fault("not_divided", "The variance is m2: divide it by the count of the whole.", ("divisor",)),
    Fault(
        "divided_by_part",
        "m2 of the whole is divided by the count of the last part: divide by the sum of all counts.",
        ("divisor", "parts"),
    ),
    Fault("standard_deviation", "This is the standard deviation: store its square, the variance.", ("root",)),
    Fault(
        "results_swapped",
        "Mean and variance have changed places: each belongs to the pointer of its name.",
        ("results",),
    ),
)


def faulty_moments(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What kernels write that make the mistakes in ``faults``; NaN where they write nothing."""
    partial = _faulty_parts(faults, arguments)
    mean, var = _faulty_finish(faults, partial)
    if "layout_swapped" in faults:
        partial = partial.transpose(1, 0, 2).reshape(partial.shape)
    return (partial, var, mean) if "results_swapped" in faults else (partial, mean, var)


def _faulty_parts(faults: FaultSet, arguments: Arguments) -> np.ndarray:
    x, splits = arguments["x"].astype(np.float64), arguments["splits"]
    block_n, block_c = arguments["BLOCK_N"], arguments["BLOCK_C"]
    samples, features = x.shape
    if "samples_and_features_swapped" in faults:
        x = x.reshape(features, samples).T
    padded = np.zeros((splits * block_n, features))
    padded[:samples] = x
    tiles = padded.reshape(splits, block_n, features)
    inside = (np.arange(splits * block_n) < samples).reshape(splits, block_n, 1)
    if "first_part_for_all" in faults:
        tiles, inside = np.broadcast_to(tiles[:1], tiles.shape), np.broadcast_to(inside[:1], inside.shape)

    count = inside.sum(axis=1)
    counts = {"lanes_counted": block_n, "whole_counted": samples}
    count = next((count * 0 + wrong for fault, wrong in counts.items() if fault in faults), count)
    divisors = {"mean_by_lanes": block_n, "mean_by_whole": samples}
    mean = tiles.sum(axis=1) / next((wrong for fault, wrong in divisors.items() if fault in faults), count)
    deviation = tiles if "no_centring" in faults else tiles - mean[:, None]
    m2 = (np.where(inside | ("deviation_unmasked" in faults), deviation, 0.0) ** 2).sum(axis=1)
    if "variance_for_m2" in faults:
        m2 = m2 / count
    partial = np.stack([np.broadcast_to(count, mean.shape), mean, m2], axis=1)

    feature, part = np.arange(features)[None, None], np.arange(splits)[:, None, None]
    written = np.ones(partial.shape, bool)
    if "first_features_only" in faults:
        written &= feature < block_c
    if "axes_swapped" in faults:
        written &= (part < -(-features // block_c)) & (feature // block_c < splits)
    return np.where(written, partial, np.nan)


def _faulty_finish(faults: FaultSet, partial: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    which = {"last_part_ignored": slice(-1), "first_part_ignored": slice(1, None), "last_part_only": slice(-1, None)}
    parts = partial[next((rows for fault, rows in which.items() if fault in faults), slice(None))]
    if not len(parts):
        nothing = np.full(partial.shape[2], np.nan)
        return nothing, nothing
    within = parts[:, 2].sum(axis=0)
    count, mean, between = np.zeros_like(within), np.zeros_like(within), np.zeros_like(within)
    for number, (more_count, more_mean, _) in enumerate(parts):
        total, delta = count + more_count, more_mean - mean
        share = more_count / total
        weights = {
            "between_unweighted_running": 1.0,
            "between_unweighted_from_first": float(number > 0),
            "between_not_divided": count * more_count,
            "count_updated_early": more_count,
            "count_updated_early_from_first": more_count * (number > 0),
            "mean_updated_early": count * share * (1 - share) ** 2,
        }
        weight = next((wrong for fault, wrong in weights.items() if fault in faults), count * share)
        between = between + delta**2 * weight
        if "parts_weighted_equally_running" in faults:
            share = 1 / (number + 1)
        if "means_halved" in faults:
            share = 0.5 if number else 1.0
        mean, count = mean + delta * share, total
    if "parts_weighted_equally" in faults:
        mean = parts[:, 1].mean(axis=0)
        between = (parts[:, 0] * (parts[:, 1] - mean) ** 2).sum(axis=0)
    if "between_unweighted" in faults:
        between = ((parts[:, 1] - mean) ** 2).sum(axis=0)
    if "between_missing" in faults:
        between = 0.0 * between
    divisors = {"unbiased_variance": count - 1, "not_divided": 1.0, "divided_by_part": parts[-1, 0]}
    var = (within + between) / next((wrong for fault, wrong in divisors.items() if fault in faults), count)
    return mean, np.sqrt(var) if "standard_deviation" in faults else var


def _equal_weights(name: str, reason: str) -> tuple[Coincidence, ...]:
    return tuple(
        Coincidence(frozenset({name}), frozenset({name, weights}), reason)
        for weights in ("parts_weighted_equally", "parts_weighted_equally_running")
    )


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """Parts of equal and unequal size, many and one, left-over features, values far from zero, and float16."""

    def probe(
        name: str,
        shape: tuple[int, int],
        blocks: tuple[int, int],
        offset: float = 0.0,
        std: float = 1.0,
        alone: str = "",
        dtype: type[np.floating] = np.float32,
        diagnosed: bool = True,
    ) -> Probe:
        samples, features = shape
        splits, programs = (-(-size // block) for size, block in zip(shape, blocks, strict=True))
        mean = offset + std * rng.uniform(1.0, 3.0, features) * rng.choice([-1.0, 1.0], features)
        values = rng.standard_normal(shape)
        # Samples that differ more and more, so that the parts have different means and variances.
        values *= np.linspace(0.6, 1.4, samples)[:, None]
        values += np.linspace(-1.2, 1.2, samples)[:, None] * rng.choice([-1.0, 1.0], features)
        x = mean + std * rng.uniform(0.6, 1.8, features) * values
        arguments = {
            "x": x.astype(dtype),
            "partial": Empty((splits, 3, features)),
            "mean": Empty((features,)),
            "var": Empty((features,)),
            **dict(zip(("N", "C", "BLOCK_N", "BLOCK_C"), (*shape, *blocks), strict=True)),
            "splits": splits,
        }
        launches = (
            Launch((programs, splits), ("x", "partial", "N", "C", "BLOCK_N", "BLOCK_C"), 0),
            Launch((programs,), ("partial", "mean", "var", "splits", "C", "BLOCK_C"), 1),
        )
        # Means are rounded before they are subtracted from each other.
        condition = max(5.0, offset / std)
        return Probe(name, arguments, condition, alone, diagnosed, launches)

    return [
        probe("two parts of equal size", (32, 8), (16, 8)),
        probe("a last part that is smaller", (41, 4), (16, 4)),
        probe("many parts", (21, 6), (4, 4)),
        probe("more blocks of features than parts", (21, 13), (8, 4)),
        # A mistake in merging is seen or not, as one begins with zeros or with the first part.
        probe("one part, which is not full", (11, 5), (16, 4), diagnosed=False),
        probe("far from zero", (21, 4), (8, 2), offset=1e4, alone=FAR_FROM_ZERO),
        probe(
            "in float16",
            (69, 3),
            (32, 16),
            offset=3000.0,
            std=40.0,
            alone=HALF_ALONE,
            dtype=np.float16,
            diagnosed=False,
        ),
    ]


EXERCISE = Exercise(
    id="split_reduction",
    title="Statistics of a batch that is split over programs",
    chapter="3.3",
    statement=(
        "Write the two kernels that take mean and biased variance of a batch of vectors, however few features it has. "
        "The first splits the batch: each program takes one tile of `x`, its mean and then its squared deviations from "
        "that mean, and leaves `count`, `mean` and `m2` in `partial`. The second merges the parts, in their order. "
        "Keep to two passes within a tile and to Chan's formula between tiles: the variance must come out right far "
        "from zero as well."
    ),
    solution_function=moments_kernel,
    further_functions=(finish_kernel,),
    kernels=True,
    outputs=("partial", "mean", "var"),
    reference=faulty_moments,
    faults=FAULTS,
    coincidences=(
        *_equal_weights("lanes_counted", "parts with equal counts have equal weights"),
        *_equal_weights("whole_counted", "parts with equal counts have equal weights"),
        *_equal_weights("last_part_ignored", "all parts but the last have equal counts"),
    ),
    make_probes=make_probes,
    properties=(
        Property("the count of [part, feature] = ", "partial", lambda partial, arguments: partial[:, 0]),
        Property("the mean of [part, feature] = ", "partial", lambda partial, arguments: partial[:, 1]),
        Property("m2 of [part, feature] = ", "partial", lambda partial, arguments: partial[:, 2]),
        Property("partial", "partial", lambda partial, arguments: partial),
        Property("mean", "mean", lambda mean, arguments: mean),
        Property("var", "var", lambda var, arguments: var),
    ),
    hints=(
        "Write the first kernel first: the second one can only be as right as what it finds in partial. A tile has "
        "BLOCK_N rows and BLOCK_C columns, and sums run over its rows, `axis=0`. How many samples has the last part?",
        "Part k has `tl.minimum(N - k * BLOCK_N, BLOCK_N)` samples. Its lanes without a sample hold 0 after the "
        "load, and minus the mean after the subtraction: mask the deviations again. In the second kernel, go through "
        "the rows of partial with count, mean and m2 of what you have merged so far, all zero at the start.",
        "Let more_count, more_mean and more_m2 be the numbers of the next part. With total = count + more_count and "
        "delta = more_mean - mean, the mean moves by delta * more_count / total, and m2 grows by more_m2 and by "
        "delta**2 * count * more_count / total, with the count before the part is added. Where c is "
        "beyond C, load the count with other=1.0, and nothing is divided by zero.",
    ),
    explanation="""
    The parts describe disjoint samples, so any number of programs can work on a feature, and none waits for another.
    What they leave is small: three numbers for each tile and feature.

    Within a tile, the mean is known before the deviations are taken, and both come from values that are in registers:
    the second pass costs no traffic. Between tiles, only means are subtracted from each other. Nowhere is a small
    variance the difference of two large sums.

    The last part has fewer samples. That is why its sum is divided by a count of its own, why its empty lanes are
    masked once more before the squares are added, and why the parts' means are weighted.

    The loop over the rows has one order, whichever program finished first: the same bits in every run.
    """,
    passed_message=(
        "Your kernels agree with the reference in seven fresh launches: parts of equal and unequal size, many parts, "
        "a single one that is not full, features left over, values far from zero, and float16. Count, mean and m2 of "
        "every part are right, and so are mean and variance of the whole. No two programs met."
    ),
)
