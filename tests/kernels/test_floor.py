"""The least traffic, against counts made by hand."""

import subprocess
import sys

import pytest

from bncourse.kernels import floor
from bncourse.kernels.floor import DESIGNS, DEVICES, OPERATIONS, bound, bytes_per_channel, bytes_per_value, least_bytes

# Arrays of the size of x that cross memory: eager, two passes, on-chip. A flag is an eighth of a byte on top.
ARRAYS = {
    "inference": (2, 2, 2),
    "inference+relu": (2 + 2, 2, 2),
    "inference+add+relu": (2 + 3 + 2, 3, 3),
    "forward": (1 + 2, 1 + 2, 2),
    "forward+relu": (1 + 2 + 2, 1 + 2, 2),
    "forward+add+relu": (1 + 2 + 3 + 2, 1 + 3, 3),
    "backward": (2 + 3, 2 + 3, 3),
    "backward+relu": (3 + 2 + 3, 2 + 3, 3),
    "backward+add+relu": (3 + 2 + 3, 3 + 3, 4),
}
FLAGGED = {("forward+add+relu", design) for design in DESIGNS[1:]} | {
    ("backward+add+relu", design) for design in DESIGNS[1:]
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("dtype", "size"), [("bfloat16", 2), ("float16", 2), ("float32", 4), ("float64", 8)])
def test_bytes_per_value_are_arrays_times_their_size_and_an_eighth_for_a_flag(operation, dtype, size):
    """Catches flags that grow with the dtype, and a pass that is forgotten or counted twice."""
    for design, arrays in zip(DESIGNS, ARRAYS[operation], strict=True):
        expected = arrays * size + (1 / 8 if (operation, design) in FLAGGED else 0)
        assert bytes_per_value(operation, dtype, design) == expected, design


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_design_that_keeps_more_moves_no_more(operation):
    eager, two_pass, on_chip = (bytes_per_value(operation, "float16", design) for design in DESIGNS)
    assert eager >= two_pass >= on_chip


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("design", DESIGNS)
def test_every_array_that_has_to_cross_memory_does(operation, design):
    """Catches a list of passes that reads what nobody wrote, or leaves the result unwritten."""
    parts = floor.passes(operation, design)
    known = {"x", "residual"} if not operation.startswith("backward") else {"x", "dy", "flags", "activated"}
    for part in parts:
        made_elsewhere = {"sum"} if design == "eager" else set()
        assert set(part.reads) <= known | made_elsewhere
        known |= set(part.writes)
    assert {"dx"} <= known if operation.startswith("backward") else {"y"} <= known
    if "add" in operation and design != "eager":
        assert ("dresidual" in known) if operation.startswith("backward") else any("residual" in p.reads for p in parts)


def test_parameters_and_statistics_count_too():
    """Read and write by name: a skinny batch of 64 examples moves 8 % more than its values."""
    assert bytes_per_channel("inference+relu") == 4 * 4
    # weight, bias, running mean and variance read; running mean and variance, mean and inv_std written.
    assert bytes_per_channel("forward+add+relu") == 4 * (4 + 4)
    # weight, mean, inv_std read; dweight, dbias written; the bias only where the ReLU is seen from x.
    assert bytes_per_channel("backward") == bytes_per_channel("backward+add+relu") == 4 * 5
    assert bytes_per_channel("backward+relu") == 4 * 6
    assert least_bytes("forward", (64, 8192)) == 64 * 8192 * 6 + 8192 * 32
    assert least_bytes("backward+add+relu", (3, 5, 7, 11), "float32") == 3 * 5 * 7 * 11 * 24 + 145 + 5 * 20


def test_the_bound_is_bytes_over_bandwidth_in_microseconds():
    # 1.2 GB and a little at 3 TB/s.
    assert bound("forward", (256, 256, 56, 56), 3e12) == pytest.approx(411.04, rel=1e-4)
    halved = bound("backward", (8, 4, 2), 1e9, "float32", "on-chip")
    assert bound("backward", (8, 4, 2), 2e9, "float32", "on-chip") == pytest.approx(halved / 2)


def test_operations_are_far_too_few_to_matter():
    """On every device there is a factor of two at least between the operations for a byte and what it could do."""
    for operation in OPERATIONS:
        for device in DEVICES.values():
            assert 2 * floor.intensity(operation) < device.flops / device.bandwidth
    assert floor.intensity("forward", "float32") == pytest.approx(7 / 12)


# Bits of the memory's bus, and gigabits that each of them carries in a second.
BUSES = {"T4": (256, 10.0), "L4": (192, 12.5), "RTX 4090": (384, 21.0), "A100 40GB": (5120, 2 * 1.215)}


@pytest.mark.parametrize("device", BUSES)
def test_bandwidths_are_what_the_bus_carries(device):
    bits, rate = BUSES[device]
    assert DEVICES[device].bandwidth == pytest.approx(bits * rate * 1e9 / 8, rel=0.001)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bytes_per_value("training"), "expected operation to be one of inference, .* got 'training'"),
        (lambda: bytes_per_value("forward", "int8"), "expected dtype to be one of bfloat16, .* got 'int8'"),
        (lambda: bytes_per_value("forward", design="fused"), "expected design to be one of eager, .* got 'fused'"),
        (lambda: least_bytes("forward", (32,)), r"expected shape \(N, C, ...\) of positive sizes, got \(32,\)"),
        (lambda: least_bytes("forward", (32, 0)), "positive sizes"),
        (lambda: bound("forward", (2, 3), 0), "expected bandwidth in bytes per second, above 0, got 0"),
    ],
)
def test_errors_say_what_is_wanted(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_floor_needs_no_torch_and_the_kernels_are_there_when_asked_for():
    code = (
        "import sys\n"
        "import bncourse.kernels.floor, bncourse.kernels.bench.report\n"
        "print('torch' in sys.modules, 'triton' in sys.modules)\n"
        "from bncourse.kernels import batch_norm\n"
        "print('torch' in sys.modules, batch_norm.__module__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "True", "bncourse.kernels.operator"]
