"""Time synchronized batch norm against plain batch norm on several ranks of one machine, and predict it.

    python benchmarks/sync_batch_norm.py

Forward and backward of one layer, float32, Gloo, one thread for each rank. Three variants take turns:

- plain: ``torch.nn.BatchNorm2d``, each rank for itself;
- silent: ``SyncBatchNorm``, whose collectives return at once, as if every rank had sent what this one sends;
- sync: ``SyncBatchNorm``.

In each direction, a collective cannot end before the slowest rank has begun it. So what is predicted for sync is, for
both directions, the time of the slowest silent rank and that of a collective. The latter comes from constants that are
fitted to bare collectives of several sizes in the same run, with a pause before each; the layers are not part of the
fit. All times are medians over calls. The result goes into the package's recorded results.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.distributed as dist
from scipy.optimize import nnls

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bncourse import results  # noqa: E402
from bncourse.kernels.collectives import (  # noqa: E402
    Network,
    collective_time,
    gathered_bytes,
    steps,
    summed_bytes,
    wire_bytes,
)
from bncourse.layers import SyncBatchNorm  # noqa: E402
from bncourse.layers.ranks import Ranks  # noqa: E402

COMMAND = "python benchmarks/sync_batch_norm.py"
SETTINGS: dict[str, Any] = {
    "ranks": [1, 2, 4],
    "channels": [64, 256, 1024, 2048],
    "batch": [8, 7, 7],
    "sizes": [64, 4096, 65536, 1048576],
    "pause": 300,
    "rounds": 7,
    "calls": 20,
}
"""Ranks; channels of a layer; its N, H and W; bytes in a bare collective, and microseconds before it; rounds, and calls
in each of them."""

Settings = dict[str, Any]
Samples = list[dict[str, Any]]
Variant = Callable[[], tuple[float, ...]]


def main() -> int:
    """Measure, print and record."""
    start = time.perf_counter()
    outcome = measured(SETTINGS)
    fitted = outcome["fit"]
    print(" ".join(f"{name}: {value:.1f} us" for name, value in fitted.items()))
    for row in outcome["layers"]:
        print(
            f"{row['ranks']} ranks, {row['channels']:5} channels: plain {row['plain']:8.0f} us, slowest silent "
            f"{row['slowest']:8.0f}, sync {row['sync']:8.0f}, predicted {row['predicted']:8.0f}"
        )
    threads = max(int(ranks) for ranks in SETTINGS["ranks"])
    source = results.provenance(COMMAND, ["torch"], threads=threads, seconds=time.perf_counter() - start)
    results.save(results.Record("sync_batch_norm", SETTINGS, source, outcome))
    return 0


def measured(settings: Settings) -> dict[str, Any]:
    """Bare collectives, the constants fitted to them, and layers with their prediction; times in microseconds."""
    found = [launch(ranks, settings) for ranks in settings["ranks"]]
    collectives = [sample for part in found for sample in part["collectives"]]
    layers = [sample for part in found for sample in part["layers"]]
    constants = fit(collectives)
    for row in layers:
        row["predicted"] = row["slowest"] + communication(row["channels"], row["ranks"], constants)
    return {"collectives": collectives, "fit": constants, "layers": layers}


def launch(ranks: int, settings: Settings) -> dict[str, Samples]:
    """What the ranks found, each a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "found.json")
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=localhost"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [*torchrun, f"--nproc-per-node={ranks}", __file__, json.dumps(settings), str(path)]
        done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise RuntimeError(f"{ranks} ranks failed:\n{done.stderr}")
        found: dict[str, Samples] = json.loads(path.read_text(encoding="utf-8"))
        return found


def worker(settings: Settings, path: str) -> None:
    """One of the ranks; the first one writes down what it has timed."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    ranks = dist.get_world_size()
    bare = time_collectives(settings) if ranks > 1 else []
    layers = [time_layers(channels, settings) for channels in settings["channels"]]
    if dist.get_rank() == 0:
        Path(path).write_text(json.dumps({"collectives": bare, "layers": layers}), encoding="utf-8")
    dist.destroy_process_group()


def time_collectives(settings: Settings) -> Samples:
    """Microseconds of bare collectives, from when the last rank has begun."""

    def timed(collective: Callable[[], object]) -> tuple[float, ...]:
        start = time.perf_counter()
        while time.perf_counter() - start < 1e-6 * settings["pause"]:
            pass
        return (seconds(collective),)

    cases = [(collective, size) for collective in ("all_gather", "all_reduce") for size in settings["sizes"]]
    variants: dict[Any, Variant] = {case: partial(timed, bare_collective(*case)) for case in cases}
    return [
        {"collective": name, "ranks": dist.get_world_size(), "bytes": size, "time": median(times.amin(dim=0))}
        for (name, size), times in in_turn(variants, settings).items()
    ]


def bare_collective(collective: str, size: int) -> Callable[[], object]:
    """A call of it, with ``size`` bytes from each rank."""
    values = torch.zeros(size // 8, dtype=torch.float64)
    if collective == "all_reduce":
        return partial(dist.all_reduce, values)
    return partial(dist.all_gather, [torch.empty_like(values) for _ in range(dist.get_world_size())], values)


def time_layers(channels: int, settings: Settings) -> dict[str, Any]:
    """Microseconds of a layer's forward and backward pass."""
    examples, *spatial = settings["batch"]
    torch.manual_seed(dist.get_rank())
    x = torch.randn(examples, channels, *spatial, requires_grad=True)
    dy = torch.randn_like(x)
    plain, sync = torch.nn.BatchNorm2d(channels), SyncBatchNorm(channels)

    def step(layer: torch.nn.Module) -> tuple[float, float]:
        outputs: list[torch.Tensor] = []
        forward = seconds(lambda: outputs.append(layer(x)))
        return forward, seconds(lambda: torch.autograd.grad(outputs[0], (x, *layer.parameters()), dy))

    def silent() -> tuple[float, float]:
        with patch.object(Ranks, "gather", alone), patch.object(Ranks, "sum", lambda ranks, values: values):
            return step(sync)

    step(sync)  # The first call agrees on the settings; the silent one is not to do that.
    times = in_turn({"plain": partial(step, plain), "silent": silent, "sync": partial(step, sync)}, settings)
    found = {name: median(taken.sum(dim=2).mean(dim=0)) for name, taken in times.items()}
    slowest = sum(median(direction) for direction in times["silent"].amax(dim=0).T)
    return {"ranks": dist.get_world_size(), "channels": channels, **found, "slowest": slowest}


def alone(ranks: Ranks, row: torch.Tensor) -> torch.Tensor:
    """What a rank would gather if all had sent the same."""
    return row.repeat(ranks.count, 1)


def in_turn(variants: dict[Any, Variant], settings: Settings) -> dict[Any, torch.Tensor]:
    """What each variant's calls return, in seconds, from all ranks: (ranks, calls, parts) each."""
    found: dict[Any, list[tuple[float, ...]]] = {name: [] for name in variants}
    for _ in range(settings["rounds"]):
        for name, call in variants.items():
            dist.barrier()
            call()
            found[name] += [call() for _ in range(settings["calls"])]
    everywhere = {}
    for name, calls in found.items():
        mine = torch.tensor(calls, dtype=torch.float64)
        ranks = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
        dist.all_gather(ranks, mine)
        everywhere[name] = torch.stack(ranks)
    return everywhere


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def median(times: torch.Tensor) -> float:
    """Of seconds, in microseconds."""
    return 1e6 * float(times.median())


def fit(collectives: Samples) -> dict[str, float]:
    """Microseconds of a collective's start, of a step and of a megabyte, none below zero.

    They have the least squares of relative errors.
    """
    rows = []
    for sample in collectives:
        collective, ranks = sample["collective"], sample["ranks"]
        inside, _ = steps(collective, "ring", ranks)
        rows.append([1.0, inside, 1e-6 * wire_bytes(collective, sample["bytes"], ranks)])
    times = np.array([sample["time"] for sample in collectives])
    constants, _ = nnls(np.array(rows) / times[:, None], np.ones(len(times)))
    return dict(zip(("start", "step", "megabyte"), constants.tolist(), strict=True))


def communication(channels: int, ranks: int, constants: dict[str, float]) -> float:
    """Microseconds that the model gives to a layer's two collectives."""
    start, step = constants["start"], constants["step"]
    rate = 1e12 / constants["megabyte"] if constants["megabyte"] else math.inf
    network = Network(max(ranks, 8), start, step, step, step, step, (rate, rate, rate), "fitted")
    sizes = {"all_gather": gathered_bytes(channels), "all_reduce": summed_bytes(channels)}
    return sum(collective_time(collective, size, ranks, network) for collective, size in sizes.items())


if __name__ == "__main__":
    if "RANK" in os.environ:
        worker(json.loads(sys.argv[1]), sys.argv[2])
    else:
        sys.exit(main())
