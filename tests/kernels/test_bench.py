"""The race, run on a CPU with a clock that tells what it is told: checks, rotation, statistics, the table."""

import json
import math
from types import SimpleNamespace

import pytest
import torch

from bncourse.kernels import floor
from bncourse.kernels.bench import report
from bncourse.kernels.bench.batch import answer, make_batch
from bncourse.kernels.bench.measure import WrongError, check, measure
from bncourse.kernels.bench.peers import PEERS, Peer
from bncourse.kernels.bench.suite import DTYPES, FORMATS, FUSIONS, OURS, PEER_NAMES, SHAPES, Case, cases, parse_shape
from bncourse.kernels.bench.timing import MAX_SETS, quartiles, race, repeats, rotation
from tests.kernels.racing import CASE, CPU, NAMED, ON_CPU, Clock, written_out


def test_the_suite_is_the_whole_one_and_begins_with_half_precision():
    found = cases()
    assert len(found) == len(set(found)) == (len(SHAPES) * 2 - 3) * len(DTYPES) * len(FUSIONS)
    assert {case.format for case in found if len(case.shape) == 2} == {"channels_first"}
    assert {case.format for case in found if len(case.shape) == 5} == set(FORMATS)
    assert [case.dtype for case in found] == sorted((case.dtype for case in found), key=DTYPES.index)
    assert tuple(peer.name for peer in PEERS) == PEER_NAMES


def test_shapes_are_read_as_they_are_written():
    assert parse_shape("32x64x56x56") == (32, 64, 56, 56)
    for wrong in ("32", "32x", "0x4", "axb", "1x2x3x4x5x6"):
        with pytest.raises(ValueError, match="expected a shape such as 32x64x56x56, got"):
            parse_shape(wrong)


def test_the_data_rotates_through_twice_the_cache_or_not_at_all():
    assert rotation(nbytes=10, l2=100) == 20
    assert rotation(nbytes=33, l2=100) == 7
    # One set that exceeds the cache is not enough: its tail is still there when it comes again.
    assert rotation(nbytes=1000, l2=100) == 2
    assert rotation(nbytes=1, l2=MAX_SETS) is None


def test_a_stretch_is_long_enough_for_the_clock():
    for sets, nbytes in ((1, 10), (7, 10**7), (2, 10**9)):
        calls = sets * repeats(sets, nbytes)
        assert calls * max(3, nbytes / 3e6) >= 400
        assert calls % sets == 0
    assert repeats(2, 10**10) == 1


def test_everybody_begins_once_and_slow_drift_hits_all_alike():
    """Catches rounds in a fixed order: there the last of three would look 1 % slower than the first."""
    order, now = [], iter(range(1000))

    def plan(name):
        return lambda: order.append(name) or 100.0 + next(now) / 2

    times = race({name: plan(name) for name in "abc"}, rounds=9)
    assert [order[3 * turn] for turn in range(3)] == ["a", "b", "c"]
    assert {name: len(values) for name, values in times.items()} == {"a": 9, "b": 9, "c": 9}
    means = [sum(values) / 9 for values in times.values()]
    assert max(means) - min(means) < 0.1
    assert race({}, 3) == {}


def test_the_median_ignores_one_interruption():
    assert quartiles([3.0, 1.0, 2.0, 900.0, 4.0]) == [2.0, 3.0, 4.0]
    assert quartiles([1.5]) == [1.5] * 3


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize(
    ("shape", "layout", "dtype"),
    [
        ((6, 3, 5, 4), "channels_first", "float32"),
        ((6, 17, 3, 3), "channels_last", "bfloat16"),
        ((40, 5), "channels_first", "float16"),
        ((3, 4, 2, 3, 5), "channels_last", "float32"),
    ],
)
def test_what_runs_on_a_cpu_passes_the_check_and_is_timed(shape, layout, dtype, fusion):
    case = Case(shape, layout, dtype, fusion)
    row = measure(case, [NAMED[name] for name in ON_CPU], Clock(), CPU, rounds=3)
    assert row["failed"] == {}
    assert set(row["errors"]) == set(ON_CPU)
    assert row["selected"] == "Native"
    for direction in ("forward", "backward"):
        part = row[direction]
        assert part["bytes"] == floor.least_bytes(direction + fusion, shape, dtype)
        assert set(part["peers"]) == set(ON_CPU)
        assert all(set(times) <= {"cold", "warm"} and times for times in part["peers"].values())
        assert part["uncaptured"] == []
    # Rounding to the dtype is seen, and is all that is.
    assert all(0 < error < 2 * max(1e-6, torch.finfo(getattr(torch, dtype)).eps) for error in row["errors"].values())
    json.dumps(row, allow_nan=False)


def test_the_calls_go_round_over_different_data_and_stay_on_one_set_when_warm():
    """Catches sets that share their memory, too few of them, and results that are not those of the set."""
    seen = []

    def spy(case):
        def function(batch):
            seen.append((batch.x.data_ptr(), batch.residual.data_ptr()))
            return written_out(batch)

        return function

    clock = Clock(l2=2**15)
    row = measure(CASE, [Peer("spy", spy)], clock, CPU, rounds=2)
    cold, copies, warm, _ = clock.plans[:4]
    nbytes = 3 * 4 * math.prod(CASE.shape)
    assert cold[1] == math.ceil(2 * 2**15 / nbytes)
    assert copies[1] == math.ceil(2 * 2**15 / (row["forward"]["bytes"] // 2))
    assert warm[1] == 1
    for calls, sets in (cold, warm):
        seen.clear()
        for call in calls[: 2 * sets]:
            call()
        assert len({pointers for pair in seen for pointers in pair}) == 2 * sets
        assert seen[:sets] == seen[sets:]
    # The clock says 1, 2 for the peer and the copy in the cold state, 3 and 4 in the warm one.
    assert row["forward"]["peers"]["spy"] == {"cold": [1.0] * 3, "warm": [3.0] * 3}
    assert row["forward"]["copy"] == {"cold": [2.0] * 3, "warm": [4.0] * 3}


def test_a_state_that_cannot_be_had_is_not_timed():
    tiny, huge = (measure(CASE, [NAMED[OURS]], Clock(l2), CPU, rounds=1) for l2 in (2**28, 2**4))
    assert set(tiny["forward"]["peers"][OURS]) == set(tiny["forward"]["copy"]) == {"warm"}
    assert set(huge["backward"]["peers"][OURS]) == set(huge["backward"]["copy"]) == {"cold"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda batch: written_out(batch, constant_var=True), " in dx"),
        (lambda batch: written_out(batch, unbiased=True), " in y"),
        (lambda batch: written_out(batch, update=False), " in running_mean"),
        (lambda batch: written_out(batch) * math.nan, "nan in y"),
        (lambda batch: written_out(batch)[:, :2], "RuntimeError: Mismatch in shape"),
        (lambda batch: written_out(batch) + 1e-3, " in y"),
    ],
)
def test_a_peer_that_is_wrong_does_not_race_and_the_others_do(wrong, message):
    row = measure(CASE, [Peer("wrong", lambda case: wrong), NAMED["PyTorch"]], Clock(), CPU, rounds=1)
    assert message in row["failed"]["wrong"]
    assert set(row["forward"]["peers"]) == set(row["backward"]["peers"]) == {"PyTorch"}


def test_a_sum_rounded_before_the_relu_is_no_mistake():
    """Catches a check that counts as wrong the few gradients whose sign of y hangs on a rounding."""
    row = measure(Case((32, 8, 16, 16), "channels_first", "bfloat16", "+add+relu"), [NAMED["PyTorch"]], Clock(), CPU, 1)
    assert row["failed"] == {}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_dtype_tells_a_missing_term_from_rounding(dtype, fusion):
    """Catches a tolerance that is too wide, and data on which the missing term is zero."""
    case = Case((64, 4, 6, 6), "channels_first", dtype, fusion)
    batch = make_batch(case, CPU)
    right = answer(batch)

    def rounded(**wrong):
        def function(one):
            wide = SimpleNamespace(
                **{name: getattr(one, name) for name in ("weight", "bias", "running_mean", "running_var", "relu")},
                x=one.x.float(),
                residual=None if one.residual is None else one.residual.float(),
            )
            return written_out(wide, **wrong).to(one.x.dtype)

        return function

    check(rounded(), batch.copy(), right)
    with pytest.raises(WrongError, match="in dx"):
        check(rounded(constant_var=True), batch.copy(), right)


def test_whoever_fails_while_it_is_timed_is_left_out_from_then_on():
    runs = []

    def flaky(case):
        def function(batch):
            runs.append(1)
            if len(runs) > 2:
                raise MemoryError("no room\nat all")
            return written_out(batch)

        return function

    clock = Clock()
    row = measure(CASE, [Peer("flaky", flaky), NAMED[OURS]], clock, CPU, rounds=1)
    assert row["failed"] == {"flaky": "MemoryError: no room"}
    assert set(row["forward"]["peers"]) == {OURS}
    assert len(runs) == 3


def a_row(ours, others, nbytes=3_000_000, copy=1.0, **changed):
    peers = {OURS: {"cold": [0, ours, 9]}, **{name: {"cold": [0, time, 9]} for name, time in others.items()}}
    part = {"bytes": nbytes, "copy": {"cold": [0, copy, 9]}, "peers": peers}
    row = {"shape": [4, 3], "format": "channels_first", "dtype": "bfloat16", "fusion": "", "failed": {}}
    return {**row, "forward": part, "backward": part, **changed}


def test_what_a_row_says_counted_by_hand():
    found = report.reading(a_row(ours=2.0, others={"slow": 8.0, "fast": 3.0}, copy=1.5), "forward")
    assert found == report.Reading(2.0, pytest.approx(1500), 0.75, "fast", 1.5)
    assert report.reading(a_row(2.0, {}), "forward", "warm") is None
    alone = report.reading(a_row(2.0, {}), "backward")
    assert alone.best == ""
    assert math.isnan(alone.ratio)
    theirs = report.reading(a_row(2.0, {"fast": 3.0}), "forward", of="fast")
    assert (theirs.best, theirs.ratio) == (OURS, pytest.approx(2 / 3))


def test_the_table_and_the_summary_hold_the_numbers():
    rows = [a_row(2.0, {"other": 4.0}, copy=1.0), a_row(2.0, {"other": 1.0}, copy=1.8)]
    rows[1]["failed"] = {"apex": "RuntimeError: no"}
    line = next(report.lines(rows[0]))
    for part in ("4x3", "channels_first", "forward", "cold", "2.0 us", "1500 GB/s", "50% of copy", "2.00x other"):
        assert part in line
    assert "  apex failed: RuntimeError: no" in report.lines(rows[1])
    text = "\n".join(report.summary(rows))
    # The median of 50 % and 90 %; twice as fast and half as fast are as fast, on the whole.
    assert "70% of copy;  1.00x the best peer's speed; first in 1 of 2" in text
    assert "apex failed in 1 rows" in text
    assert report.geometric_mean([4.0, 0.25]) == pytest.approx(1)
