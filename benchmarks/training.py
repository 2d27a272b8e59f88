"""Race the laboratory's stacks of networks against a plain loop over modules: the same networks, batches and steps.

    python benchmarks/training.py

Networks of every seed learn the digits, with batch norm and without. The loop trains one after another, the stack all
at once; both at their best number of threads, and in as many processes as there are cores. All are timed in turn,
within one run, the processes started beforehand. The stack's matrix products alone are timed as well, in one thread and
in processes: what it takes beyond them is batch norm, activations, the optimizer and memory. Memory that a contestant
frees is kept for its next step (glibc's allocator is told so, and the program starts itself anew for that). The result
goes into the package's recorded results.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.numpy_layer import ENVIRONMENT  # noqa: E402
from bncourse import results  # noqa: E402
from bncourse.lab import MLPEnsemble, digits, train  # noqa: E402
from bncourse.lab.networks import initial_weights  # noqa: E402
from bncourse.lab.training import batch_indices  # noqa: E402

COMMAND = "python benchmarks/training.py"
ALLOCATOR = "GLIBC_TUNABLES"
WIDTHS = (64, 64, 64, 64, 64, 64, 10)
SEEDS = 32
STEPS = 100
BATCH_SIZE = 64
RATE = 0.02
TRIAL_STEPS = 10
ROUNDS = 5

Trainer = Callable[[Sequence[int], bool, int], list[float]]


def main() -> int:
    """Measure, print and record."""
    if os.environ.get(ALLOCATOR) != ENVIRONMENT[ALLOCATOR]:
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, ALLOCATOR: ENVIRONMENT[ALLOCATOR]})
    start = time.perf_counter()
    counts = thread_counts()
    outcome = {
        ("batch norm" if batch_norm else "none"): race(batch_norm, counts, list(range(SEEDS)), STEPS, ROUNDS)
        for batch_norm in (False, True)
    }
    for arm, found in outcome.items():
        print(arm)
        for name, seconds in found["seconds"].items():
            print(f"   {name:20} {seconds:7.2f} s {found['seconds']['loop, one process'] / seconds:6.1f} x")
        for name, trials in found["milliseconds a step by threads"].items():
            print(f"   {name}: {trials} ms a step and network by number of threads, in a short trial")
    settings = {
        "widths": list(WIDTHS),
        "seeds": SEEDS,
        "steps": STEPS,
        "batch_size": BATCH_SIZE,
        "momentum": 0.9,
        "rounds": ROUNDS,
    }
    source = results.provenance(
        COMMAND, ["torch", "numpy", "joblib"], threads=counts[-1], seconds=time.perf_counter() - start
    )
    results.save(results.Record("training", settings, source, outcome))
    return 0


def thread_counts() -> list[int]:
    """1, 2, 4, … up to the cores that this process may use."""
    cores = len(os.sched_getaffinity(0))
    return [*(2**power for power in range(cores.bit_length()) if 2**power < cores), cores]


def race(batch_norm: bool, counts: Sequence[int], seeds: Sequence[int], steps: int, rounds: int) -> dict[str, Any]:
    """Seconds of each way to train, in the median over rounds, and of the stack's matrix products alone.

    Both contestants run in one process at the thread count that a short trial found best, and in as many processes as
    there are cores. So do the products, which are the least that a stack can take on this machine.
    """
    trials = {
        name: {str(count): milliseconds_a_step(trainer, count, seeds, batch_norm) for count in counts}
        for name, trainer in CONTESTANTS.items()
    }
    variants: dict[str, Callable[[], object]] = {
        "products, one thread": partial(on_threads, 1, products, seeds, batch_norm, steps),
        "products, processes": partial(in_processes, counts[-1], products, seeds, batch_norm, steps),
        "stack, one thread": partial(on_threads, 1, stack, seeds, batch_norm, steps),
    }
    for name, trainer in CONTESTANTS.items():
        best = int(min(trials[name], key=lambda count: trials[name][count]))
        variants[f"{name}, one process"] = partial(on_threads, best, trainer, seeds, batch_norm, steps)
        variants[f"{name}, processes"] = partial(in_processes, counts[-1], trainer, seeds, batch_norm, steps)
    times: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name, variant in variants.items():
            took = seconds_of(variant)
            # The first round starts the processes.
            if number:
                times[name].append(took)
    return {
        "milliseconds a step by threads": trials,
        "seconds": {name: statistics.median(values) for name, values in times.items()},
    }


def milliseconds_a_step(trainer: Trainer, threads: int, seeds: Sequence[int], batch_norm: bool) -> float:
    """Of one network, in a short run: the loop with few networks, the stack with all."""
    few = seeds[:2] if trainer is loop else seeds
    on_threads(threads, trainer, few, batch_norm, 2)
    took = seconds_of(partial(on_threads, threads, trainer, few, batch_norm, TRIAL_STEPS))
    return 1e3 * took / len(few) / TRIAL_STEPS


def seconds_of(act: Callable[[], object]) -> float:
    """That it takes."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def loop(seeds: Sequence[int], batch_norm: bool, steps: int) -> list[float]:
    """One module after another, with torch's own optimizer; the last loss of each."""
    data, last = digits(), []
    for seed in seeds:
        network = module(seed, batch_norm)
        optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=0.9)
        for rows in islice(batch_indices(len(data.train_x), BATCH_SIZE, [seed]), steps):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(data.train_x[rows[0]]), data.train_y[rows[0]])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        last.append(loss.item())
    return last


def module(seed: int, batch_norm: bool) -> nn.Sequential:
    """A member of the ensemble, as PyTorch's modules."""
    layers: list[nn.Module] = []
    weights = initial_weights(WIDTHS, [seed])
    for (fan_in, fan_out), weight in zip(pairwise(WIDTHS), weights, strict=True):
        hidden = weight is not weights[-1]
        linear = nn.Linear(fan_in, fan_out, bias=not (batch_norm and hidden))
        linear.weight.data.copy_(weight[0])
        if linear.bias is not None:
            linear.bias.data.zero_()
        layers.append(linear)
        if hidden:
            layers += [nn.BatchNorm1d(fan_out)] if batch_norm else []
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def stack(seeds: Sequence[int], batch_norm: bool, steps: int) -> list[float]:
    """All at once."""
    network = MLPEnsemble(WIDTHS, seeds, batch_norm)
    history = train(network, digits(), [RATE] * len(seeds), steps, BATCH_SIZE, evaluate_every=steps)
    return [float(loss) for loss in history.batch_loss[:, -1]]


def products(seeds: Sequence[int], batch_norm: bool, steps: int) -> list[float]:
    """Nothing but the stack's matrix products: of each layer forwards, and two backwards, one in the first layer."""
    generator = torch.Generator().manual_seed(0)
    members = len(seeds)
    weights = [torch.randn(members, *shape, generator=generator) for shape in ((b, a) for a, b in pairwise(WIDTHS))]
    inputs = [torch.randn(members, width, BATCH_SIZE, generator=generator) for width in WIDTHS]
    for _ in range(steps):
        for layer, weight in enumerate(weights):
            torch.bmm(weight, inputs[layer])
            torch.bmm(inputs[layer + 1], inputs[layer].mT)
            if layer:
                torch.bmm(weight.mT, inputs[layer + 1])
    return []


CONTESTANTS: dict[str, Trainer] = {"loop": loop, "stack": stack}


def on_threads(threads: int, trainer: Trainer, seeds: Sequence[int], batch_norm: bool, steps: int) -> list[float]:
    """Train in this process."""
    torch.set_num_threads(threads)
    return trainer(seeds, batch_norm, steps)


def in_processes(processes: int, trainer: Trainer, seeds: Sequence[int], batch_norm: bool, steps: int) -> list[float]:
    """Train a share of the seeds in each of several processes, on one thread each."""
    shares = [share.tolist() for share in np.array_split(np.asarray(seeds), processes)]
    runs = [delayed(on_threads)(1, trainer, share, batch_norm, steps) for share in shares]
    return [loss for part in Parallel(n_jobs=processes)(runs) for loss in part]


if __name__ == "__main__":
    sys.exit(main())
