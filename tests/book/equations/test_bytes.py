"""The equations of chapter 3.1, both sides evaluated on random input; and the traffic of the kernels themselves."""

import json
import math
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from bncourse.kernels.floor import BYTES, DEVICES, OPERATIONS, bytes_per_value, flops_per_value, intensity, least_bytes
from bncourse.reference import batch_norm, batch_norm_backward

pytestmark = pytest.mark.slow

RATES = [(3.0, 0.25, 40.0, 7.0), (1.5, 2.0, 5.0, 90.0), (1.0, 1.0, 6.0, 6.0)]  # FLOPs/s, bytes/s, FLOPs, bytes


def pipeline_time(flops_rate, bandwidth, flops, traffic, pieces):
    """Time of a kernel in pieces: a piece is computed when it has been fetched, while the next one is on its way."""
    fetched = computed = 0.0
    for _ in range(pieces):
        fetched += traffic / pieces / bandwidth
        computed = max(fetched, computed) + flops / pieces / flops_rate
    return computed


@pytest.mark.equation("eq-kernel-time")
@pytest.mark.parametrize("case", RATES)
def test_the_longer_of_two_overlapping_times_is_a_bound_and_is_reached(case):
    """Catches the sum of the two, which a pipeline beats, and the smaller of them, which it never reaches."""
    flops_rate, bandwidth, flops, traffic = case
    longer = max(flops / flops_rate, traffic / bandwidth)
    for pieces in (1, 7, 1000):
        assert pipeline_time(*case, pieces) >= longer * (1 - 1e-12)
    assert pipeline_time(*case, 10_000) == pytest.approx(longer, rel=1e-3)


@pytest.mark.equation("eq-roofline")
@pytest.mark.parametrize("case", RATES)
def test_the_roofline_is_the_rate_at_the_shortest_time(case):
    flops_rate, bandwidth, flops, traffic = case
    rate = flops / pipeline_time(*case, 10_000)
    assert rate == pytest.approx(min(flops_rate, flops / traffic * bandwidth), rel=1e-3)


@pytest.mark.equation("eq-memory-bound")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_distance_to_the_ridge_is_the_ratio_of_the_times(operation):
    """And it is above 1 on every device, which is what the chapter concludes."""
    shape = (8, 3, 40, 40)
    for device in DEVICES.values():
        for dtype in BYTES:
            memory = math.prod(shape) * bytes_per_value(operation, dtype) / device.bandwidth
            arithmetic = math.prod(shape) * flops_per_value(operation) / device.flops
            ridge = device.flops / device.bandwidth
            assert memory / arithmetic == pytest.approx(ridge / intensity(operation, dtype))
            assert memory > arithmetic


class Memory(list):
    """Values that count how often they are read and written."""

    def __init__(self, values):
        super().__init__(values.tolist())
        self.traffic = 0

    def __getitem__(self, place):
        self.traffic += 1
        return super().__getitem__(place)

    def __setitem__(self, place, value):
        self.traffic += 1
        super().__setitem__(place, value)


@pytest.mark.equation("eq-least-traffic")
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_channel_that_stays_on_the_chip_has_the_least_traffic(dtype):
    rng = np.random.default_rng(5)
    m, gamma, beta = 37, np.array([1.5]), np.array([-0.3])
    exact_x = rng.normal(4, 2, (m, 1))
    exact, cache = batch_norm(exact_x, gamma, beta)
    exact_dy = rng.normal(size=(m, 1))
    x, dy, y, dx = (Memory(values) for values in (exact_x[:, 0], exact_dy[:, 0], np.zeros(m), np.zeros(m)))

    kept = np.array([x[i] for i in range(m)])
    x_hat = (kept - kept.mean()) / np.sqrt(kept.var() + 1e-5)
    for i in range(m):
        y[i] = gamma[0] * x_hat[i] + beta[0]
    forward = x.traffic + y.traffic
    assert np.allclose(np.array(list(y)), exact[:, 0])
    assert BYTES[dtype] * forward / m == bytes_per_value("forward", dtype, "on-chip")

    x.traffic = 0
    kept, gradient = np.array([x[i] for i in range(m)]), np.array([dy[i] for i in range(m)])
    inv_std = 1 / np.sqrt(kept.var() + 1e-5)
    x_hat = (kept - kept.mean()) * inv_std
    values = gamma[0] * inv_std * (gradient - gradient.mean() - x_hat * (gradient * x_hat).mean())
    for i in range(m):
        dx[i] = values[i]
    assert np.allclose(np.array(list(dx)), batch_norm_backward(exact_dy, cache)[0][:, 0])
    backward = x.traffic + dy.traffic + dx.traffic
    assert BYTES[dtype] * backward / m == bytes_per_value("backward", dtype, "on-chip")


@pytest.mark.equation("eq-least-traffic")
def test_every_result_depends_on_every_value():
    """So that nothing can be left unread: no entry of the Jacobian vanishes."""
    x = np.random.default_rng(3).normal(2, 3, (9, 1))
    parameters = np.array([0.7]), np.array([0.2])
    y, _ = batch_norm(x, *parameters)
    for i in range(9):
        moved = x.copy()
        moved[i] += 0.1
        assert (np.abs(batch_norm(moved, *parameters)[0] - y) > 1e-6).all()


@pytest.mark.equation("eq-launch-size")
@pytest.mark.parametrize("operation", ["forward", "backward+add+relu"])
def test_launches_and_traffic_take_as_long_at_that_size(operation):
    launches, seconds, bandwidth = 2, 4e-6, 2.5e12
    size = launches * seconds * bandwidth / bytes_per_value(operation)

    def traffic(values):
        """In seconds, by the package's own count for a batch with one channel."""
        return least_bytes(operation, (round(values), 1)) / bandwidth

    assert traffic(size) == pytest.approx(launches * seconds, rel=1e-4)
    assert traffic(0.9 * size) < launches * seconds < traffic(1.1 * size)


# Counts what the kernels load and store in float16 (the arrays) and in bytes (the flags), lane by lane.
COUNT = """
import json
import torch
from triton.runtime.interpreter import InterpreterBuilder
from bncourse.kernels import launch

moved = 0

def counting(original, values):
    def wrapper(self, pointers, *arguments):
        global moved
        mask = arguments[values]
        width = pointers.get_element_ty().primitive_bitwidth // 8
        moved += width * int(mask.data.sum()) if width < 4 else 0
        return original(self, pointers, *arguments)
    return wrapper

InterpreterBuilder.create_masked_load = counting(InterpreterBuilder.create_masked_load, 0)
InterpreterBuilder.create_masked_store = counting(InterpreterBuilder.create_masked_store, 1)

found = {}
def count(name, function, *arguments):
    global moved
    moved = 0
    result = function(*arguments)
    found[name] = moved / x.numel()
    return result

x, z, dy = torch.randn(3, 5, 6, 8, 16).half().unbind()
weight, bias, mean = torch.rand(3, 6)
var = 1 + mean
for suffix, z_or_none, relu in (("", None, False), ("+relu", None, True), ("+add+relu", z, True)):
    flagged = z_or_none is not None
    fused = z_or_none, relu
    count("inference" + suffix, launch.forward, x, weight, bias, mean, var, False, 0.1, 1e-5, *fused, False)
    _, m, s, flags = count(
        "forward" + suffix, launch.forward, x, weight, bias, mean, var, True, 0.1, 1e-5, *fused, flagged
    )
    count("backward" + suffix, launch.backward, dy, x, weight, bias, m, s, flags, True, relu, flagged)
print(json.dumps(found))
"""


@pytest.mark.equation("eq-two-pass-traffic")
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton comes for Linux only")
def test_the_kernels_move_what_the_floor_says():
    """Three and five arrays, by formula, by the package's count and by what the kernels do in the interpreter."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, "-c", COUNT], env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout)
    b = 2
    assert found["forward"] == (2 + 1) * b == bytes_per_value("forward", "float16")
    assert found["backward"] == (4 + 1) * b == bytes_per_value("backward", "float16")
    assert set(found) == set(OPERATIONS)
    for operation, moved in found.items():
        floor = bytes_per_value(operation, "float16")
        # An eighth of a byte of leeway: flags that are read in both passes.
        assert floor <= moved <= floor + 1 / 8, operation
