"""What the tests of runs, caches and clusters let other processes run: it must stand at the top of a module."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from bncourse.lab import MLPEnsemble, digits, train


@dataclass(frozen=True)
class Job:
    """A small training run; ``log`` is a folder in which each start leaves a file."""

    seeds: tuple[int, ...]
    log: str
    rate: float = 0.05
    kills: bool = False
    seconds: float = 0.0


def trained(job: Job) -> pd.DataFrame:
    """Learning curves in a tidy frame; the first run of a job that kills ends its process without a word."""
    first = not starts(job)
    (Path(job.log) / f"{'-'.join(map(str, job.seeds))}.{os.getpid()}.{time.time_ns()}").touch()
    if job.kills and first:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(job.seconds)
    network = MLPEnsemble((64, 9, 10), job.seeds, batch_norm=True)
    history = train(network, digits(), [job.rate] * len(job.seeds), steps=4, batch_size=30)
    return pd.DataFrame(
        {
            "seed": np.repeat(job.seeds, history.batch_loss.shape[1]),
            "quantity": "batch loss",
            "value": history.batch_loss.ravel(),
        }
    )


def starts(job: Job) -> list[Path]:
    """One file for each time that the job was begun."""
    return sorted(Path(job.log).glob(f"{'-'.join(map(str, job.seeds))}.*"))


@dataclass(frozen=True)
class Number:
    value: float
    log: str = ""


def reciprocal(number: Number) -> dict[str, np.ndarray]:
    if number.log:
        (Path(number.log) / f"{number.value}.{time.time_ns()}").touch()
    if not number.value:
        raise ZeroDivisionError("no reciprocal")
    return {"reciprocal": np.array(1 / number.value), "threads": np.array([torch.get_num_threads(), os.getpid()])}


def wrong_kind(number: Number) -> float:
    return number.value
