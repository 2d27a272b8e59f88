"""The experiment of chapter 6.2: its networks, its estimands on cases with a known answer, and its fairness."""

import dataclasses

import numpy as np
import pytest
import torch

from bncourse.experiments import ensembles, residual
from bncourse.experiments.residual import NETWORKS, NORMALIZED, Outcome, Settings
from bncourse.experiments.residual.settings import options
from bncourse.lab import MLPEnsemble, difference_of_means, digits, paired_interval, ratio_of_geometric_means
from bncourse.lab.probes import captured
from tests.experiments.common import read_again

pytestmark = pytest.mark.slow

SMALL = Settings(
    depths=(2, 3),
    rates_depth=3,
    width=12,
    rates=(0.01, 0.1, 1.0),
    tuning_seeds=(1, 2),
    test_seeds=(3, 4, 5),
    steps=20,
    target_accuracy=0.5,
)


@pytest.fixture(scope="module")
def small() -> Outcome:
    return residual.run(SMALL)


def mean_squares(network: str, depth: int = 9, width: int = 128) -> torch.Tensor:
    """Of each hidden layer's outputs, in wide networks before training."""
    x = digits().train_x[:50]
    stack = MLPEnsemble((64, *(width,) * depth, 10), range(12), **options(network, depth))
    with captured(stack.layers) as outputs, torch.no_grad():
        stack(x.expand(12, *x.shape))
    return torch.stack([output.square().mean() for output in outputs])


@pytest.mark.parametrize(
    ("network", "factor"), [("shrunk sums", 1.0), ("shrunk branches", 1 + 1 / 8), ("SkipInit", 1.0)]
)
def test_without_batch_norm_the_stream_grows_by_one_factor_a_block(network, factor):
    """Catches a scale of 1 / L, and a sum divided by 2."""
    squares = mean_squares(network)
    # Over networks of this size the ratio has a standard deviation of a third, so a tenth is that of a mean of twelve.
    assert (squares[-1] / squares[0]).item() == pytest.approx(factor**8, rel=0.3)


def test_networks_with_batch_norm_start_as_their_names_say():
    for network in NORMALIZED:
        squares = mean_squares(network)
        grown = (squares[-1] - squares[0]).item()
        assert grown == 0 if network == "post zero gamma" else 5.5 < grown < 8.5
    assert mean_squares("post")[0] == mean_squares("post zero gamma")[0]
    assert mean_squares("pre")[0] == mean_squares("SkipInit")[0]
    for network in NETWORKS:
        stack = MLPEnsemble((64, 12, 12, 12, 10), (3,), **options(network, 3))
        names = [name.rpartition(".")[2] for name, _ in stack.named_parameters()]
        assert ("gamma" in names) == (network in NORMALIZED)
        assert names.count("scale") == (2 if network in ("shrunk branches", "SkipInit") else 0)
    assert options("shrunk branches", 5)["branch_scale"] == 0.5


def test_estimates_follow_from_the_accuracies_of_the_seeds(small):
    """Catches a difference or a ratio upside down, networks exchanged, and unpaired seeds."""
    accuracy = {network: np.array(rows) for network, rows in small.test_accuracy.items()}
    pairs = {
        "last gamma": ("post zero gamma", "post"),
        "pre": ("pre", "post"),
        "shrunk branches": ("shrunk branches", "shrunk sums"),
    }
    for at in range(2):
        for name, (first, second) in pairs.items():
            found = paired_interval(accuracy[first][at], accuracy[second][at], difference_of_means)
            assert small.differences[name][at] == found
        for network, rows in accuracy.items():
            assert small.mean_accuracy[network][at].estimate == pytest.approx(rows[at].mean())
            assert small.working[network][at] == sum(value >= 0.5 for value in rows[at])
    largest = {
        network: [max([0.01, *(np.array(SMALL.rates)[column >= 0.5])]) for column in np.array(rows).T]
        for network, rows in small.accuracy_by_rate.items()
    }
    assert small.largest_rate == largest
    for name, ratio in small.rate_ratios.items():
        first, second = (name.split(" / ")[side].replace("zero", "post zero") for side in (0, 1))
        arrays = (np.array(largest[network]) for network in (first, second))
        assert ratio == paired_interval(*arrays, ratio_of_geometric_means)


def test_a_run_ends_in_values_for_every_network_depth_rate_and_seed(small):
    for network in NETWORKS:
        assert np.shape(small.test_accuracy[network]) == (2, 3)
        assert np.shape(small.tuning_accuracy[network]) == (2, 3)
        for rate, scores in zip(small.tuned[network], small.tuning_accuracy[network], strict=True):
            assert rate == small.rates[int(np.argmax(scores))]
    for network in NORMALIZED:
        assert np.shape(small.accuracy_by_rate[network]) == (3, 3)
        assert len(small.mean_by_rate[network]) == 3


def test_rates_and_seeds_of_the_sweep_are_in_the_order_of_their_scores(small):
    """Catches a transposed sweep; a run of one rate alone has nothing to confuse."""
    for rate in (0, 2):
        grid = (SMALL.rates[rate], 9.0) if rate else (SMALL.rates[rate], SMALL.rates[rate] * 1.5)
        alone = residual.run(dataclasses.replace(SMALL, rates=grid, depths=(2, 3)))
        for network in NORMALIZED:
            assert alone.accuracy_by_rate[network][0] == pytest.approx(small.accuracy_by_rate[network][rate])


def test_a_sweep_may_take_several_ensembles(small, monkeypatch):
    monkeypatch.setattr(ensembles, "MEMBERS", 4)
    assert residual.run(SMALL) == small


def test_rates_are_tuned_without_the_test_seeds(small):
    other = residual.run(dataclasses.replace(SMALL, test_seeds=(13, 14)))
    assert (other.tuned, other.tuning_accuracy) == (small.tuned, small.tuning_accuracy)
    assert other.test_accuracy != small.test_accuracy


def test_the_test_part_is_read_once_for_each_network_and_depth(monkeypatch):
    read = []

    def recording_accuracy(network, x, y):
        read.append((network.seeds, len(x)))
        return np.full(len(network.seeds), 0.5)

    monkeypatch.setattr(ensembles, "accuracy", recording_accuracy)
    residual.run(dataclasses.replace(SMALL, steps=2))
    assert read == [(SMALL.test_seeds, 500)] * (len(NETWORKS) * 2)


def test_a_run_survives_its_record(small, tmp_path):
    assert read_again(residual, SMALL, small, tmp_path) == small


def test_seeds_of_the_recorded_run_are_fresh_and_apart():
    """As for the experiments of the ledger, to which this one does not belong."""
    full = Settings()
    assert len(full.test_seeds) >= 24
    assert not {*full.tuning_seeds, *full.test_seeds} & set(range(900, 1000))
    with pytest.raises(ValueError, match="tuning_seeds and test_seeds to have none in common"):
        dataclasses.replace(full, tuning_seeds=full.test_seeds[:1])
    with pytest.raises(ValueError, match="at least 2 depths in rising order"):
        dataclasses.replace(full, depths=(3,))
