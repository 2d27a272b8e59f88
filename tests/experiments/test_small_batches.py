"""The experiment of chapter 7.1: its estimands on cases with a known answer, its readings, and its fairness."""

import dataclasses

import numpy as np
import pytest
import torch

from bncourse.experiments import small_batches
from bncourse.experiments.small_batches import ARMS, READ_THREE_WAYS, REDUCED, Outcome, Settings, training
from bncourse.experiments.small_batches.measure import summarize
from bncourse.experiments.small_batches.training import accuracy_in_batches
from bncourse.lab import ConvEnsemble, Norm, accuracy, difference_of_means, digits, paired_interval
from tests.experiments.common import read_again

pytestmark = pytest.mark.slow

PER_EXAMPLE = ("group", "layer", "instance", "RMS", "filter response")


@pytest.fixture(scope="module")
def reduced() -> Outcome:
    return small_batches.run(REDUCED)


def points(first, second):
    return paired_interval(100 * np.array(first), 100 * np.array(second), difference_of_means)


def test_differences_are_paired_by_seed_and_in_points(reduced):
    """Catches a difference upside down, arms or batch sizes exchanged, and shares where points are promised."""
    tested = reduced.test_accuracy
    for at in range(2):
        for arm, gains in reduced.gains.items():
            assert gains[at] == points(tested[arm][at], tested["batch"][at])
        means = {arm: np.mean(rows[at]) for arm, rows in tested.items()}
        leader = reduced.best[at]
        assert means[leader] == max(means.values())
        for arm, gaps in reduced.behind.items():
            if arm == leader:
                assert gaps[at] is None
            else:
                assert gaps[at] == points(tested[arm][at], tested[leader][at])
    assert set(reduced.gains) == set(ARMS) - {"batch"}


def test_an_arm_is_level_with_the_best_where_its_interval_reaches_it():
    """Four seeds: three arms are ahead of one another by a clear amount, the others differ by what seeds differ."""
    settings = dataclasses.replace(REDUCED, batch_sizes=(4,), test_seeds=(1, 2, 3, 4))
    base = np.array([0.80, 0.82, 0.81, 0.83])
    scores = dict.fromkeys(ARMS, base - 0.1) | {
        "group": base,
        "layer": base + np.array([-0.03, 0.02, -0.02, 0.02]),
        "RMS": base - 0.01,
    }
    chosen = {(arm, 4): (ARMS[arm].norms[0], 0.01) for arm in ARMS}
    tested = {
        (arm, 4): dict.fromkeys(("running", "retaken", "as in training"), values) for arm, values in scores.items()
    }
    outcome = summarize(settings, chosen, {}, tested)
    assert outcome.best == ["group"]
    assert {arm for arm, (level,) in outcome.level.items() if level} == {"group", "layer"}


def test_the_arm_with_statistics_retaken_is_read_with_them(reduced):
    """At one rate the two arms of batch norm have the same networks, so that their difference is the readings'."""
    for at in range(2):
        if reduced.tuned["batch"][at] == reduced.tuned["batch, retaken"][at]:
            assert reduced.retaken_gain["batch"][at] == reduced.gains["batch, retaken"][at]
            assert reduced.readings["batch"]["retaken"][at] == reduced.mean_accuracy["batch, retaken"][at]
            break
    else:
        pytest.fail("the reduced run chose other rates at both sizes, and tells nothing")
    assert set(reduced.readings) == set(READ_THREE_WAYS)


def test_as_in_training_each_batch_brings_its_own_statistics():
    """In batches of one that is instance norm; a batch of all examples is inference with statistics of all."""
    data = digits()
    x, y = data.test_x[:37], data.test_y[:37]
    networks = {kind: ConvEnsemble((1, 4, 6), 10, (1, 2), norm=Norm(kind)) for kind in ("batch", "instance")}
    state = {name: value.clone() for name, value in networks["batch"].state_dict().items()}
    alone = accuracy_in_batches(networks["batch"], x, y, 1)
    np.testing.assert_array_equal(alone, accuracy(networks["instance"], x, y))
    assert accuracy_in_batches(networks["batch"], x, y, 10).shape == (2,), "the last batch has seven"
    for name, value in networks["batch"].state_dict().items():
        assert torch.equal(value, state[name])


def test_a_reading_is_one_of_the_training_that_belongs_to_it():
    cell = training.Members(Norm("batch"), 5, (0.02, 1e30), (3, 3), "validation", 40, (1, 4, 6), 0.9)
    found = training.train_members(cell)
    assert set(found) == {"running", "as in training", "retaken"}
    assert all(values[1] == 0 < values[0] for values in found.values()), "the second has diverged"
    assert set(training.train_members(dataclasses.replace(cell, norm=Norm("layer")))) == {"running"}


def test_rates_are_tuned_for_each_arm_and_size_without_the_test_seeds(reduced):
    for arm, scores in reduced.tuning_accuracy.items():
        for rate, row in zip(reduced.tuned[arm], scores, strict=True):
            assert rate == reduced.rates[int(np.argmax(row))]
    other = small_batches.run(dataclasses.replace(REDUCED, batch_sizes=(20,), test_seeds=(1, 2)))
    for arm, scores in reduced.tuning_accuracy.items():
        assert (other.tuned[arm], other.tuning_accuracy[arm]) == (reduced.tuned[arm][1:], scores[1:])


def test_rates_are_those_of_batches_of_one(monkeypatch):
    seen = []

    def note(network, data, rates, steps, batch_size, *rest, **more):
        seen.append((batch_size, steps, tuple(rates)))
        return train(network, data, rates, 1, batch_size)

    train = training.train
    monkeypatch.setattr(training, "train", note)
    small_batches.run(dataclasses.replace(REDUCED, batch_sizes=(4,), rates=(2.0**-9, 2.0**-5)))
    assert (4, 15, (2.0**-7, 2.0**-3)) in seen
    assert {rate for *_, rates in seen for rate in rates} == {2.0**-7, 2.0**-3}


def test_the_test_part_is_read_for_chosen_networks_alone(monkeypatch):
    read = []

    def recording(network, x, y):
        read.append((network.seeds, len(x)))
        return np.full(len(network.seeds), 0.5)

    monkeypatch.setattr(training, "accuracy", recording)
    small_batches.run(dataclasses.replace(REDUCED, batch_sizes=(20,), examples=20))
    of_test = [seeds for seeds, examples in read if examples == 500]
    assert set(of_test) == {REDUCED.test_seeds}
    # Nine arms; the two of batch norm share their networks at a rate, which are read a second time for the retaken
    # statistics, as are batch renorm's.
    assert len(of_test) == 8 + 2


def test_a_run_survives_its_record(reduced, tmp_path):
    assert read_again(small_batches, REDUCED, reduced, tmp_path) == reduced


def test_seeds_of_the_recorded_run_are_fresh_and_apart():
    """As for the experiments of the ledger, to which this one does not belong."""
    full = Settings()
    assert len(full.test_seeds) >= 24
    seeds = {*full.tuning_seeds, *full.test_seeds}
    assert not seeds & {*range(900, 1000), *REDUCED.tuning_seeds, *REDUCED.test_seeds}
    with pytest.raises(ValueError, match="tuning_seeds and test_seeds to have none in common"):
        dataclasses.replace(full, tuning_seeds=full.test_seeds[:1])
    with pytest.raises(ValueError, match="at least 1 rates in rising order"):
        dataclasses.replace(full, rates=(0.1, 0.01))
