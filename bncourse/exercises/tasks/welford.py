"""Exercise: mean and variance of a stream."""

# mypy: disable-error-code="no-untyped-def"
# The solution is shown to learners, in a cell that imports NumPy alone.

from __future__ import annotations

from copy import copy

import numpy as np

from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Fault, FaultSet
from bncourse.exercises.probe import Probe

SINGLE_ALONE = "So the recurrence is right. A single value is its own mean, and its biased variance is 0."


def streamed_statistics(values):
    """Mean and biased variance of numbers that come one after another.

    With the k-th value, x:

    mean_k = mean_(k-1) + (x - mean_(k-1)) / k
    m2_k = m2_(k-1) + (x - mean_(k-1)) * (x - mean_k)

    Both start at 0. After m values the biased variance is m2 / m.

    Parameters
    ----------
    values : one float or more. They can be iterated over once.

    Returns
    -------
    mean, var : floats.
    """
    count, mean, m2 = 0, 0.0, 0.0
    for x in values:
        count += 1
        delta = x - mean
        mean += delta / count
        m2 += delta * (x - mean)
    return mean, m2 / count


FAULTS = (
    Fault(
        "unbiased_variance",
        "This is the unbiased variance: divide m2 by the number of values, not by one less.",
        ("divisor",),
    ),
    Fault("m2_returned", "The second result is m2 itself: divide it by the number of values.", ("divisor",)),
    Fault("standard_deviation", "The second result is the standard deviation: leave the root out.", ("divisor",)),
    Fault(
        "old_mean_twice",
        "m2 grows by the square of the distance from the old mean: one of the two factors is the distance from the new "
        "mean.",
        ("growth",),
    ),
    Fault(
        "new_mean_twice",
        "m2 grows by the square of the distance from the new mean: one of the two factors is the distance from the old "
        "mean.",
        ("growth",),
    ),
    Fault(
        "weight_too_small",
        "The mean moves by the difference over k + 1: the k-th value has the weight 1/k. Count it before you divide.",
        ("weight",),
    ),
    Fault(
        "weight_fixed",
        "The mean always moves half of the way: the k-th value has the weight 1/k.",
        ("weight",),
    ),
    Fault("first_ignored", "The first value is left out: it counts like every other.", ("values",)),
    Fault("last_ignored", "The last value is left out: it counts like every other.", ("values",)),
)


def faulty_stream(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray, np.ndarray]:
    """The recurrence as someone writes it who makes the mistakes in ``faults``; with none, it is right."""
    values = list(copy(arguments["values"]))
    if "first_ignored" in faults:
        values = values[1:]
    if "last_ignored" in faults:
        values = values[:-1]
    count, mean, m2 = 0, 0.0, 0.0
    for x in values:
        count += 1
        old = x - mean
        weight = 1 / (count + 1) if "weight_too_small" in faults else 0.5 if "weight_fixed" in faults else 1 / count
        mean += old * weight
        new = x - mean
        m2 += old**2 if "old_mean_twice" in faults else new**2 if "new_mean_twice" in faults else old * new
    divisor = 1 if "m2_returned" in faults else count - ("unbiased_variance" in faults)
    with np.errstate(all="ignore"):  # of a single value, some of the mistakes leave nothing
        var = np.float64(m2) / divisor
    return np.array(mean), np.array(np.sqrt(var) if "standard_deviation" in faults else var)


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """Streams whose mean drifts, long and short, far from zero and small, and one of a single value."""

    def stream(name: str, count: int, centre: float, spread: float, condition: float = 5.0, **more: object) -> Probe:
        # A trend on top of the noise: the mean keeps moving, so that its old and its new value differ.
        sign = float(rng.choice([-1.0, 1.0]))
        trend = np.linspace(-1.0, 1.5, count) if count > 1 else np.zeros(1)
        values = sign * centre + spread * (trend + 0.3 * rng.standard_normal(count))
        return Probe(name, {"values": iter(values.tolist())}, condition, **more)  # type: ignore[arg-type]

    return [
        stream("nine values", 9, 2.0, 1.3),
        stream("thirty values", 30, 1.5, 0.7),
        stream("three values", 3, 2.5, 2.0),
        stream("far from zero", 12, 1000.0, 1.0, condition=2000.0),
        stream("small values", 8, 3e-3, 1e-3),
        # The mistakes divide by zero here, or do not, depending on how they are written.
        stream("a single value", 1, 2.0, 1.0, alone=SINGLE_ALONE, diagnosed=False),
    ]


EXERCISE = Exercise(
    id="welford",
    title="Mean and variance of a stream",
    chapter="1.4",
    statement=(
        "Compute the mean and the biased variance of numbers that come one after another, by Welford's recurrence: "
        "look at each number once and keep none. `values` is an iterator, as a file or a sensor would give it: it has "
        "no length and cannot be read twice. Return two floats."
    ),
    solution_function=streamed_statistics,
    outputs=("mean", "var"),
    reference=faulty_stream,
    faults=FAULTS,
    coincidences=(),
    make_probes=make_probes,
    properties=(
        Property("mean", "mean", lambda mean, arguments: mean),
        Property("var", "var", lambda var, arguments: var),
    ),
    hints=(
        "Keep three numbers: how many values you have seen, their mean, and m2. How far does the mean move when the "
        "k-th value arrives?",
        "The mean moves by 1/k of the distance between the value and the old mean. Keep that distance: m2 grows by it, "
        "times the distance of the value from the new mean.",
        "Start with count, mean, m2 = 0, 0.0, 0.0. For each x: count it; delta = x - mean; mean += delta / count; then "
        "m2 += delta * (x - mean). At the end divide m2 by count.",
    ),
    explanation="""
    Adding a value is merging with a part of one value: its m2 is 0, so what m2 gains is the part between,
    delta**2 * (k - 1) / k. And x - mean_k = delta * (k - 1) / k, so that is delta times the distance from the new mean.

    Nothing subtracts two large numbers but x and the mean, once. The formula E[x²] - E[x]² needs one pass as well, and
    loses every digit of the variance when the mean is large.
    """,
    passed_message=(
        "Your function agrees with the reference on six fresh streams: long and short, with a mean that drifts, far "
        "from zero, small, and of a single value."
    ),
)
