"""Records the clinic: ``python -m bncourse.clinic``, some minutes on one core."""

import argparse
import time
from dataclasses import asdict
from pathlib import Path

import torch

from bncourse import results
from bncourse.clinic import list_cases
from bncourse.clinic.recorded import Settings, observe


def main() -> None:
    """Observe every case, write the record, and print how many runs were healthy."""
    parser = argparse.ArgumentParser(prog="python -m bncourse.clinic")
    parser.add_argument("--output", type=Path, default=results.FOLDER, help="folder to write the record into")
    folder = parser.parse_args().output
    torch.set_num_threads(1)
    settings = Settings()
    start = time.perf_counter()
    outcome = {}
    for case in list_cases():
        outcome[case.id] = observe(case, settings)
        healthy = outcome[case.id].healthy
        print(f"{case.id:20} healthy: {healthy['broken']:2} broken, {healthy['fixed']:2} mended", flush=True)
    source = results.provenance(
        command=parser.prog,
        packages=["torch", "numpy", "scipy", "scikit-learn"],
        threads=1,
        seconds=time.perf_counter() - start,
    )
    path = results.save(
        results.Record("clinic", asdict(settings), source, {name: asdict(each) for name, each in outcome.items()}),
        folder,
    )
    print(f"written to {path}")


if __name__ == "__main__":
    main()
