"""A made-up record of the race, in the format of a true one."""

from bncourse import results
from bncourse.kernels.bench.record import COMMAND, NAME, fingerprint
from bncourse.kernels.bench.suite import OURS

MACHINE = {
    "processor": "a processor",
    "cores": 8,
    "system": "Linux",
    "gpu": "NVIDIA H100 80GB HBM3",
    "multiprocessors": 132,
    "compute capability": "9.0",
    "memory MiB": 81079,
    "L2 MiB": 50,
    "CUDA": "13.0",
    "cuDNN": 91900,
    "driver": "580.1",
    "max SM clock": "1980 MHz",
    "max memory clock": "2619 MHz",
}


def part(times, copy=1.0, nbytes=3_000_000):
    """One direction of a row: everyone's median in microseconds, all of them cold."""
    peers = {name: {"cold": [0.9 * time, time, 1.2 * time]} for name, time in times.items()}
    return {"bytes": nbytes, "copy": {"cold": [copy] * 3}, "peers": peers, "uncaptured": []}


def row(shape, dtype="bfloat16", fusion="", format="channels_first", forward=None, backward=None, selected="Native"):
    """A row; where nothing is said, PyTorch takes twice our time, and a copy half of it."""
    usual = part({OURS: 2.0, "PyTorch": 4.0})
    return {
        "shape": list(shape),
        "format": format,
        "dtype": dtype,
        "fusion": fusion,
        "errors": {OURS: 0.001},
        "failed": {},
        "selected": selected,
        "forward": forward or usual,
        "backward": backward or usual,
    }


def made_up_record(rows, kernels=None):
    """The rows with a provenance."""
    settings = {"rounds": 25, "peers": [OURS, "PyTorch"], "kernels": kernels or fingerprint()}
    versions = {"python": "3.11.0", "torch": "2.13.0", "triton": "3.7.1"}
    source = results.Provenance(COMMAND, "2026-01-02", "unknown", versions, MACHINE, 1, 600.0)
    return results.Record(NAME, settings, source, {"rows": rows})


def kept(record, folder):
    """The record after a trip through its file."""
    results.save(record, folder)
    return results.load(NAME, folder)
