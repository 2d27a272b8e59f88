"""Race batch norm in NumPy, as first written and lean, against PyTorch's on one core, and compare their errors.

    python benchmarks/numpy_layer.py

Forward and backward together, float32, the variants in turn within one run. Memory that a variant frees is kept for
the next one (glibc's allocator is told so, and the program starts itself anew for that), so that nobody is timed while
the system hands out fresh pages. The result goes into the package's recorded results.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.traffic import traffic  # noqa: E402
from bncourse import results  # noqa: E402
from bncourse.reference import batch_norm, batch_norm_backward, relative_error  # noqa: E402
from bncourse.reference.lean import batch_norm_lean, batch_norm_lean_backward  # noqa: E402
from bncourse.reference.plain import (  # noqa: E402
    batch_norm_plain,
    batch_norm_plain_closed,
    batch_norm_plain_staged,
)

Arrays = list[np.ndarray]
Shape = tuple[int, ...]

COMMAND = "python benchmarks/numpy_layer.py"
# Read when a process starts: nothing is returned to the system, and one thread computes.
ENVIRONMENT = {
    "GLIBC_TUNABLES": "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
SHAPES = ((256, 1024), (4096, 1024), (65536, 256), (32, 64, 56, 56))
OFFSETS = (1.0, 1e4)
"""Mean of the data, in standard deviations."""
SIZES = tuple(2**power for power in range(8, 25))
"""Values in the arrays on which a single operation is timed."""
ROUNDS = 15
SECONDS = 0.5
"""A round repeats a variant for about so long, and keeps its fastest time."""
CAPACITY = 2**22
"""Bytes that the simulated cache holds."""


def main() -> int:
    """Measure, print and record."""
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ENVIRONMENT})
    torch.set_num_threads(1)
    start = time.perf_counter()
    outcome = {
        "operation": {str(size): operation(size) for size in SIZES},
        "times": {str(shape): times(shape) for shape in SHAPES},
        "traffic": {str(shape): count(shape) for shape in SHAPES},
        "errors": {str(offset): {str(shape): errors(shape, offset) for shape in SHAPES} for offset in OFFSETS},
    }
    print(json.dumps(outcome, indent=1))
    settings = {"rounds": ROUNDS, "seconds a round": SECONDS, "capacity": CAPACITY, "dtype": "float32"}
    seconds = time.perf_counter() - start
    source = results.provenance(COMMAND, ["numpy", "torch"], threads=1, seconds=seconds)
    results.save(results.Record("numpy_layer", settings, source, outcome))
    return 0


def staged(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, dy: np.ndarray) -> Arrays:
    """An array for every node, forwards and backwards."""
    y, cache = batch_norm_plain(x, gamma, beta)
    return [y, *batch_norm_plain_staged(dy, cache)]


def closed(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, dy: np.ndarray) -> Arrays:
    """The same forward pass, and the gradients in closed form."""
    y, cache = batch_norm_plain(x, gamma, beta)
    return [y, *batch_norm_plain_closed(dy, cache)]


def lean(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, dy: np.ndarray) -> Arrays:
    """The package's lean layer."""
    y, cache = batch_norm_lean(x, gamma, beta)
    return [y, *batch_norm_lean_backward(dy, cache)]


def pytorch(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, dy: np.ndarray) -> Arrays:
    """torch.nn.functional.batch_norm and its gradients."""
    inputs = [torch.from_numpy(array).requires_grad_() for array in (x, gamma, beta)]
    y = torch.nn.functional.batch_norm(inputs[0], None, None, inputs[1], inputs[2], training=True)
    gradients = torch.autograd.grad(y, inputs, torch.from_numpy(dy))
    return [tensor.detach().numpy() for tensor in (y, *gradients)]


VARIANTS: dict[str, Callable[..., Arrays]] = {"staged": staged, "closed": closed, "lean": lean, "torch": pytorch}
OUTPUTS = ("y", "dx", "dgamma", "dbeta")


def batch(shape: Shape, offset: float = 1.0) -> Arrays:
    """x, gamma, beta and dy: every feature with a mean and a spread of its own."""
    rng = np.random.default_rng(0)
    places = (1, shape[1]) + (1,) * (len(shape) - 2)
    x = rng.uniform(0.5, 2, places) * (offset * rng.uniform(0.5, 1.5, places) + rng.normal(size=shape))
    gamma, beta, dy = rng.uniform(0.5, 2, shape[1]), rng.normal(size=shape[1]), rng.normal(size=shape)
    return [array.astype(np.float32) for array in (x, gamma, beta, dy)]


def operation(size: int) -> float:
    """Seconds for each value of one multiplication of two arrays into a third: the fastest of many."""
    x, y = np.random.default_rng(0).normal(size=(2, size)).astype(np.float32)
    out = np.empty_like(x)
    return fastest(lambda: np.multiply(x, y, out=out)) / size


def times(shape: Shape) -> dict[str, float]:
    """Seconds that each variant takes, forward and backward: the median over rounds of a round's fastest call."""
    arrays = batch(shape)
    found: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(ROUNDS):
        for name, function in VARIANTS.items():
            found[name].append(fastest(partial(function, *arrays)))
    return {name: float(np.median(values)) for name, values in found.items()}


def fastest(function: Callable[[], object]) -> float:
    """Seconds of the fastest call within a round; the first one, which warms up, does not count."""
    function()
    found: list[float] = []
    until = time.perf_counter() + SECONDS
    while not found or time.perf_counter() < until:
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return min(found)


def count(shape: Shape) -> dict[str, dict[str, float]]:
    """Operations on each value and passes over memory of the variants that are written in NumPy."""
    arrays = batch(shape)
    return {name: traffic(VARIANTS[name], *arrays, capacity=CAPACITY) for name in ("staged", "closed", "lean")}


def errors(shape: Shape, offset: float) -> dict[str, dict[str, dict[str, float]]]:
    """How far each output is from the oracle in float64, for data whose means lie that far from zero.

    Both the root mean square and the maximum of the error, relative to that of the exact values.
    """
    arrays = batch(shape, offset)
    x, gamma, beta, dy = (array.astype(np.float64) for array in arrays)
    y, cache = batch_norm(x, gamma, beta)
    exact = (y, *batch_norm_backward(dy, cache))
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in ("lean", "torch"):
        triples = list(zip(OUTPUTS, VARIANTS[name](*arrays), exact, strict=True))
        found[name] = {
            "root mean square": {
                key: root_mean_square(one - other) / root_mean_square(other) for key, one, other in triples
            },
            "maximum": {key: relative_error(one, other) for key, one, other in triples},
        }
    return found


def root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


if __name__ == "__main__":
    sys.exit(main())
