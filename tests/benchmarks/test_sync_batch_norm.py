"""The benchmark's variants are what they are called, its fit finds constants, and its record bears out what is said."""

from collections import Counter

import pytest
import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

from benchmarks import sync_batch_norm
from benchmarks.sync_batch_norm import SETTINGS, communication, fit, measured, time_layers
from bncourse import results

pytestmark = pytest.mark.slow

CONSTANTS = {"start": 20.0, "step": 70.0, "megabyte": 900.0}


def test_the_fit_recovers_the_constants_of_made_up_times():
    """By hand: a ring's steps and bytes. Catches steps counted for one rank too many, and bytes of one part only."""
    samples = []
    for ranks in (2, 4):
        for size in (64, 65536, 1048576):
            gather = 20 + 70 * (ranks - 1) + 900 * (ranks - 1) * size / 1e6
            reduce = 20 + 70 * 2 * (ranks - 1) + 900 * 2 * (ranks - 1) / ranks * size / 1e6
            times = {"all_gather": gather, "all_reduce": reduce}
            samples += [{"collective": name, "ranks": ranks, "bytes": size, "time": t} for name, t in times.items()]
    assert fit(samples) == pytest.approx(CONSTANTS)


def test_a_layer_communicates_once_in_each_direction():
    forward = 20 + 70 * 3 + 900 * 3 * 8 * (2 * 64 + 3) / 1e6
    backward = 20 + 70 * 6 + 900 * 6 / 4 * 8 * (2 * 64) / 1e6
    assert communication(64, 4, CONSTANTS) == pytest.approx(forward + backward)
    assert communication(64, 1, CONSTANTS) == 0
    assert communication(64, 2, CONSTANTS | {"megabyte": 0.0}) == pytest.approx(20 + 70 + 20 + 140)


SMALL = {
    "ranks": [2],
    "channels": [8],
    "batch": [4, 3, 3],
    "sizes": [64, 4096],
    "pause": 10,
    "rounds": 3,
    "calls": 5,
}


def test_two_ranks_measure_what_their_prediction_is_made_of():
    outcome = measured(SMALL)
    (row,) = outcome["layers"]
    assert row["predicted"] == pytest.approx(row["slowest"] + communication(8, 2, outcome["fit"]))
    assert row["plain"] > 0
    assert 0.5 * row["silent"] < row["slowest"]
    assert row["sync"] > 0
    assert [(sample["collective"], sample["bytes"]) for sample in outcome["collectives"]] == [
        (name, size) for name in ("all_gather", "all_reduce") for size in (64, 4096)
    ]


def test_only_the_synchronized_layer_communicates(monkeypatch):
    """Catches a silent variant that sends, a synchronized one that does not, and variants that are mixed up."""
    calls, found = Counter(), {}

    def counted(name, function):
        def call(*args, **options):
            calls[name] += 1
            return function(*args, **options)

        return call

    for name in ("all_gather", "all_reduce"):
        monkeypatch.setattr(dist, name, counted(name, getattr(dist, name)))

    def once(variants, settings):
        times = {}
        for name, variant in variants.items():
            calls.clear()
            times[name] = torch.tensor([[variant()]])
            found[name] = dict(calls)
        return times

    monkeypatch.setattr(sync_batch_norm, "in_turn", once)
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        time_layers(8, SMALL)
    finally:
        dist.destroy_process_group()
    assert found == {"plain": {}, "silent": {}, "sync": {"all_gather": 1, "all_reduce": 1}}


def test_the_record_follows_from_its_own_measurements():
    record = results.load("sync_batch_norm")
    assert record.settings == SETTINGS
    outcome = record.outcome
    assert outcome["fit"] == pytest.approx(fit(outcome["collectives"]))
    cases = [(row["ranks"], row["channels"]) for row in outcome["layers"]]
    assert cases == [(ranks, channels) for ranks in SETTINGS["ranks"] for channels in SETTINGS["channels"]]
    for row in outcome["layers"]:
        constants = communication(row["channels"], row["ranks"], outcome["fit"])
        assert row["predicted"] == pytest.approx(row["slowest"] + constants)


def test_the_record_bears_out_the_chapter():
    """The prediction is right within a factor of three, and what ranks wait for is seen."""
    for row in results.load("sync_batch_norm").outcome["layers"]:
        assert 1 / 3 < row["sync"] / row["predicted"] < 3
        if row["ranks"] > 1:
            assert row["sync"] > max(row["silent"], row["plain"])
