"""The experiment of C15: its rule, its estimands from the values of the seeds, and its fairness."""

import dataclasses
from functools import partial

import numpy as np
import pytest

from bncourse.experiments import recurrent
from bncourse.experiments.recurrent import NETWORKS, REDUCED, Outcome, Settings, measure, training, verdicts
from bncourse.experiments.recurrent.settings import ARMS, BATCH_NORMS, SCORES
from bncourse.lab import RecurrentEnsemble, accuracy, difference_of_means, digits, paired_interval, run_all, train
from tests.experiments.common import interval, read_again

SMALL = Settings(
    inputs=32,
    rates={"RNN": (0.003, 0.03, 0.3), "LSTM": (0.03, 0.3)},
    tuning_seeds=(1, 2),
    test_seeds=(3, 4, 5),
    steps=20,
    target=0.5,
)


@pytest.fixture(scope="module")
def small() -> Outcome:
    return recurrent.run(SMALL)


# The rule -----------------------------------------------------------------------------------------------------------

RATIO = {"for": (1.2, 1.4), "against": (0.9, 1.05), "open": (1.0, 1.2)}
POINTS = {"for": (1.5, 3.0), "against": (-1.0, 0.9), "open": (0.5, 1.5)}


def outcome(votes: tuple[str, str, str, str], tuned: dict | None = None, arrived: int = 8) -> Outcome:
    """Steps with the RNN and the LSTM, then accuracy with both; eight seeds, three rates, per_step chosen."""
    plain = {each.name: {} for each in dataclasses.fields(Outcome)}
    middle = {score: {network: dict.fromkeys(ARMS, 0.1) for network in NETWORKS} for score in SCORES}
    for score, network, arm, rate in tuned or ():
        middle[score][network] = {**middle[score][network], arm: rate}
    steps = {network: dict.fromkeys(ARMS, [50.0] * 8) for network in NETWORKS}
    steps["LSTM"] = {**steps["LSTM"], "per_step": [50.0] * arrived + [None] * (8 - arrived)}
    return Outcome(
        **{
            **plain,
            "seeds": 8,
            "horizon": 200,
            "target": 0.8,
            "rates": {network: [0.01, 0.1, 1.0] for network in NETWORKS},
            "tuned": middle,
            "chosen": {score: dict.fromkeys(NETWORKS, "per_step") for score in SCORES},
            "steps": steps,
            "estimates": {
                "steps": {network: interval(*RATIO[vote]) for network, vote in zip(NETWORKS, votes[:2], strict=True)},
                "accuracy": {
                    network: interval(*POINTS[vote]) for network, vote in zip(NETWORKS, votes[2:], strict=True)
                },
            },
        }
    )


def answer(of: Outcome) -> str:
    (verdict,) = verdicts(of)
    assert verdict.claim == "C15"
    return verdict.answer


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        (("for",) * 4, "supported"),
        (("for", "for", "for", "open"), "inconclusive"),
        (("for", "against", "for", "against"), "qualified"),
        (("open", "against", "open", "for"), "qualified"),
        (("against", "against", "open", "against"), "inconclusive"),
        (("against",) * 4, "contradicted"),
    ],
)
def test_batch_norm_has_to_help_both_networks_by_both_scores(votes, expected):
    assert answer(outcome(votes)) == expected


def test_an_edge_of_the_grid_leaves_open_the_number_that_its_rate_was_tuned_for():
    votes = ("for", "for", "for", "against")
    assert answer(outcome(votes, [("accuracy", "LSTM", "none", 1.0)])) == "inconclusive"
    assert answer(outcome(votes, [("accuracy", "LSTM", "per_step", 0.01)])) == "inconclusive"
    assert answer(outcome(votes, [("steps", "LSTM", "per_step", 0.01)])) == "qualified"
    # Arms that are not compared do not matter.
    assert answer(outcome(("for",) * 4, [(score, "RNN", "input", 1.0) for score in SCORES])) == "supported"


def test_runs_that_do_not_arrive_leave_steps_open_and_accuracy_not():
    votes = ("for", "against", "for", "for")
    assert answer(outcome(votes, arrived=6)) == "qualified"
    assert answer(outcome(votes, arrived=5)) == "inconclusive"
    assert answer(outcome(("for", "for", "for", "against"), arrived=5)) == "qualified"


# The run ------------------------------------------------------------------------------------------------------------


def test_estimates_follow_from_the_values_of_the_seeds(small):
    """Catches a ratio upside down, a difference the other way, and an arm that was not chosen."""
    for network in NETWORKS:
        chosen = {score: small.chosen[score][network] for score in SCORES}
        assert set(chosen.values()) <= set(BATCH_NORMS)

        def mean_steps(arm, network=network):
            return np.mean([20 if value is None else value for value in small.steps[network][arm]])

        ratio = mean_steps("none") / mean_steps(chosen["steps"])
        assert small.estimates["steps"][network].estimate == pytest.approx(ratio)
        assert small.mean_steps[network]["none"].estimate == pytest.approx(mean_steps("none"))
        points = {arm: 100 * np.array(values) for arm, values in small.test_accuracy[network].items()}
        for arm in set(ARMS) - {"none"}:
            assert small.gains[network][arm] == paired_interval(points[arm], points["none"], difference_of_means)
        assert small.estimates["accuracy"][network] == small.gains[network][chosen["accuracy"]]
        step_by_step = points["per_step"].mean() - points["shared"].mean()
        assert small.per_step_gain[network].estimate == pytest.approx(step_by_step)


def test_the_rate_and_the_batch_norm_are_the_best_on_the_tuning_seeds(small):
    places = [(network, arm) for network in NETWORKS for arm in ARMS]
    tuning = measure._tune(SMALL, partial(run_all, jobs=1, cache=False), places)
    for score, sign in (("steps", -1), ("accuracy", 1)):
        for network in NETWORKS:
            at_best = {}
            for arm in ARMS:
                means = dict(zip(SMALL.rates[network], sign * tuning[score][network, arm], strict=True))
                assert means[small.tuned[score][network][arm]] == max(means.values())
                at_best[arm] = max(means.values())
            chosen = small.chosen[score][network]
            assert at_best[chosen] == max(at_best[arm] for arm in BATCH_NORMS)
    other = recurrent.run(dataclasses.replace(SMALL, test_seeds=(13, 14)))
    assert (other.tuned, other.chosen) == (small.tuned, small.chosen)
    assert other.test_accuracy != small.test_accuracy


def test_a_test_score_is_that_of_the_network_at_its_rate(small):
    """Catches a score of the network with the rate for steps, and another gamma, cell or number of units."""
    data = digits()
    for network, arm, options in (
        ("LSTM", "small_gamma", {"norm": "per_step", "cell": "lstm", "gamma": 0.1}),
        ("RNN", "input", {"norm": "input", "cell": "tanh"}),
    ):
        ensemble = RecurrentEnsemble((32, NETWORKS[network][1], 10), SMALL.test_seeds, **options)
        train(ensemble, data, [small.tuned["accuracy"][network][arm]] * 3, steps=20)
        expected = accuracy(ensemble, data.test_x, data.test_y)
        assert small.test_accuracy[network][arm] == pytest.approx(expected.tolist(), abs=0.005)


def test_the_test_part_is_read_once_for_each_arm_and_at_its_own_rate(monkeypatch):
    read = []

    def recording_accuracy(network, x, y):
        read.append((network.seeds, len(x)))
        return np.full(len(network.seeds), 0.5)

    monkeypatch.setattr(training, "accuracy", recording_accuracy)
    recurrent.run(dataclasses.replace(SMALL, steps=2))
    assert read == [(SMALL.test_seeds, 500)] * len(NETWORKS) * len(ARMS)


def test_processes_and_the_cache_change_nothing(small, tmp_path, monkeypatch):
    monkeypatch.setenv("BNCOURSE_CACHE", str(tmp_path))
    assert recurrent.run(SMALL, jobs=2, cache=True) == small
    monkeypatch.setattr(training, "train", None)
    assert recurrent.run(SMALL, cache=True) == small


def test_a_run_survives_its_record(small, tmp_path):
    assert read_again(recurrent, SMALL, small, tmp_path) == small


# The settings -------------------------------------------------------------------------------------------------------


def test_the_reduced_run_estimates_the_same():
    """Catches another length of the sequence, fewer steps or another target, which would change the effects."""
    full = Settings()
    for name in ("inputs", "steps", "batch_size", "momentum", "target", "evaluate_every"):
        assert getattr(REDUCED, name) == getattr(full, name)
    assert set(REDUCED.arms) <= set(full.arms)
    for network in NETWORKS:
        assert set(REDUCED.rates[network]) <= set(full.rates[network])


def test_settings_that_would_be_unfair_or_undefined_are_refused():
    with pytest.raises(ValueError, match="rates of each network in rising order"):
        dataclasses.replace(SMALL, rates={"RNN": (0.1, 0.01), "LSTM": (0.1,)})
    with pytest.raises(ValueError, match="rates of each network"):
        dataclasses.replace(SMALL, rates={"RNN": (0.1,)})
    with pytest.raises(ValueError, match="none and a batch norm among the arms"):
        dataclasses.replace(SMALL, arms=("none", "layer"))
