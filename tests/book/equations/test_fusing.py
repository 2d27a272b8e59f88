"""The equations of chapter 3.6, both sides evaluated on random input."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bncourse.kernels import batch_norm
from bncourse.kernels.view import View
from bncourse.reference import numeric_gradient, relative_error

Array = NDArray[np.float64]


def draw(seed: int) -> tuple[Array, Array, Array, Array, Array]:
    """x, gamma, beta, z and dy, with v away from the ReLU's edge, where a difference would step over it."""
    rng = np.random.default_rng(seed)
    while True:
        x, z = rng.normal(3, 2, (7, 3)), rng.normal(-0.2, 1, (7, 3))
        gamma, beta = rng.uniform(-2, 2, 3), rng.normal(size=3)
        v = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5) * gamma + beta + z
        if np.abs(v).min() > 0.02:
            return x, gamma, beta, z, rng.normal(0.4, 1, (7, 3))


def fused(x: Array, gamma: Array, beta: Array, z: Array) -> Array:
    """The formula, from nothing but the definitions."""
    x_hat = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)
    v = gamma * x_hat + beta + z
    return np.asarray((v > 0) * v)


@pytest.mark.equation("eq-fused-forward")
@pytest.mark.parametrize("seed", range(3))
def test_the_package_computes_the_sum_before_the_relu(seed: int) -> None:
    """Catches a residual that is added behind the activation, and one that enters the statistics."""
    x, gamma, beta, z, _ = draw(seed)
    tensors = [torch.tensor(values) for values in (x, gamma, beta, z)]
    y = batch_norm(*tensors[:3], training=True, residual=tensors[3], activation="relu")
    np.testing.assert_allclose(y.numpy(), fused(x, gamma, beta, z), rtol=1e-10)
    assert 0 < (y == 0).sum() < y.numel()


@pytest.mark.equation("eq-fused-backward")
@pytest.mark.parametrize("seed", range(3))
def test_the_gradients_are_those_of_the_fused_function(seed: int) -> None:
    """Catches dy in place of dz in one of the two means, which passes wherever the ReLU lets everything through."""
    x, gamma, beta, z, dy = draw(seed)
    inv_std = 1 / np.sqrt(x.var(axis=0) + 1e-5)
    x_hat = (x - x.mean(axis=0)) * inv_std
    dz = (gamma * x_hat + beta + z > 0) * dy
    dx = gamma * inv_std * (dz - dz.mean(axis=0) - x_hat * (dz * x_hat).mean(axis=0))
    assert relative_error(dx, numeric_gradient(lambda x: fused(x, gamma, beta, z), x, dy)) < 1e-7
    assert relative_error(dz, numeric_gradient(lambda z: fused(x, gamma, beta, z), z, dy)) < 1e-7


def packed(v: Array) -> NDArray[np.uint8]:
    """Bytes of flags by NumPy's own packing."""
    return np.packbits(v > 0, bitorder="little")


@pytest.mark.equation("eq-flag-byte")
@pytest.mark.parametrize("length", [1, 8, 49, 64])
def test_a_byte_is_the_sum_of_its_flags_by_place(length: int) -> None:
    v = np.random.default_rng(length).normal(0.3, 1, length)
    for k, byte in enumerate(packed(v)):
        eight = v[8 * k : 8 * k + 8]
        assert byte == sum(2**j * int(value > 0) for j, value in enumerate(eight))


@pytest.mark.equation("eq-flag-bit")
@pytest.mark.parametrize("length", [1, 8, 49, 64])
def test_a_flag_is_found_by_division(length: int) -> None:
    """Catches the opposite order of bits, which a byte of equal flags would hide."""
    v = np.random.default_rng(length).normal(0.3, 1, length)
    flags = packed(v)
    for i, value in enumerate(v):
        assert int(flags[i // 8]) // 2 ** (i % 8) % 2 == int(value > 0)


# The kernels' own flags, for the two ways in which runs lie; compared bit by bit with what the formula says of v.
KERNELS = """
import torch
from bncourse.kernels import launch

torch.manual_seed(0)
for shape, format in (((2, 3, 7, 7), torch.contiguous_format), ((2, 11, 3, 2), torch.channels_last)):
    x, z = (t.contiguous(memory_format=format) for t in torch.randn(2, *shape))
    y, _, _, flags = launch.forward(x, None, None, None, None, True, 0.1, 1e-5, z, True, True)
    passed = y > 0
    runs = passed.flatten(2) if format is torch.contiguous_format else passed.permute(0, 2, 3, 1).flatten(0, 2)
    for run, row in zip(runs.flatten(0, -2), flags.flatten(0, -2), strict=True):
        assert row.numel() == -(-run.numel() // 8)
        for k, byte in enumerate(row.tolist()):
            assert byte == sum(2**j * int(flag) for j, flag in enumerate(run[8 * k : 8 * k + 8].tolist()))
        for i, flag in enumerate(run.tolist()):
            assert row[i // 8].item() // 2 ** (i % 8) % 2 == flag
"""


@pytest.mark.equation("eq-flag-byte", "eq-flag-bit")
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton comes for Linux only")
def test_the_kernels_pack_flags_as_the_equations_say() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, "-c", KERNELS], env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr


@pytest.mark.equation("eq-flag-cost")
@pytest.mark.parametrize("run", [1, 7, 9, 24, 49, 3136])
def test_flags_take_a_byte_for_every_eight_values_begun(run: int) -> None:
    cost = -(-run // 8) / run
    assert cost >= 1 / 8
    contiguous, channels_last = View(5, 3, run), View(5, run, 1)
    for view in (contiguous, channels_last) if run > 1 else (channels_last,):
        values = view.examples * view.channels * view.positions
        assert np.prod(view.flags_shape) / values == pytest.approx(cost)


@pytest.mark.equation("eq-overfetch")
@pytest.mark.parametrize("width", [2, 4])
@pytest.mark.parametrize("run", [1, 3, 16, 17, 64])
def test_sectors_are_fetched_whole(run: int, width: int) -> None:
    """Catches rounding to values instead of sectors."""
    apart = 4096  # From one run to the next: a multiple of a sector.
    byte = apart * np.arange(5)[:, None] + np.arange(run * width)
    sectors = np.unique(byte // 32)
    assert 32 * len(sectors) / byte.size == pytest.approx(32 / (run * width) * np.ceil(run * width / 32))


@pytest.mark.equation("eq-held")
@pytest.mark.parametrize("width", [2, 4])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_what_is_held_is_what_whole_sectors_bring(width: int, direction: str) -> None:
    """All that comes along when the values of channel 5 are fetched, in both layouts."""
    examples, channels, positions = 3, 64, 48
    m, arrays = examples * positions, 1 if direction == "forward" else 2
    n, s = np.arange(examples)[:, None], np.arange(positions)[None, :]
    places = {1: (n * channels + 5) * positions + s, 32 // width: (n * positions + s) * channels + 5}
    for group, place in places.items():
        sectors = np.unique(place * width // 32)
        assert arrays * 32 * len(sectors) == arrays * group * m * width


def fetches(lines: int, cache_lines: int, back: bool) -> float:
    """How often a line is fetched on average, by two passes through a cache that drops what was used longest ago."""
    kept: list[int] = []

    def walk(order: Iterator[int]) -> int:
        missed = 0
        for line in order:
            if line in kept:
                kept.remove(line)
            else:
                missed += 1
            kept.append(line)
            del kept[:-cache_lines]
        return missed

    first = walk(iter(range(lines)))
    return (first + walk(reversed(range(lines)) if back else iter(range(lines)))) / lines


@pytest.mark.equation("eq-reversed-walk")
@pytest.mark.parametrize(("lines", "cache"), [(60, 1), (60, 15), (60, 59), (60, 60), (60, 90)])
def test_a_walk_back_finds_what_the_cache_holds(lines: int, cache: int) -> None:
    q = cache / lines
    assert fetches(lines, cache, back=True) == pytest.approx(2 - min(1, q))
    assert fetches(lines, cache, back=False) == (2 if q < 1 else 1)
