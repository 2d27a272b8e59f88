"""The CPU benchmark times two functions that compute the same, and its record supports what is said of it."""

import pytest
import torch

from benchmarks.cpu_layer import CASES, PEERS
from bncourse import results


@pytest.mark.parametrize(("shape", "layout"), [((64, 8), "contiguous"), ((4, 8, 5, 5), "channels_last")])
def test_both_normalize_the_batch_and_update_the_running_statistics(shape, layout):
    """Catches a peer that infers where the other one trains, or one that is given something else."""
    torch.manual_seed(0)
    x = torch.randn(shape) + 1
    weight, bias = torch.rand(2, shape[1])
    found = {}
    for name, normalize in PEERS.items():
        running = torch.zeros(shape[1]), torch.ones(shape[1])
        found[name] = (normalize(x, *running, weight, bias), *running)
        assert not torch.equal(running[0], torch.zeros(shape[1]))
    for one, other in zip(*found.values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_the_record_has_every_case():
    rows = results.load("cpu_layer").outcome["rows"]
    assert [(tuple(row["shape"]), row["format"]) for row in rows] == list(CASES)
    for row in rows:
        assert row["ratio"] == pytest.approx(row["bncourse"] / row["torch"])
