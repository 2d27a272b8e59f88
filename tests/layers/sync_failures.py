"""What the other ranks see where one of them fails. Started by test_sync.py, through torchrun, with three ranks.

Each failure has a process group of its own: after one, Gloo's connections are gone.
"""

import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from bncourse.layers import SyncBatchNorm, convert

TIMEOUT = 2.0
FAILING = 2


def step(model: nn.Module) -> torch.Tensor:
    x: torch.Tensor = model(torch.randn(4, 3, requires_grad=True))
    return x.square().sum()


def main(folder: Path) -> None:
    dist.init_process_group("gloo", timeout=timedelta(seconds=30))
    rank, seen = dist.get_rank(), {}

    def survive(name: str, function: Any) -> None:
        start = time.monotonic()
        try:
            function()
            seen[name] = ["nothing", "", 0.0]
        except Exception as error:
            seen[name] = [type(error).__name__, str(error), time.monotonic() - start]

    norms = []
    for _ in range(3):
        group = dist.new_group(timeout=timedelta(seconds=TIMEOUT))
        model = convert(nn.ModuleDict({"norm": nn.BatchNorm1d(3)}), to=SyncBatchNorm, process_group=group)
        norms.append(model["norm"])
        step(norms[-1]).backward()

    if rank != FAILING:
        survive("stays away", lambda: step(norms[0]))
    dist.barrier()
    loss = step(norms[1])
    if rank != FAILING:
        survive("has no backward pass", loss.backward)
    dist.barrier()
    if rank == FAILING:
        os._exit(0)  # with an error torchrun would end the others as well
    survive("dies", lambda: step(norms[2]))
    (folder / f"{rank}.json").write_text(json.dumps(seen))
    os._exit(0)  # there is nobody to say goodbye to


if __name__ == "__main__":
    main(Path(sys.argv[1]))
