"""The equations of chapter 3.4, both sides evaluated on random input; and what its kernels fetch."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from bncourse.reference import RunningStatistics, batch_norm, moments

pytestmark = pytest.mark.slow


@pytest.mark.equation("eq-running-repeated")
@pytest.mark.parametrize(("programs", "momentum"), [(1, 0.1), (4, 0.1), (7, 0.3), (3, 1.0)])
def test_as_many_updates_as_programs(programs, momentum):
    """Catches a momentum multiplied by the number of programs, and the two shares exchanged."""
    rng = np.random.default_rng(programs)
    x, before = rng.normal(3, 2, (11, 5)), rng.normal(-2, 1, 5)
    running = RunningStatistics(5, momentum=momentum)
    running.mean[:] = before
    for _ in range(programs):
        running.update(x)
    mean, left = moments(x, axis=0).mean, (1 - momentum) ** programs
    assert np.allclose(running.mean, mean + left * (before - mean), rtol=1e-12)
    assert np.allclose(running.mean, left * before + (1 - left) * mean, rtol=1e-12)


@pytest.mark.equation("eq-xhat-from-y")
@pytest.mark.parametrize("gamma", [-1.5, 0.2, 0.003])
@pytest.mark.parametrize("beta", [0.0, 0.7, -4.0])
def test_what_rounding_y_costs_x_hat(gamma, beta):
    """The bound holds for every value, and some value comes near it; catches a bound without beta or with 1 / u."""
    rng = np.random.default_rng(0)
    x_hat, u = rng.normal(size=20_000), 2.0**-11
    y = gamma * x_hat + beta
    x_hat, y = (values[np.abs(y) > 1e-3] for values in (x_hat, y))  # where float16 has all its digits
    error = np.abs((y.astype(np.float16).astype(float) - beta) / gamma - x_hat)
    bound = u * np.abs(x_hat + beta / gamma)
    assert np.allclose(bound, u * np.abs(y) / abs(gamma))
    slack = 1e-13 * (1 + abs(beta / gamma))  # of float64
    assert (error <= bound + slack).all()
    # A rounding comes near u at numbers just above a power of two, and y need not be any when gamma is small.
    assert (error > (0.9 if abs(gamma) > 0.1 else 0.49) * bound).any()


def with_another_mean(seed, relative):
    """What the backward formulas give when the mean that was saved is off: the true sums, and those computed."""
    rng = np.random.default_rng(seed)
    x, dy, gamma = rng.normal(40, 2, (9, 5)), rng.normal(0.5, 1, (9, 5)), rng.uniform(0.5, 2, 5)
    _, cache = batch_norm(x, gamma, np.zeros(5))
    mean, s = x.mean(axis=0), cache.inv_std
    e = relative * mean * rng.uniform(-1, 1, 5)
    x_hat = (x - (mean + e)) * s
    dbeta, dgamma = dy.sum(axis=0), (dy * x_hat).sum(axis=0)
    dx = gamma * s * (dy - dbeta / 9 - x_hat * dgamma / 9)
    exact = (dy * cache.x_hat).sum(axis=0)
    return {"e": e, "s": s, "mean": mean, "gamma": gamma, "exact": exact, "dbeta": dbeta, "dgamma": dgamma, "dx": dx}


@pytest.mark.equation("eq-saved-mean")
@pytest.mark.parametrize("seed", range(3))
def test_an_error_of_the_saved_mean(seed):
    """Catches a wrong sign, a missing inv_std, and the true dgamma in the sum of dx."""
    found = with_another_mean(seed, 0.05)
    shift = found["e"] * found["s"]
    assert np.allclose(found["dgamma"], found["exact"] - shift * found["dbeta"], rtol=1e-10)
    summed = found["gamma"] * found["s"] * shift * found["dgamma"]
    assert np.allclose(found["dx"].sum(axis=0), summed, rtol=1e-9, atol=1e-13)
    assert (np.abs(summed) > 1e-3).any()


@pytest.mark.equation("eq-saved-mean-bound")
@pytest.mark.parametrize(("dtype", "u"), [(np.float16, 2.0**-11), (np.float32, 2.0**-24)])
def test_the_error_of_dgamma_is_bounded_and_the_bound_is_approached(dtype, u):
    rng = np.random.default_rng(2)
    x, dy = rng.normal(rng.uniform(20, 60, 400), 2, (9, 400)), rng.normal(0.5, 1, (9, 400))
    mean, s = x.mean(axis=0), 1 / np.sqrt(x.var(axis=0) + 1e-5)
    exact, rounded = ((dy * (x - m) * s).sum(axis=0) for m in (mean, mean.astype(dtype).astype(float)))
    error, bound = np.abs(rounded - exact), u * np.abs(mean) * s * np.abs(dy.sum(axis=0))
    assert (error <= bound * (1 + 1e-6) + 1e-12).all()
    assert (error > 0.8 * bound).any()


# Which float32 values each program of the second launch reads, when no parameters or running statistics are there.
FETCHED = """
import json
from unittest.mock import patch
import numpy as np
import torch
from triton.runtime.interpreter import InterpreterBuilder
from bncourse.kernels import launch, view
from bncourse.kernels.view import View

view.TILE = 64
launch.MAX_SPLITS = 5
original = InterpreterBuilder.create_masked_load
read = set()

def record(self, pointers, mask, *rest):
    if pointers.get_element_ty().primitive_bitwidth == 32:
        read.update((self.grid_idx, int(place)) for place in pointers.data[mask.data])
    return original(self, pointers, mask, *rest)

found = []
for shape, cores in (((300, 6), 3), ((130, 70), 9), ((40, 3, 9, 9), 6)):
    x = torch.randn(shape).half()
    read.clear()
    with patch.object(launch, "cores", return_value=cores):
        with patch.object(InterpreterBuilder, "create_masked_load", record):
            launch.forward(x, None, None, None, None, True, 0.1, 1e-5, None, False, False)
    parts, programs = View.of(x).grid(cores, 5)[1], View.of(x).grid(cores)[1]
    found.append({"bytes": 4 * len(read), "K": parts, "P": programs, "C": shape[1]})
print(json.dumps(found))
"""


@pytest.mark.equation("eq-merge-traffic")
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton comes for Linux only")
def test_every_program_reads_all_parts_of_its_channels():
    """Counted in the interpreter; catches a count that leaves out a factor, by shapes in which K, P and C differ."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, "-c", FETCHED], env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    cases = json.loads(process.stdout)
    for case in cases:
        assert len({1, case["K"], case["P"], case["C"]}) == 4, case
        assert case["bytes"] == 4 * 3 * case["K"] * case["P"] * case["C"], case
