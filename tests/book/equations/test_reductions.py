"""The equations of chapter 3.3, both sides evaluated on random input."""

import functools
import heapq
import math
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from bncourse.reference import Moments, merge, moments

FLOAT32_UNIT = 2.0**-24


def simulate(programs: int, resident: int, work: float, asked: float, bandwidth: float, latency: float) -> float:
    """Seconds until programs that fetch ``work`` bytes each, ``asked`` at a time, are done.

    Memory serves one request after another; an idle one answers after ``latency``. A program asks anew when it has been
    served, and the next program starts when one has finished.
    """
    memory_is_free = now = 0.0
    waiting = programs - min(programs, resident)
    running = [(0.0, math.ceil(work / asked)) for _ in range(programs - waiting)]
    heapq.heapify(running)
    while running:
        asks, left = heapq.heappop(running)
        memory_is_free = max(memory_is_free, asks + latency - asked / bandwidth) + asked / bandwidth
        now = max(now, memory_is_free)
        if left > 1:
            heapq.heappush(running, (memory_is_free, left - 1))
        elif waiting:
            waiting -= 1
            heapq.heappush(running, (memory_is_free, math.ceil(work / asked)))
    return now


MEMORIES = [(100.0, 3.0, 4.0), (7.0, 0.5, 1.5)]  # bandwidth, latency, bytes asked for at a time


@pytest.mark.equation("eq-in-flight")
@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("programs", [1, 2, 5, 40, 75, 200])
def test_programs_that_wait_get_what_is_under_way_in_a_latency(memory: tuple[float, ...], programs: int) -> None:
    """Catches a rate that does not know of the bandwidth, and one that does not know of the programs."""
    bandwidth, latency, asked = memory
    work = 500 * asked
    rate = programs * work / simulate(programs, programs, work, asked, bandwidth, latency)
    assert rate <= min(bandwidth, programs * asked / latency) * (1 + 1e-9)
    assert rate == pytest.approx(min(bandwidth, programs * asked / latency), rel=0.05)


@pytest.mark.equation("eq-program-turns")
@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize(("programs", "resident"), [(6, 6), (7, 6), (11, 6), (120, 100), (101, 100), (250, 120)])
def test_programs_for_which_there_is_no_room_run_in_turns(
    memory: tuple[float, ...], programs: int, resident: int
) -> None:
    """Catches a last turn that is taken for a full one, and one whose few programs are taken to use all bandwidth."""
    bandwidth, latency, asked = memory
    work = 400 * asked

    def turn(count: int) -> float:
        return work * max(count / bandwidth, latency / asked) if count else 0.0

    full, rest = divmod(programs, resident)
    time = full * turn(resident) + turn(rest)
    assert simulate(programs, resident, work, asked, bandwidth, latency) == pytest.approx(time, rel=0.05)


class Traced:
    """A float32 that knows through how many additions its oldest term has gone."""

    def __init__(self, value: np.float32, depth: int = 0) -> None:
        self.value, self.depth = value, depth

    def __add__(self, other: "Traced") -> "Traced":
        return Traced(np.float32(self.value + other.value), 1 + max(self.depth, other.depth))


ZERO = Traced(np.float32(0))


def tree(terms: list[Traced]) -> Traced:
    """Neighbours are added, and the sums of neighbours, as in a block of lanes."""
    while len(terms) > 1:
        pairs = zip(terms[::2], [*terms[1::2], *[ZERO] * (len(terms) % 2)], strict=True)
        terms = [one + other for one, other in pairs]
    return terms[0]


def split_sum(values: NDArray[np.float32], block: int, splits: int) -> Traced:
    """Tiles of ``block`` lanes, dealt to ``splits`` programs, and a tree over what these have found."""
    parts = []
    for split in range(splits):
        total = ZERO
        for start in range(split * block, len(values), splits * block):
            lanes = [Traced(value) for value in values[start : start + block]]
            total += tree(lanes + [ZERO] * (block - len(lanes)))
        parts.append(total)
    return tree(parts)


SPLITTINGS = [(8, 1), (8, 3), (16, 4), (4, 7), (64, 2)]


@pytest.mark.equation("eq-sum-depth")
@pytest.mark.parametrize(("block", "splits"), SPLITTINGS)
@pytest.mark.parametrize("m", [448, 1000, 1])
def test_the_longest_chain_of_additions(block: int, splits: int, m: int) -> None:
    """Catches tiles that are counted over all programs, and rows that are added one by one."""
    found = split_sum(np.ones(m, np.float32), block, splits)
    assert found.depth == math.log2(block) + math.ceil(m / (block * splits)) + math.ceil(math.log2(splits))
    assert found.value == m


@pytest.mark.equation("eq-sum-error")
@pytest.mark.parametrize("seed", range(5))
def test_no_sum_is_off_by_more_than_its_depth_allows(seed: int) -> None:
    """In exact rational numbers; a sum whose every addition loses half a unit comes near to its bound."""
    rng = np.random.default_rng(seed)
    drawn = (rng.normal(3, 5, 1000) * 10.0 ** rng.integers(-4, 5, 1000)).astype(np.float32)
    # Behind the 1, each of these is less than half the distance to the next float, and is rounded away.
    slow = np.array([1.0] + [FLOAT32_UNIT * 0.999] * 600, np.float32)
    for values in (drawn, slow):
        one_by_one = functools.reduce(Traced.__add__, [Traced(value) for value in values])
        assert one_by_one.depth == len(values) - 1
        for found in (one_by_one, *(split_sum(values, *splitting) for splitting in SPLITTINGS)):
            error = abs(Fraction(float(found.value)) - sum(Fraction(float(value)) for value in values))
            size = sum(Fraction(abs(float(value))) for value in values)
            assert error <= ((1 + Fraction(FLOAT32_UNIT)) ** found.depth - 1) * size
    lost = sum(Fraction(float(value)) for value in slow) - Fraction(
        float(functools.reduce(Traced.__add__, [Traced(value) for value in slow]).value)
    )
    assert lost > Fraction(9, 10) * Fraction(FLOAT32_UNIT) * (len(slow) - 1)


def parts_of_different_sizes(seed: int) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    rng = np.random.default_rng(seed)
    values = rng.normal(20, 3, 200) + np.linspace(0, 9, 200)
    return values, np.split(values, np.sort(rng.choice(np.arange(1, 200), 6, replace=False)))


@pytest.mark.equation("eq-merge-many")
@pytest.mark.parametrize("seed", range(5))
def test_all_parts_are_merged_at_once(seed: int) -> None:
    """Catches means that are averaged without their counts, and what lies between the parts left out."""
    values, parts = parts_of_different_sizes(seed)
    found = [moments(part, axis=0) for part in parts]
    m = sum(part.count for part in found)
    mean = sum(part.count * part.mean for part in found) / m
    m2 = sum(part.m2 + part.count * (part.mean - mean) ** 2 for part in found)
    assert mean == pytest.approx(values.mean(), rel=1e-12)
    assert m2 == pytest.approx(np.square(values - values.mean()).sum(), rel=1e-10)
    one_by_one = functools.reduce(merge, found)
    assert (mean, m2) == pytest.approx((one_by_one.mean, one_by_one.m2), rel=1e-10)


@pytest.mark.equation("eq-masked-lanes")
@pytest.mark.parametrize("count", [1, 13, 63, 64])
def test_lanes_that_are_not_there_add_the_square_of_the_mean(count: int) -> None:
    rng = np.random.default_rng(count)
    values = rng.normal(-7, 2, count)
    lanes = np.zeros(64)
    lanes[:count] = values
    right = moments(values, axis=0)
    assert np.square(lanes - right.mean).sum() == pytest.approx(right.m2 + (64 - count) * right.mean**2, rel=1e-12)


@pytest.mark.equation("eq-rounded-mean")
@pytest.mark.parametrize("centre", [0.0, 4.9, 5.2, -30.0])
def test_deviations_from_any_number_tell_mean_and_m2(centre: float) -> None:
    """Catches the wrong sign of the correction, which a centre near the mean hardly shows."""
    values = np.random.default_rng(8).normal(5, 2, 57)
    deviations = values - centre
    right = moments(values, axis=0)
    mean = centre + deviations.mean()
    assert mean == pytest.approx(right.mean, rel=1e-13)
    assert np.square(deviations).sum() - 57 * (right.mean - centre) ** 2 == pytest.approx(right.m2, rel=1e-11)


@pytest.mark.equation("eq-rounded-mean")
def test_the_kernels_step_is_the_correction() -> None:
    """Taking the deviations' own mean off them, and then squaring, is the second line."""
    values = np.random.default_rng(9).normal(5, 2, 57)
    deviations = values - 4.7
    corrected = deviations - deviations.mean()
    found = Moments(57, np.asarray(4.7 + deviations.mean()), np.square(corrected).sum())
    direct = np.square(deviations).sum() - 57 * (values.mean() - 4.7) ** 2
    assert found.m2 == pytest.approx(direct, rel=1e-11)
