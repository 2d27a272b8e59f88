"""The equations of chapter 3.8: rotation, turns, and the two yardsticks."""

import math
from collections import OrderedDict

import numpy as np
import pytest

from bncourse.kernels import floor
from bncourse.kernels.bench import report
from bncourse.kernels.bench.suite import OURS
from bncourse.kernels.bench.timing import race, rotation
from tests.kernels.made_up import part, row


def found_again(sets, lines, capacity):
    """How many lines a cache that forgets what was used longest ago still has, when each batch's turn comes again."""
    cache, found = OrderedDict(), 0
    for turn in range(3 * sets):
        for line in range(lines):
            key = turn % sets, line
            found += key in cache
            cache[key] = None
            cache.move_to_end(key)
            if len(cache) > capacity:
                cache.popitem(last=False)
    return found


@pytest.mark.equation("eq-rotation")
@pytest.mark.parametrize(("lines", "capacity"), [(3, 40), (7, 40), (20, 40), (39, 40), (40, 40), (41, 40), (97, 40)])
def test_as_many_batches_as_the_equation_says_leave_nothing_in_the_cache(lines, capacity):
    """Catches one batch that exceeds the cache a little, and so many that fill it exactly."""
    sets = max(2, math.ceil(2 * capacity / lines))
    assert rotation(lines, capacity) == sets
    assert (sets - 1) * lines >= capacity
    assert found_again(sets, lines, capacity) == 0


@pytest.mark.equation("eq-rotation")
def test_half_as_many_batches_leave_everything_there():
    assert found_again(sets=5, lines=8, capacity=40) > 0
    assert rotation(8, 40) == 10


@pytest.mark.equation("eq-mean-turn")
@pytest.mark.parametrize(("players", "rounds"), [(3, 9), (2, 4), (5, 5), (7, 14)])
def test_everybody_runs_at_the_same_time_in_the_mean(players, rounds):
    """By the package's own order of runs, by the left side and by the right side."""
    clock = iter(range(players * rounds))
    names = [str(player) for player in range(players)]
    times = race({name: lambda: float(next(clock)) for name in names}, rounds)
    for player in range(players):
        numbers = [turn * players + (player - turn) % players for turn in range(rounds)]
        assert times[str(player)] == numbers
        assert np.mean(numbers) == pytest.approx((rounds * players - 1) / 2)


@pytest.mark.equation("eq-share-of-copy")
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("design", floor.DESIGNS)
def test_the_share_at_the_copys_speed_is_the_ratio_of_the_bytes(direction, design):
    """And below it for a kernel that is slower than a copy; the share comes from the package's reading of a row."""
    shape, speed = (64, 128, 28, 28), 2.9e12
    two_pass, moved = (floor.least_bytes(direction, shape, design=one) for one in ("two-pass", design))
    copy, fastest = 1e6 * two_pass / speed, 1e6 * moved / speed
    for slower in (1.0, 1.3):
        times = part({OURS: slower * fastest}, copy=copy, nbytes=two_pass)
        share = report.reading(row(shape, **{direction: times}), direction).of_copy
        assert share <= two_pass / moved * (1 + 1e-12)
        assert share == pytest.approx(two_pass / moved / slower)
    if design == "on-chip":
        assert two_pass / moved == pytest.approx({"forward": 6 / 4, "backward": 10 / 6}[direction], rel=1e-3)


@pytest.mark.equation("eq-geometric-mean")
def test_the_geometric_mean_of_ratios_is_the_ratio_of_geometric_means():
    """Catches the arithmetic mean, which is above 1 both ways."""
    rng = np.random.default_rng(8)
    a, b = rng.lognormal(1, 1, (2, 17))
    left = np.prod(b / a) ** (1 / 17)
    right = np.prod(b) ** (1 / 17) / np.prod(a) ** (1 / 17)
    assert left == pytest.approx(right)
    assert report.geometric_mean(b / a) == pytest.approx(left)
    assert report.geometric_mean(a / b) == pytest.approx(1 / left)
    assert np.mean(b / a) * np.mean(a / b) > 1.5
