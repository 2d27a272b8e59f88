"""Exercise: merging the statistics of two parts."""

# mypy: disable-error-code="no-any-return"
# The probes hold numbers of either kind, and the solution is shown to learners without casts.

from __future__ import annotations

import numpy as np

from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Fault, FaultSet
from bncourse.exercises.probe import Probe

EMPTY = (0, 0.0, 0.0)
EMPTY_ALONE = (
    "So the formula is right where both parts hold values. An empty part is (0, 0.0, 0.0) and must change nothing; "
    "two empty parts make an empty whole, (0, 0.0, 0.0)."
)


def merge_moments(
    a: tuple[int, float, float],
    b: tuple[int, float, float],
) -> tuple[int, float, float]:
    """Count, mean and m2 of all values, from those of two parts.

    m2 = sum((x - mean)**2), over the values that count and mean describe:
    those of the part in a and in b, those of both in the result.

    Parameters
    ----------
    a, b : tuples (count, mean, m2); an empty part is (0, 0.0, 0.0).

    Returns
    -------
    count, mean, m2 : of the two parts together.
    """
    count_a, mean_a, m2_a = a
    count_b, mean_b, m2_b = b
    count = count_a + count_b
    if count == 0:
        return 0, 0.0, 0.0
    delta = mean_b - mean_a
    mean = mean_a + delta * count_b / count
    m2 = m2_a + m2_b + delta**2 * count_a * count_b / count
    return count, mean, m2


FAULTS = (
    Fault("count_of_a", "The count is that of a: add the two counts.", ("count",)),
    Fault(
        "mean_unweighted",
        "The two means are averaged with equal weights: weigh each by its count.",
        ("mean",),
    ),
    Fault(
        "mean_weights_swapped",
        "The weights of the two means have changed places: each mean counts as often as its own part has values.",
        ("mean",),
    ),
    Fault(
        "means_added",
        "The means are added: m2 and counts add up, means do not. Take their average, weighted by the counts.",
        ("mean",),
    ),
    Fault(
        "between_missing",
        "What lies between the parts is missing in m2: the values also deviate because the means differ. Add "
        "`delta**2 * count_a * count_b / count`.",
        ("between",),
    ),
    Fault(
        "between_unweighted",
        "delta squared has no weight in m2: multiply it by `count_a * count_b / count`.",
        ("between",),
    ),
    Fault(
        "between_not_divided",
        "The term between the parts is not divided by the count: it is `delta**2 * count_a * count_b / count`.",
        ("between",),
    ),
    Fault(
        "between_divided_twice",
        "The term between the parts is divided by the count twice, as for a variance: m2 is a sum, so divide once.",
        ("between",),
    ),
    Fault(
        "delta_not_squared",
        "delta is not squared in m2: the term between the parts is `delta**2 * count_a * count_b / count`.",
        ("between",),
    ),
    Fault(
        "m2_averaged",
        "The two m2 are averaged by count, as if they were variances: they are sums, so add them.",
        ("within",),
    ),
    Fault(
        "m2_missing_b",
        "The m2 of b is missing: add those of both parts.",
        ("within",),
    ),
    Fault(
        "variance_returned",
        "The last result is a variance: return m2 itself, without dividing by the count.",
        ("divisor",),
    ),
)


def faulty_merge(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The merge as someone writes it who makes the mistakes in ``faults``; with none, it is right."""
    (count_a, mean_a, m2_a), (count_b, mean_b, m2_b) = arguments["a"], arguments["b"]
    count = count_a + count_b
    if count == 0:
        return np.array(0.0), np.array(0.0), np.array(0.0)
    delta = mean_b - mean_a

    weight_a, weight_b = count_a / count, count_b / count
    if "mean_unweighted" in faults:
        weight_a = weight_b = 0.5
    if "mean_weights_swapped" in faults:
        weight_a, weight_b = weight_b, weight_a
    if "means_added" in faults:
        weight_a = weight_b = 1.0
    mean = weight_a * mean_a + weight_b * mean_b

    within = m2_a + m2_b
    if "m2_averaged" in faults:
        within = (count_a * m2_a + count_b * m2_b) / count
    if "m2_missing_b" in faults:
        within = m2_a
    weight = count_a * count_b / count
    between = {
        "between_missing": 0.0,
        "between_unweighted": delta**2,
        "between_not_divided": delta**2 * count_a * count_b,
        "between_divided_twice": delta**2 * weight / count,
        "delta_not_squared": delta * weight,
    }
    m2 = within + next((value for fault, value in between.items() if fault in faults), delta**2 * weight)
    if "variance_returned" in faults:
        m2 = m2 / count
    return np.array(float(count_a if "count_of_a" in faults else count)), np.array(mean), np.array(m2)


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """Parts of equal and of unequal size, single values, means far apart and far from zero, and empty parts."""

    def part(count: int, centre: float, spread: float) -> tuple[int, float, float]:
        values = centre + spread * rng.standard_normal(count)
        mean = float(values.mean())
        return count, mean, float(((values - mean) ** 2).sum())

    def both(name: str, count_a: int, count_b: int, offset: float = 0.0, condition: float = 5.0) -> Probe:
        # Of one sign, so that no mean comes out near zero; far enough apart that the term between them counts.
        sign = float(rng.choice([-1.0, 1.0]))
        a = part(count_a, sign * (offset + rng.uniform(1.5, 2.5)), 0.5)
        b = part(count_b, sign * (offset + rng.uniform(5.0, 6.0)), 0.9)
        return Probe(name, {"a": a, "b": b}, condition)

    def with_empty(name: str, a: tuple[int, float, float], b: tuple[int, float, float]) -> Probe:
        # Some return the other part at once and some let the formula do it: a mistake in the formula shows in the
        # second case only, so these probes take no part in naming it.
        return Probe(name, {"a": a, "b": b}, alone=EMPTY_ALONE, diagnosed=False)

    return [
        both("a is larger", 9, 4),
        both("b is larger", 3, 8),
        both("equal sizes", 5, 5),
        both("single values", 1, 1),
        both("far from zero", 6, 11, offset=1000.0, condition=2000.0),
        with_empty("a is empty", EMPTY, part(6, 2.0, 0.5)),
        with_empty("b is empty", part(7, -2.0, 0.5), EMPTY),
        with_empty("both are empty", EMPTY, EMPTY),
    ]


EXERCISE = Exercise(
    id="merge",
    title="The statistics of two parts together",
    chapter="1.4",
    statement=(
        "Merge the statistics of two parts of a data set without looking at the data again. Each part is described by "
        "its `count`, its `mean` and `m2`, the sum of squared deviations from that mean; either may be empty, "
        "`(0, 0.0, 0.0)`. Return the same three numbers for the whole. This is how the variance of a batch is computed "
        "that is spread over the threads of a GPU, or over many machines."
    ),
    solution_function=merge_moments,
    outputs=("count", "mean", "m2"),
    reference=faulty_merge,
    faults=FAULTS,
    coincidences=(),
    make_probes=make_probes,
    properties=(
        Property("count", "count", lambda count, arguments: count),
        Property("mean", "mean", lambda mean, arguments: mean),
        Property("m2", "m2", lambda m2, arguments: m2),
    ),
    hints=(
        "Counts add up. Means do not: which average of them is the mean of all values? Then ask what m2 would be if "
        "every value of a part were equal to the part's mean.",
        "m2 has three summands: what deviates within a, what deviates within b, and what the two means contribute. "
        "The third is delta squared, times the product of the counts over their sum.",
        "Start with count = count_a + count_b, and return (0, 0.0, 0.0) if that is zero. delta = mean_b - mean_a; the "
        "mean moves from mean_a by the share of b in the count.",
    ),
    explanation="""
    Within a part, deviations from the new mean are deviations from the old one plus a constant, and the mixed term sums
    to zero: sum((x - mean)**2) = m2_a + count_a * (mean_a - mean)**2. The same holds for b. Since
    mean_a - mean = -delta * count_b / count and mean_b - mean = delta * count_a / count, the two extra terms add up to
    delta**2 * count_a * count_b / count.

    Nothing here subtracts two large numbers that are nearly equal, other than the means themselves, so values far from
    zero cost no digits. And the order of merging does not matter but for rounding: parts can be merged in a tree.
    """,
    passed_message=(
        "Your function agrees with the reference on eight fresh pairs of parts: of unequal and of equal size, of "
        "single values, far from zero, and with one of them or both empty."
    ),
)
