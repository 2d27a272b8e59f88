"""Exercise: find and mend what is wrong with a kernel that takes statistics."""

# mypy: disable-error-code="no-untyped-def"
# A kernel's arguments are pointers and numbers of Triton's own.

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bncourse.exercises.batches import FAR_FROM_ZERO, HALF_ALONE
from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Fault, FaultSet
from bncourse.exercises.probe import Empty, Launch, Probe

if TYPE_CHECKING:
    import triton.language as tl


def statistics_kernel(
    x_pointer,
    mean_pointer,
    var_pointer,
    N,
    C,
    BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Mean and biased variance of each feature over a batch of vectors.

    It is launched on a grid of cdiv(C, BLOCK_C) programs: each takes
    BLOCK_C features, and walks twice over the N samples, BLOCK_N at a time.

    Parameters
    ----------
    x_pointer : float32 or float16 of shape (N, C): the value [n, c] lies at
        place n * C + c.
    mean_pointer, var_pointer : the results, float32 of shape (C,).
    N, C : any sizes.
    BLOCK_N, BLOCK_C : lengths of a block, powers of two.
    """
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    total = tl.zeros((BLOCK_C,), tl.float32)
    for first in range(0, N, BLOCK_N):
        n = first + tl.arange(0, BLOCK_N)
        inside = (n < N)[:, None] & (c < C)[None, :]
        place = n[:, None] * C + c[None, :]
        x = tl.load(x_pointer + place, mask=inside, other=0.0).to(tl.float32)
        total += tl.sum(x, axis=0)
    mean = total / N

    m2 = tl.zeros((BLOCK_C,), tl.float32)
    for first in range(0, N, BLOCK_N):
        n = first + tl.arange(0, BLOCK_N)
        inside = (n < N)[:, None] & (c < C)[None, :]
        place = n[:, None] * C + c[None, :]
        x = tl.load(x_pointer + place, mask=inside, other=0.0).to(tl.float32)
        deviation = tl.where(inside, x - mean[None, :], 0.0)
        m2 += tl.sum(deviation * deviation, axis=0)
    var = m2 / N

    tl.store(mean_pointer + c, mean, mask=c < C)
    tl.store(var_pointer + c, var, mask=c < C)


def given_kernel(
    x_pointer,
    mean_pointer,
    var_pointer,
    N,
    C,
    BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Mean and biased variance of each feature over a batch of vectors.

    It is launched on a grid of cdiv(C, BLOCK_C) programs: each takes
    BLOCK_C features, and walks twice over the N samples, BLOCK_N at a time.

    Parameters
    ----------
    x_pointer : float32 or float16 of shape (N, C): the value [n, c] lies at
        place n * C + c.
    mean_pointer, var_pointer : the results, float32 of shape (C,).
    N, C : any sizes.
    BLOCK_N, BLOCK_C : lengths of a block, powers of two.
    """
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    total = tl.zeros((BLOCK_C,), tl.float32)
    for first in range(0, N, BLOCK_N):
        n = first + tl.arange(0, BLOCK_N)
        inside = (n < N)[:, None] & (c < C)[None, :]
        place = n[:, None] * C + c[None, :]
        x = tl.load(x_pointer + place, mask=inside, other=0.0).to(tl.float32)
        total += tl.sum(x, axis=0)
    mean = total / N

    m2 = tl.zeros((BLOCK_C,), tl.float32)
    for first in range(0, N, BLOCK_N):
        n = first + tl.arange(0, BLOCK_N)
        inside = (n < N)[:, None] & (c < C)[None, :]
        place = n[:, None] * C + c[None, :]
        x = tl.load(x_pointer + place, mask=inside, other=0.0).to(tl.float32)
        deviation = x - mean[None, :]
        m2 += tl.sum(deviation * deviation, axis=0)
    var = m2 / N

    tl.store(mean_pointer + c, mean, mask=c < C)
    tl.store(var_pointer + c, var, mask=c < C)


FAULTS = (
    Fault(
        "deviation_unmasked",
        "Lanes without a sample enter the variance: with `other=0.0` the load gives them 0, and after the subtraction "
        "they hold minus the mean. Set the deviation to zero there, `tl.where(inside, x - mean, 0.0)`.",
        ("padding",),
    ),
    Fault(
        "mean_by_lanes",
        "The mean is the sum divided by the number of lanes. In the last block some of them hold no sample: divide by "
        "the number of samples, N.",
        ("mean count",),
    ),
    Fault(
        "var_by_lanes",
        "The variance is the sum of squares divided by the number of lanes. In the last block some of them hold no "
        "sample: divide by the number of samples, N.",
        ("var count",),
    ),
    Fault(
        "mean_last_block_ignored",
        "The mean leaves out the samples beyond the last whole block: its loop goes up to N, `range(0, N, BLOCK_N)`.",
        ("mean rows",),
    ),
    Fault(
        "var_last_block_ignored",
        "The variance leaves out the samples beyond the last whole block: its loop goes up to N, `range(0, N, "
        "BLOCK_N)`. Those lanes need a mask, not to be left out with the samples beside them.",
        ("var rows", "padding"),
    ),
    Fault(
        "mean_one_block_only",
        "The mean is that of the last block only, as far as it goes: add the sum of each block to the total, `+=`.",
        ("mean rows",),
    ),
    Fault(
        "var_one_block_only",
        "Only the last block enters the variance: add the sum of squares of each block to the total, `+=`.",
        ("var rows",),
    ),
    Fault(
        "unbiased_variance",
        "This is the unbiased variance: divide the sum of squares by N, not by N - 1.",
        ("var count",),
    ),
    Fault("not_divided", "The variance is the sum of squares: divide it by N.", ("var count",)),
    Fault("standard_deviation", "This is the standard deviation: store its square, the variance.", ("root",)),
    Fault(
        "no_centring",
        "The variance is taken about zero: it is the mean of the squares of `x - mean`, not of x.",
        ("centring", "padding"),
    ),
    Fault(
        "absolute_deviation",
        "The deviations are not squared: this is the mean of their absolute values.",
        ("square",),
    ),
    Fault(
        "results_swapped",
        "Mean and variance have changed places: each belongs to the pointer of its name.",
        ("results",),
    ),
    Fault(
        "samples_and_features_swapped",
        "The array is read with samples and features swapped: the value [n, c] lies at place `n * C + c`, not at "
        "`c * N + n`.",
        ("place",),
    ),
    Fault(
        "first_features_only",
        "All programs take the first BLOCK_C features: begin at `tl.program_id(0) * BLOCK_C`.",
        ("place",),
        ("left_out", "race"),
    ),
)


def faulty_statistics(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray, np.ndarray]:
    """What a kernel writes that makes the mistakes in ``faults``; NaN where it writes nothing."""
    x, block = arguments["x"].astype(np.float64), arguments["BLOCK_N"]
    n, c = x.shape
    if "samples_and_features_swapped" in faults:
        x = x.reshape(c, n).T
    whole, lanes = n // block * block, -(-n // block) * block

    def rows(which: str) -> slice:
        if f"{which}_last_block_ignored" in faults:
            return slice(whole)
        return slice((lanes - block) if f"{which}_one_block_only" in faults else 0, n)

    mean = x[rows("mean")].sum(axis=0) / (lanes if "mean_by_lanes" in faults else n)
    deviation = (x if "no_centring" in faults else x - mean)[rows("var")]
    if "deviation_unmasked" in faults:
        deviation = np.concatenate([deviation, np.repeat(-mean[None], lanes - n, axis=0)])
    power = 1 if "absolute_deviation" in faults else 2
    counts = {"var_by_lanes": lanes, "unbiased_variance": n - 1, "not_divided": 1}
    var = (abs(deviation) ** power).sum(axis=0) / next((count for fault, count in counts.items() if fault in faults), n)
    if "standard_deviation" in faults:
        var = np.sqrt(var)
    if "first_features_only" in faults:
        written = np.arange(c) < arguments["BLOCK_C"]
        mean, var = np.where(written, mean, np.nan), np.where(written, var, np.nan)
    return (var, mean) if "results_swapped" in faults else (mean, var)


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """Sizes that fill their blocks and sizes that do not; far from zero, where squares swamp the variance; float16."""

    def probe(
        name: str,
        shape: tuple[int, int],
        blocks: tuple[int, int],
        offset: float = 0.0,
        std: float = 1.0,
        alone: str = "",
        dtype: type[np.floating] = np.float32,
    ) -> Probe:
        samples, features = shape
        mean = offset + std * rng.uniform(1.0, 3.0, features) * rng.choice([-1.0, 1.0], features)
        values = rng.standard_normal(shape)
        # Samples that differ more and more, so that no block is like another.
        values *= np.linspace(0.6, 1.4, samples)[:, None]
        values += np.linspace(-0.8, 0.8, samples)[:, None]
        x = mean + std * rng.uniform(0.6, 1.8, features) * values
        arguments = {
            "x": x.astype(dtype),
            "mean": Empty((features,)),
            "var": Empty((features,)),
            **dict(zip(("N", "C", "BLOCK_N", "BLOCK_C"), (*shape, *blocks), strict=True)),
        }
        launch = Launch((-(-features // blocks[1]),))
        return Probe(name, arguments, 1.0, alone, diagnosed=dtype is np.float32, launches=(launch,))

    return [
        probe("whole blocks of samples", (32, 8), (16, 8)),
        probe("samples left over", (37, 8), (16, 4)),
        probe("fewer samples than a block", (5, 6), (8, 4)),
        probe("features left over", (24, 11), (8, 4)),
        probe("samples and features left over", (13, 7), (4, 4)),
        probe("far from zero", (21, 4), (8, 2), offset=1e4, alone=FAR_FROM_ZERO),
        probe("in float16", (45, 3), (32, 2), offset=3000.0, std=40.0, alone=HALF_ALONE, dtype=np.float16),
    ]


EXERCISE = Exercise(
    id="missing_mask",
    title="The missing mask",
    chapter="3.3",
    statement=(
        "The kernel below takes the mean and the biased variance of each feature. It is right for some sizes and wrong "
        "for others, and it reads and writes nothing but its own. Run the check, see from the table when it is wrong, "
        "find out why, and mend it. Keep its two passes over the samples: the variance must come out right far from "
        "zero as well."
    ),
    solution_function=statistics_kernel,
    given_function=given_kernel,
    given_faults=frozenset({"deviation_unmasked"}),
    kernels=True,
    outputs=("mean", "var"),
    reference=faulty_statistics,
    faults=FAULTS,
    coincidences=(),
    make_probes=make_probes,
    properties=(
        Property("mean", "mean", lambda mean, arguments: mean),
        Property("var", "var", lambda var, arguments: var),
    ),
    hints=(
        "In which probes is it right? Compare the number of samples with BLOCK_N. What is in the lanes of the last "
        "block that have no sample?",
        "`other=0.0` puts 0 into those lanes, and 0 changes no sum: so the mean is right. Follow such a lane through "
        "the second loop. What does it hold after the subtraction?",
        "It holds minus the mean, and its square is added to m2. tl.where(condition, a, b) takes a where the condition "
        "holds and b elsewhere: make the deviation 0 in every lane that is not inside.",
    ),
    explanation="""
    `other` says what those lanes hold, and not that they are left out of what follows. 0 is right for the
    sum of x, where it changes nothing. After the subtraction the lanes hold minus the mean, so that each adds mean² to
    m2: the variance is too large by mean² times the share of empty lanes. With a batch whose size is a multiple of the
    block, or whose mean is near zero, nobody notices.

    tl.where puts the 0 back where the sum is taken. Dividing by the number of lanes, or leaving out the last block,
    would both be wrong as well. Lanes beyond the last feature need no care here: they are sums of their own, which are
    not stored.
    """,
    passed_message=(
        "Your kernel agrees with the reference in seven fresh launches: batches that fill their blocks, with samples "
        "left over, with features left over, smaller than a block, far from zero, and in float16. It neither read nor "
        "wrote anything that is not its own."
    ),
)
