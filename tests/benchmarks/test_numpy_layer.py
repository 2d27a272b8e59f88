"""The benchmark of the NumPy layer counts and compares what it says, and its record supports chapter 2.6."""

import math

import numpy as np
import pytest

from benchmarks import numpy_layer
from benchmarks.numpy_layer import VARIANTS, batch, errors
from benchmarks.traffic import traffic
from bncourse import results

LARGE = 2**18


def values(seed=0):
    return np.random.default_rng(seed).normal(size=LARGE).astype(np.float32)


def test_one_operation_reads_its_inputs_and_writes_its_result():
    assert traffic(np.multiply, values(), values(1), capacity=2**16) == {"operations": 1, "read": 2, "written": 1}


def test_a_temporary_is_written_and_read_back_only_if_the_cache_does_not_hold_it():
    """Catches a cache that never forgets, or never remembers."""

    def two_lines(x):
        return (x * 2) + 1

    small, large = (traffic(two_lines, values(), capacity=capacity) for capacity in (2**16, 2**24))
    assert small == {"operations": 2, "read": 2, "written": 2}
    assert large == {"operations": 2, "read": 1, "written": 2}


def test_blocks_share_a_trip_and_in_place_results_are_written_once():
    def in_blocks(x):
        out = np.empty_like(x)
        for start in range(0, x.size, 2**16):
            part = slice(start, start + 2**16)
            np.multiply(x[part], 2, out=out[part])
            np.add(out[part], 1, out=out[part])
        return out

    assert traffic(in_blocks, values(), capacity=2**20) == {"operations": 2, "read": 1, "written": 1}


def test_reductions_and_matrix_products_are_seen():
    def sums(x):
        rows = x.reshape(64, -1)
        return np.ones(64, np.float32) @ rows + rows.mean(axis=0)

    assert traffic(sums, values(), capacity=2**16)["read"] == 2


def test_what_is_computed_in_scratch_memory_is_seen():
    """Catches a count that ends where a result goes into an array that was not watched before."""

    def twice(x):
        scratch = np.empty(x.shape, x.dtype)
        return np.add(np.multiply(x, 2, out=scratch), 1, out=scratch)

    assert traffic(twice, values(), capacity=2**24) == {"operations": 2, "read": 1, "written": 1}


@pytest.mark.parametrize("shape", [(96, 24), (6, 4, 40, 40)])
def test_all_variants_compute_the_same(shape):
    arrays = batch(shape)
    ours = {name: function(*arrays) for name, function in VARIANTS.items()}
    for name, outputs in ours.items():
        for one, other in zip(outputs, ours["torch"], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5 * np.abs(other).max(), err_msg=name)


def test_the_plain_variants_make_the_passes_that_can_be_counted_by_hand():
    counted = numpy_layer.count((4096, 1024))
    assert counted["staged"] == pytest.approx({"operations": 19, "read": 22, "written": 13}, rel=1e-3)
    assert counted["closed"] == pytest.approx({"operations": 14, "read": 16, "written": 10}, rel=1e-3)
    # Three sums and a square, two operations for y, three sums' and products' and four operations for dx.
    assert counted["lean"]["operations"] == pytest.approx(12, rel=0.02)
    # x and dy twice, x twice before, less what the cache still holds; y and dx, and the scratch block once.
    assert 5.5 < counted["lean"]["read"] <= 6
    assert 2 <= counted["lean"]["written"] < 2.2


def test_errors_are_taken_against_float64_and_see_a_large_mean():
    found = errors((512, 16), 1e4)
    assert max(found["lean"]["root mean square"].values()) < 1e-6
    assert found["torch"]["root mean square"]["y"] > 1e-5


def test_the_record_supports_the_chapter():
    """Every statement of the text about a recorded number that is not computed where it is made."""
    outcome = results.load("numpy_layer").outcome
    times, traffic_of, costs = outcome["times"], outcome["traffic"], list(outcome["operation"].values())
    assert set(times) == {str(shape) for shape in numpy_layer.SHAPES}

    def geometric_mean(other):
        return math.exp(np.mean([math.log(time["lean"] / time[other]) for time in times.values()]))

    # Several times as long as it has to; and lean not far behind PyTorch.
    assert geometric_mean("staged") < 0.5
    assert geometric_mean("torch") < 1.5
    # Short arrays and long ones are slower, by much, than those between.
    assert min(costs[0], costs[-1]) > 2 * min(costs)
    # At 256 values a call costs more than a trip to memory.
    assert costs[0] > 2 * costs[-1]
    for shape, time in times.items():
        assert time["staged"] > time["closed"] > time["lean"]
        # The arithmetic would fit into a nanosecond for each value.
        assert time["closed"] / math.prod(int(size) for size in shape[1:-1].split(",")) > 1e-9
        # Vectors behind PyTorch, images before it.
        assert (time["lean"] < time["torch"]) == (shape == "(32, 64, 56, 56)")
        if shape != "(256, 1024)":
            assert traffic_of[shape]["closed"]["read"] + traffic_of[shape]["closed"]["written"] > 5 * 4
    for offset, shapes in outcome["errors"].items():
        for shape, found in shapes.items():
            for name, error in found["lean"]["root mean square"].items():
                assert error < min(1e-6, 1.5 * found["torch"]["root mean square"][name])
            if offset != "1.0":
                assert found["torch"]["root mean square"]["y"] > 1e-4, shape
    # It reaches the size of the result, and grows with the number of rows until then.
    far = [outcome["errors"]["10000.0"][shape]["torch"]["root mean square"]["y"] for shape in list(times)[:3]]
    assert far == sorted(far)
    assert far[-1] > 0.3
