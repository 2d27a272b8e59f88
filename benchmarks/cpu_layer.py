"""Race the operator's path on a CPU against PyTorch's own batch norm, forward and backward, on one core.

    python benchmarks/cpu_layer.py

float32, in training, with running statistics; both in turn within one run, and memory reused on both sides. The result
goes into the package's recorded results.
"""

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

from benchmarks.numpy_layer import ENVIRONMENT, SECONDS, fastest  # noqa: E402
from bncourse import results  # noqa: E402
from bncourse.kernels import batch_norm  # noqa: E402

Shape = tuple[int, ...]

COMMAND = "python benchmarks/cpu_layer.py"
CASES: tuple[tuple[Shape, str], ...] = (
    ((256, 64), "contiguous"),
    ((4096, 1024), "contiguous"),
    ((65536, 64), "contiguous"),
    ((65536, 256), "contiguous"),
    ((32, 64, 56, 56), "contiguous"),
    ((32, 64, 56, 56), "channels_last"),
    ((32, 512, 7, 7), "contiguous"),
    ((32, 512, 7, 7), "channels_last"),
)
ROUNDS = 9


def main() -> int:
    """Measure, print and record."""
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ENVIRONMENT})
    torch.set_num_threads(1)
    start, rows = time.perf_counter(), []
    for shape, layout in CASES:
        found = times(shape, layout)
        ratio = found["bncourse"] / found["torch"]
        rows.append({"shape": list(shape), "format": layout, **found, "ratio": ratio})
        print(f"{shape!s:18} {layout:14} {1e3 * found['torch']:8.3f} ms {1e3 * found['bncourse']:8.3f} ms {ratio:6.2f}")
    settings = {"rounds": ROUNDS, "seconds a round": SECONDS, "dtype": "float32"}
    source = results.provenance(COMMAND, ["torch"], threads=1, seconds=time.perf_counter() - start)
    results.save(results.Record("cpu_layer", settings, source, {"rows": rows}))
    return 0


Normalize = Callable[..., torch.Tensor]


def step(normalize: Normalize, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, dy: torch.Tensor) -> None:
    """A forward and a backward pass, in training."""
    running = torch.zeros(x.shape[1]), torch.ones(x.shape[1])
    y = normalize(x, *running, weight, bias)
    torch.autograd.grad(y, (x, weight, bias), dy)


def theirs(
    x: torch.Tensor, mean: torch.Tensor, var: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """PyTorch's function."""
    return torch.nn.functional.batch_norm(x, mean, var, weight, bias, training=True)


def ours(
    x: torch.Tensor, mean: torch.Tensor, var: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """The package's."""
    return batch_norm(x, weight, bias, mean, var, training=True)


PEERS: dict[str, Normalize] = {"torch": theirs, "bncourse": ours}


def times(shape: Shape, layout: str) -> dict[str, float]:
    """Seconds that each takes: the median over rounds of a round's fastest call."""
    torch.manual_seed(0)
    memory_format = getattr(torch, f"{layout}_format" if layout == "contiguous" else layout)
    x, dy = ((torch.randn(shape) + 1).contiguous(memory_format=memory_format) for _ in range(2))
    weight, bias = (torch.rand(shape[1], requires_grad=True) for _ in range(2))
    x.requires_grad_()
    found: dict[str, list[float]] = {name: [] for name in PEERS}
    for _ in range(ROUNDS):
        for name, normalize in PEERS.items():
            found[name].append(fastest(partial(step, normalize, x, weight, bias, dy)))
    return {name: float(np.median(values)) for name, values in found.items()}


if __name__ == "__main__":
    sys.exit(main())
