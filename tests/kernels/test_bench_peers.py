"""What no CPU can run, with stand-ins: the GPU's clock, cuDNN and apex; and the peer of our own."""

import os
import subprocess
import sys
import weakref
from types import SimpleNamespace

import pytest
import torch

from bncourse.kernels.bench import timing
from bncourse.kernels.bench.measure import measure
from bncourse.kernels.bench.peers import Peer
from bncourse.kernels.bench.suite import FUSIONS, Case
from bncourse.kernels.bench.timing import GpuTimer
from tests.kernels.racing import CASE, CPU, NAMED, Clock


def test_the_gpu_timer_warms_up_captures_and_times_the_second_replay(monkeypatch):
    log = []

    class Event:
        def __init__(self, enable_timing):
            pass

        def record(self, stream):
            log.append("event")

        def synchronize(self):
            pass

        def elapsed_time(self, end):
            return 0.006

    class Capture:
        def __init__(self, graph, stream):
            if broken:
                raise RuntimeError("cannot be captured")

        def __enter__(self):
            log.append("capture")

        def __exit__(self, *error):
            return False

    fakes = {
        "Stream": lambda device: "stream",
        "set_stream": lambda stream: log.append(stream),
        "Event": Event,
        "CUDAGraph": lambda: SimpleNamespace(replay=lambda: log.append("replay")),
        "graph": Capture,
        "synchronize": lambda device: None,
        "get_device_properties": lambda device: SimpleNamespace(
            L2_cache_size=50 * 2**20, name="X", multi_processor_count=1, major=9, minor=0, total_memory=2**30
        ),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    broken = False
    timer = GpuTimer(CPU)
    assert log.pop(0) == "stream"
    assert (timer.l2, timer.alive()) == (50 * 2**20, True)
    calls = [lambda: log.append("a"), lambda: log.append("b")] * 2
    plan, captured = timer.plan(calls, 2)
    assert captured
    assert log == ["a", "b", "a", "capture", "a", "b", "a", "b"]
    log.clear()
    assert plan() == pytest.approx(1.5)
    assert log == ["replay", "event", "replay", "event"]
    # Results are kept for as long as the data rotates; one that is freed would lend its place in the cache to the next.
    results_alive = weakref.WeakSet()

    class Output:
        def __init__(self):
            results_alive.add(self)

    plan, _ = timer.plan([Output] * 6, 3)
    assert len(results_alive) == 3
    broken = True
    plan, captured = timer.plan(calls, 2)
    log.clear()
    assert (captured, plan()) == (False, pytest.approx(1.5))
    assert log == [*"abab", "event", *"abab", "event"]
    monkeypatch.setattr(timing.subprocess, "run", lambda *a, **k: SimpleNamespace(stdout="580.1, 1980 MHz, 2619 MHz\n"))
    found = timing.machine(torch.device("cuda", 0))
    assert (found["gpu"], found["driver"], found["max SM clock"], found["L2 MiB"]) == ("X", "580.1", "1980 MHz", 50)
    monkeypatch.setattr(timing.subprocess, "run", lambda *a, **k: SimpleNamespace(stdout=""))
    assert timing.machine(torch.device("cuda", 0))["driver"] == "unknown"


def test_cudnn_is_called_by_its_own_order_of_arguments(monkeypatch):
    schema = [argument.name for argument in torch.ops.aten.cudnn_batch_norm.default._schema.arguments]
    assert schema[:3] == ["input", "weight", "bias"]

    def stand_in(*arguments):
        given = dict(zip(schema, arguments, strict=True))
        y = torch.nn.functional.batch_norm(
            *(given[name] for name in ("input", "running_mean", "running_var", "weight", "bias", "training")),
            given["exponential_average_factor"],
            given["epsilon"],
        )
        return y, None, None, None

    monkeypatch.setattr(torch, "cudnn_batch_norm", stand_in)
    row = measure(CASE, [Peer("cuDNN", NAMED["cuDNN"].make)], Clock(), CPU, rounds=1)
    assert row["failed"] == {}


@pytest.mark.parametrize("fusion", FUSIONS)
def test_apex_gets_images_with_the_channels_last_and_gives_them_back(fusion, monkeypatch):
    class Module(torch.nn.Module):
        def __init__(self, channels, fuse_relu):
            super().__init__()
            self.register_parameter("weight", torch.nn.Parameter(torch.ones(channels)))
            self.register_parameter("bias", torch.nn.Parameter(torch.zeros(channels)))
            self.register_buffer("running_mean", torch.zeros(channels))
            self.register_buffer("running_var", torch.ones(channels))
            self.fuse_relu = fuse_relu

        def cuda(self):
            return self

        def forward(self, x, z=None):
            assert x.is_contiguous()
            running = (self.running_mean, self.running_var)
            y = torch.nn.functional.batch_norm(
                x.permute(0, 3, 1, 2), *running, self.weight, self.bias, True, self.momentum, self.eps
            ).permute(0, 2, 3, 1)
            y = y if z is None else y + z
            return y.relu() if self.fuse_relu else y

    module = SimpleNamespace(BatchNorm2d_NHWC=Module)
    monkeypatch.setitem(sys.modules, "apex", SimpleNamespace())
    for name in ("apex.contrib", "apex.contrib.groupbn", "apex.contrib.groupbn.batch_norm"):
        monkeypatch.setitem(sys.modules, name, module)
    case = Case((6, 4, 5, 3), "channels_last", "float16", fusion)
    assert NAMED["apex groupbn"].takes(case)
    row = measure(case, [Peer("apex", NAMED["apex groupbn"].make)], Clock(), CPU, rounds=1)
    assert row["failed"] == {}


def test_the_kernels_of_a_program_per_channel_are_right_in_the_interpreter():
    pytest.importorskip("triton")
    code = """
import torch
from bncourse.kernels.bench.measure import check
from bncourse.kernels.bench.batch import answer, make_batch
from bncourse.kernels.bench.peers import PEERS
from bncourse.kernels.bench.suite import Case
peer = next(peer for peer in PEERS if peer.name == "one program per channel")
cpu = torch.device("cpu")
assert peer.missing(cpu) == ""
for shape, dtype in (((5, 3, 40, 24), "float32"), ((70, 4), "float16")):
    case = Case(shape, "channels_first", dtype, "")
    assert peer.takes(case)
    batch = make_batch(case, cpu)
    print(check(peer.make(case), batch.copy(), answer(batch)))
"""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True)
