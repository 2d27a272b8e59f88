"""The experiment of C19: its rule, its estimands on cases with a known answer, and its fairness."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from bncourse.experiments import architectures
from bncourse.experiments.architectures import CLAIMED, NORMS, REDUCED, Cell, Outcome, Settings, training, verdicts
from bncourse.experiments.architectures.settings import network
from bncourse.experiments.architectures.training import values_per_statistic
from bncourse.lab import Interval, accuracy, digits, mean_interval, train
from tests.experiments.common import interval, read_again

pytestmark = pytest.mark.slow

SMALL = Settings(
    batch_sizes=(4, 20),
    budgets=(40,),
    rates=(0.0005, 0.002, 0.008),
    tuning_seeds=(1, 2),
    test_seeds=(3, 4, 5),
)


@pytest.fixture(scope="module")
def small() -> Outcome:
    return architectures.run(SMALL)


# The rule -----------------------------------------------------------------------------------------------------------

CELLS = [Cell(architecture, size, 2000).name for architecture in CLAIMED for size in (4, 64)]
FOR, NO_GAIN, HARM, OPEN = (1.5, 3.0), (-0.6, 0.8), (-9.0, -1.5), (0.5, 2.0)


def outcome(gains: list, tuned: dict | None = None, later: tuple = OPEN, transformer: tuple = OPEN) -> Outcome:
    """Eight seeds, three rates; ``later`` are the gains at a larger budget."""
    plain = {field.name: {} for field in dataclasses.fields(Outcome)}
    beside = [Cell("transformer", size, 2000).name for size in (4, 64)]
    more = [Cell(architecture, size, 6000).name for architecture in NORMS for size in (4, 64)]
    everything = dict(zip(CELLS, gains, strict=True)) | dict.fromkeys(beside, transformer) | dict.fromkeys(more, later)
    middle = {"none": 0.1, "batch_norm": 0.1}
    return Outcome(
        **{
            **plain,
            "seeds": 8,
            "batch_sizes": [4, 64],
            "budgets": [2000, 6000],
            "rates": [0.01, 0.1, 1.0],
            "tuned": dict.fromkeys(everything, middle) | (tuned or {}),
            "gains": {cell: {"batch_norm": interval(*ends)} for cell, ends in everything.items()},
            "interactions": {f"{name}, 2000 examples": {"batch_norm": Interval(1, 0, 2)} for name in CLAIMED},
        }
    )


def answer(of: Outcome) -> str:
    (verdict,) = verdicts(of)
    assert verdict.claim == "C19"
    return verdict.answer


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ([FOR] * 6, "supported"),
        ([FOR] * 5 + [OPEN], "inconclusive"),
        ([FOR] * 5 + [NO_GAIN], "qualified"),
        ([HARM, FOR] * 3, "qualified"),
        ([HARM, FOR, OPEN, OPEN, OPEN, OPEN], "qualified"),
        ([NO_GAIN] * 5 + [OPEN], "inconclusive"),
        ([NO_GAIN, HARM] * 3, "contradicted"),
    ],
)
def test_the_gain_has_to_be_there_in_every_cell(gains, expected):
    assert answer(outcome(gains)) == expected


def test_a_larger_budget_and_the_transformer_decide_nothing():
    for gain in (FOR, HARM):
        assert answer(outcome([FOR] * 6, later=gain, transformer=gain)) == "supported"
        assert answer(outcome([NO_GAIN] * 6, later=gain, transformer=gain)) == "contradicted"


@pytest.mark.parametrize("arm", ["none", "batch_norm"])
def test_an_edge_of_the_grid_leaves_a_gain_open(arm):
    edge = {CELLS[0]: {"none": 0.1, "batch_norm": 0.1} | {arm: 1.0}}
    assert answer(outcome([FOR] * 6, edge)) == "inconclusive"
    assert answer(outcome([HARM] + [FOR] * 5, edge)) == "inconclusive"
    assert answer(outcome([FOR] * 5 + [HARM], edge)) == "qualified"
    (verdict,) = verdicts(outcome([FOR] * 6, edge))
    assert "edge of the grid" in verdict.reason
    elsewhere = {Cell("transformer", 4, 2000).name: {"none": 1.0, "batch_norm": 1.0}}
    assert answer(outcome([FOR] * 6, elsewhere)) == "supported"


def test_a_verdict_shows_six_gains_and_counts_the_harm():
    (verdict,) = verdicts(outcome([HARM, FOR, NO_GAIN, (-3.0, -0.9), FOR, HARM]))
    assert [effect.name.partition("none, ")[2] for effect in verdict.effects] == CELLS
    assert "in 2 of 6 cells batch norm costs as much" in verdict.reason
    assert verdict.p < 0.05


# The estimands ------------------------------------------------------------------------------------------------------


def test_estimates_follow_from_the_values_of_the_seeds(small):
    """Catches arms or sizes exchanged, a share that is no percentage, and a gain over another cell's baseline."""
    for cell in SMALL.cells():
        points = {arm: 100 * np.array(values) for arm, values in small.test_accuracy[cell.name].items()}
        assert list(points) == list(NORMS[cell.architecture])
        for arm, gain in small.gains[cell.name].items():
            assert gain.estimate == pytest.approx(points[arm].mean() - points["none"].mean())
            assert gain == mean_interval(points[arm] - points["none"])
        for arm, values in small.test_accuracy[cell.name].items():
            assert small.mean_accuracy[cell.name][arm] == mean_interval(np.array(values))
    for architecture, examples in itertools.product(NORMS, SMALL.budgets):
        few, many = (small.gains[Cell(architecture, size, examples).name] for size in SMALL.batch_sizes)
        for arm, interaction in small.interactions[f"{architecture}, {examples} examples"].items():
            assert interaction.estimate == pytest.approx(many[arm].estimate - few[arm].estimate, abs=1e-9)


def test_a_score_is_that_of_networks_trained_on_so_many_examples_at_the_tuned_rate(small):
    """Catches equal steps instead of equal examples, and a rate that does not grow with the batch."""
    for cell in (Cell("recurrent", 4, 40), Cell("transformer", 20, 40), Cell("convolutional", 20, 40)):
        norm = small.norm[cell.name]["batch_norm"]
        rate = small.tuned[cell.name]["batch_norm"] * cell.batch_size
        by_hand = network(cell.architecture, norm, SMALL.test_seeds)
        train(by_hand, digits(), [rate] * 3, cell.examples // cell.batch_size, cell.batch_size)
        expected = accuracy(by_hand, digits().test_x, digits().test_y)
        assert small.test_accuracy[cell.name]["batch_norm"] == pytest.approx(expected.tolist())


def test_the_arms_of_an_architecture_differ_in_their_norm_alone():
    for architecture, arms in NORMS.items():
        nets = [network(architecture, norm, (1, 2)) for norms in arms.values() for norm in norms]
        for weights in zip(*(net.weights for net in nets), strict=True):
            assert all(torch.equal(weight, weights[0]) for weight in weights)
        counts = [values_per_statistic(architecture, norm, 4) for norms in arms.values() for norm in norms]
        assert counts[0] == []
    assert values_per_statistic("fully connected", "batch", 4) == [4]
    assert values_per_statistic("convolutional", "batch", 4) == [4 * 64, 4 * 16, 4 * 4]
    assert values_per_statistic("recurrent", "input", 4) == [4 * 8]
    assert values_per_statistic("recurrent", "per_step", 4) == [4]
    assert values_per_statistic("transformer", "batch", 4) == [4 * 8]
    assert values_per_statistic("transformer", "layer", 4) == []


# The run ------------------------------------------------------------------------------------------------------------


def test_each_arm_has_the_norm_and_the_rate_of_its_best_score(small):
    """Catches a norm that is chosen at another norm's rate."""
    for cell, tried in small.tuning_accuracy.items():
        for arm, rate in small.tuned[cell].items():
            norms = [str(norm) for norm in SMALL.norms(cell.split(",")[0])[arm]]
            best = max((score, -norms.index(norm)) for norm in norms for score in tried[norm])
            assert norms[-best[1]] == small.norm[cell][arm]
            assert tried[small.norm[cell][arm]][SMALL.rates.index(rate)] == best[0]
    recurrent = Cell("recurrent", 4, 40).name
    assert small.tuning_accuracy[recurrent].keys() == {"None", "input", "per_step"}


def test_norms_and_rates_are_tuned_without_the_test_seeds(small):
    other = architectures.run(dataclasses.replace(SMALL, test_seeds=(13, 14)))
    assert (other.tuned, other.norm) == (small.tuned, small.norm)
    assert other.test_accuracy != small.test_accuracy


def test_processes_and_the_cache_change_nothing(small, tmp_path, monkeypatch):
    monkeypatch.setenv("BNCOURSE_CACHE", str(tmp_path))
    assert architectures.run(SMALL, jobs=2, cache=True) == small
    monkeypatch.setattr(training, "train", None)
    assert architectures.run(SMALL, cache=True) == small


def test_the_test_part_is_read_once_for_each_arm_and_cell(monkeypatch):
    read = []

    def recording_score(net, _history, _data, part):
        read.append((part, net.seeds))
        return np.full(len(net.seeds), 0.5)

    monkeypatch.setattr(training, "final_accuracy", recording_score)
    settings = dataclasses.replace(SMALL, batch_sizes=(20, 40), budgets=(40,))
    architectures.run(settings)
    scored = [seeds for part, seeds in read if part == "test"]
    assert scored == [SMALL.test_seeds] * sum(len(NORMS[cell.architecture]) for cell in settings.cells())
    assert all(set(seeds) == set(SMALL.tuning_seeds) for part, seeds in read if part == "validation")


def test_a_run_survives_its_record(small, tmp_path):
    assert read_again(architectures, SMALL, small, tmp_path) == small


# The settings -------------------------------------------------------------------------------------------------------


def test_the_reduced_run_estimates_the_same_and_tunes_nothing():
    """Catches other batches or another budget, which would change the effects."""
    full = Settings()
    assert REDUCED.budgets == full.budgets[:1]
    assert (REDUCED.batch_sizes, REDUCED.momentum) == (full.batch_sizes, full.momentum)
    assert set(REDUCED.rates) <= set(full.rates)
    assert all(len(norms) == 1 for name in REDUCED.architectures for norms in REDUCED.norms(name).values())
    tiny = dataclasses.replace(REDUCED, budgets=(64,))
    found = architectures.run(tiny)
    assert not any(found.tuning_accuracy.values())
    (verdict,) = verdicts(found)
    assert len(verdict.effects) == 6


def test_every_architecture_meets_every_batch_size_and_budget():
    full = Settings()
    assert {(cell.architecture, cell.steps) for cell in full.cells()} == set(
        itertools.product(NORMS, (2000 // 4, 2000 // 64, 6000 // 4, 6000 // 64))
    )


def test_settings_without_what_the_claim_names_are_refused():
    with pytest.raises(ValueError, match="architectures to begin with fully connected, convolutional, recurrent"):
        dataclasses.replace(SMALL, architectures=("transformer", *CLAIMED))
    with pytest.raises(ValueError, match="batch_sizes in rising order"):
        dataclasses.replace(SMALL, batch_sizes=(64, 4))
