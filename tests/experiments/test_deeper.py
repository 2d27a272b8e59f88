"""The experiment of C16: its rule, its estimand on cases with a known answer, and its fairness."""

import dataclasses
import math

import numpy as np
import pytest

from bncourse.experiments import deeper, ensembles
from bncourse.experiments.deeper import NETWORKS, REDUCED, Outcome, Settings, measure, verdicts
from bncourse.experiments.deeper.measure import largest_depth
from bncourse.lab import Interval, paired_interval, ratio_of_geometric_means
from tests.experiments.common import read_again

pytestmark = pytest.mark.slow

SMALL = Settings(
    plain_depths=(2, 3),
    residual_depths=(2, 3, 5),
    width=12,
    rates=(0.01, 0.1, 1.0),
    tuning_seeds=(1, 2),
    test_seeds=(3, 4, 5),
    steps=30,
    target_accuracy=0.5,
)


@pytest.fixture(scope="module")
def small() -> Outcome:
    return deeper.run(SMALL)


# The rule -----------------------------------------------------------------------------------------------------------


def outcome(tuned=None, scores=None, accuracies=None, **bounds: tuple[float, float]) -> Outcome:
    """Two seeds, two depths and three rates; unless something is changed, every number speaks for the claim."""
    clear = {"plain": (1.6, 2.0), "residual": (7.0, 8.0), "skip_init": (1.6, 2.0)}
    plain = {field.name: {} for field in dataclasses.fields(Outcome)}
    return Outcome(
        **{
            **plain,
            "seeds": 2,
            "target_accuracy": 0.9,
            "rates": [0.01, 0.1, 1.0],
            "depths": {key: [4, 8] for key in NETWORKS},
            "tuned": {key: [0.1, 0.1] for key in NETWORKS} | (tuned or {}),
            "tuning_accuracy": {key: [[0.8, 0.95, 0.2], [0.6, 0.7, 0.2]] for key in NETWORKS} | (scores or {}),
            "test_accuracy": {key: [[0.9, 0.95], [0.7, 0.95]] for key in NETWORKS} | (accuracies or {}),
            "estimates": {
                f"{name} ratio": Interval((low * high) ** 0.5, low, high)
                for name, (low, high) in {**clear, **bounds}.items()
            },
        }
    )


def answer(of: Outcome) -> str:
    (verdict,) = verdicts(of)
    assert verdict.claim == "C16"
    return verdict.answer


@pytest.mark.parametrize(
    ("plain", "residual", "skip_init", "expected"),
    [
        ((1.6, 2.0), (7.0, 8.0), (1.6, 1.7), "supported"),
        ((1.6, 2.0), (7.0, 8.0), (1.0, 1.0), "qualified"),
        ((1.4, 1.6), (7.0, 8.0), (0.9, 1.4), "qualified"),
        ((1.4, 1.6), (7.0, 8.0), (1.6, 1.7), "inconclusive"),
        ((1.4, 1.6), (1.4, 1.6), (1.0, 1.0), "inconclusive"),
        ((1.0, 1.4), (0.5, 0.9), (0.9, 1.1), "contradicted"),
    ],
    ids=[
        "farther than all others",
        "no farther than SkipInit",
        "plain networks open",
        "all but plain networks",
        "only SkipInit clear",
        "no farther than any",
    ],
)
def test_batch_norm_has_to_get_farther_than_none_and_than_skip_init(plain, residual, skip_init, expected):
    assert answer(outcome(plain=plain, residual=residual, skip_init=skip_init)) == expected


def test_an_edge_of_the_grid_leaves_open_what_a_rate_beyond_it_might_mend():
    edge = {"plain none": [0.1, 0.01]}
    assert answer(outcome(tuned=edge)) == "inconclusive"
    assert answer(outcome(tuned=edge, skip_init=(1.0, 1.1))) == "qualified"
    assert answer(outcome(tuned={"residual skip_init": [0.1, 1.0]})) == "inconclusive"
    all_work = {"plain none": [[0.95, 0.95], [0.9, 0.9]]}
    assert answer(outcome(tuned=edge, accuracies=all_work)) == "supported"
    nothing_trains = {"plain none": [[0.8, 0.95, 0.2], [0.49, 0.3, 0.2]]}
    assert answer(outcome(tuned=edge, scores=nothing_trains)) == "supported"


def test_a_seed_that_works_at_no_depth_leaves_its_networks_open():
    nowhere = {"plain none": [[0.89, 0.95], [0.7, 0.95]]}
    assert answer(outcome(accuracies=nowhere)) == "inconclusive"
    assert answer(outcome(accuracies=nowhere, skip_init=(1.0, 1.1))) == "qualified"


def test_a_verdict_carries_all_effects_and_the_p_value_of_those_that_decided():
    (supported,) = verdicts(outcome())
    assert supported.p == max(effect.p_value() for effect in supported.effects)
    (qualified,) = verdicts(outcome(skip_init=(0.9, 1.1)))
    plain, residual, skip_init = (effect.p_value() for effect in qualified.effects)
    assert qualified.p == pytest.approx(3 * max(min(plain, residual), skip_init))
    assert {effect.resolution for effect in qualified.effects} == {2}


# The estimand -------------------------------------------------------------------------------------------------------


def test_the_largest_depth_is_the_last_that_works_and_the_first_where_none_does():
    """Catches one that stops at the first depth that fails, and one that counts depths."""
    works = np.array([[1, 1, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1]], dtype=bool)
    assert largest_depth((4, 8, 20), works).tolist() == [8, 20, 4, 20]


def test_estimates_follow_from_the_accuracies_of_the_seeds(small):
    """Catches a ratio upside down, networks exchanged, and unpaired seeds."""

    def reached(network):
        depths = np.array(small.depths[network], dtype=float)
        rows = np.array(small.test_accuracy[network]) >= 0.5
        return np.array([depths[column].max() if column.any() else depths[0] for column in rows.T])

    pairs = {
        "plain ratio": ("plain batch_norm", "plain none"),
        "residual ratio": ("residual batch_norm", "residual none"),
        "skip_init ratio": ("residual batch_norm", "residual skip_init"),
        "branches ratio": ("residual batch_norm", "plain batch_norm"),
    }
    assert small.estimates == {
        name: paired_interval(reached(first), reached(second), ratio_of_geometric_means)
        for name, (first, second) in pairs.items()
    }
    for network in NETWORKS:
        assert small.largest[network] == reached(network).tolist()
        assert small.reached[network].estimate == pytest.approx(math.exp(np.log(reached(network)).mean()))


def test_each_network_is_what_its_name_says(monkeypatch):
    """By the number of parameters of each member, at depth 3 and width 12."""
    found = {}

    def spying_train(network, data, rates, *arguments, **options):
        found[name] = sum(parameter[0].numel() for parameter in network.parameters())
        return measure_train(network, data, rates, *arguments, **options)

    measure_train = measure.train
    monkeypatch.setattr(measure, "train", spying_train)
    for name in NETWORKS:
        measure.train_members(measure._cell(SMALL, name, 3, (0.1,), (3,), "test"))
    weights, biases, output = 64 * 12 + 2 * 144, 3 * 12, 130
    plain = weights + biases + output
    assert found == {
        "plain none": plain,
        "plain batch_norm": plain - biases + 2 * 36,
        "residual none": plain,
        "residual batch_norm": plain + 2 * 36,
        "residual skip_init": plain + 2,
    }


# The run ------------------------------------------------------------------------------------------------------------


def test_a_run_ends_in_values_for_every_network_depth_and_seed(small):
    for network in NETWORKS:
        depths = SMALL.residual_depths if network.startswith("residual") else SMALL.plain_depths
        assert small.depths[network] == list(depths)
        assert np.shape(small.test_accuracy[network]) == (len(depths), 3)
        assert np.shape(small.tuning_accuracy[network]) == (len(depths), 3)
        for rate, scores, row, mean in zip(
            small.tuned[network],
            small.tuning_accuracy[network],
            small.test_accuracy[network],
            small.mean_accuracy[network],
            strict=True,
        ):
            assert rate == small.rates[int(np.argmax(scores))]
            assert mean.estimate == pytest.approx(np.mean(row))
    assert max(small.test_accuracy["residual batch_norm"][-1]) > 0.5


def test_processes_and_the_cache_change_nothing(small, tmp_path, monkeypatch):
    monkeypatch.setenv("BNCOURSE_CACHE", str(tmp_path))
    assert deeper.run(SMALL, jobs=2, cache=True) == small
    monkeypatch.setattr(measure, "train", None)
    assert deeper.run(SMALL, cache=True) == small


def test_rates_are_tuned_without_the_test_seeds(small):
    """Catches a rate that is chosen on the seeds that it is scored on."""
    other = deeper.run(dataclasses.replace(SMALL, test_seeds=(13, 14)))
    assert (other.tuned, other.tuning_accuracy) == (small.tuned, small.tuning_accuracy)
    assert other.test_accuracy != small.test_accuracy


def test_each_rate_is_scored_on_its_own_members(small):
    """Catches rates and seeds in another order than that in which their scores are averaged."""
    alone = deeper.run(dataclasses.replace(SMALL, rates=(0.1, 1.0)))
    for network, rows in alone.tuning_accuracy.items():
        for scores, all_scores in zip(rows, small.tuning_accuracy[network], strict=True):
            assert scores == pytest.approx(all_scores[1:])


def test_the_test_part_is_read_once_for_each_network_and_depth(monkeypatch):
    read = []

    def recording_accuracy(network, x, y):
        read.append((network.seeds, len(x)))
        return np.full(len(network.seeds), 0.5)

    monkeypatch.setattr(ensembles, "accuracy", recording_accuracy)
    deeper.run(dataclasses.replace(SMALL, steps=2))
    assert read == [(SMALL.test_seeds, 500)] * (2 * 2 + 3 * 3)


def test_a_run_survives_its_record(small, tmp_path):
    assert read_again(deeper, SMALL, small, tmp_path) == small


# The settings -------------------------------------------------------------------------------------------------------


def test_the_reduced_run_estimates_the_same():
    """Catches other networks or fewer steps, which would change the effects, and a shorter residual sweep."""
    full = Settings()
    for name in ("width", "steps", "batch_size", "momentum", "target_accuracy"):
        assert getattr(REDUCED, name) == getattr(full, name)
    for name in ("plain_depths", "residual_depths", "rates"):
        assert set(getattr(REDUCED, name)) <= set(getattr(full, name))
    assert REDUCED.residual_depths[-1] == full.residual_depths[-1]


def test_settings_that_would_be_unfair_or_undefined_are_refused():
    with pytest.raises(ValueError, match="at least 2 plain_depths in rising order"):
        dataclasses.replace(SMALL, plain_depths=(3,))
    with pytest.raises(ValueError, match="rising order"):
        dataclasses.replace(SMALL, rates=(0.1, 0.01))
