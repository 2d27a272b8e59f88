"""The benchmark of training races ways to train the same networks."""

import numpy as np
import pytest
import torch

from benchmarks import training


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_loop_and_the_stack_train_the_same_networks(batch_norm):
    """Catches a contestant that does less: other weights, batches or steps."""
    loop = training.on_threads(1, training.loop, [3, 4], batch_norm, 12)
    stack = training.on_threads(1, training.stack, [3, 4], batch_norm, 12)
    np.testing.assert_allclose(loop, stack, rtol=1e-3)
    spread = training.in_processes(2, training.stack, [3, 4], batch_norm, 12)
    np.testing.assert_allclose(spread, stack, rtol=1e-3)


def test_a_race_times_every_way_at_its_best_number_of_threads(monkeypatch):
    used = []
    threads = {"loop": {1: 5.0, 2: 3.0}, "stack": {1: 1.0, 2: 2.0}}
    monkeypatch.setattr(
        training, "milliseconds_a_step", lambda trainer, count, seeds, batch_norm: threads[trainer.__name__][count]
    )
    monkeypatch.setattr(training, "on_threads", lambda count, trainer, *rest: used.append((trainer.__name__, count)))
    monkeypatch.setattr(training, "in_processes", lambda count, trainer, *rest: used.append((trainer.__name__, -count)))
    found = training.race(False, [1, 2], [1, 2], steps=2, rounds=1)
    ways = [
        "products, one thread",
        "products, processes",
        "stack, one thread",
        "loop, one process",
        "loop, processes",
        "stack, one process",
        "stack, processes",
    ]
    assert list(found["seconds"]) == ways
    first = [("products", 1), ("products", -2), ("stack", 1), ("loop", 2), ("loop", -2), ("stack", 1), ("stack", -2)]
    assert used[:7] == first
