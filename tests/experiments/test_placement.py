"""The experiment of C12: its rule, its estimands on cases with a known answer, and its fairness."""

import dataclasses

import numpy as np
import pytest
import torch

from bncourse.experiments import ensembles, placement
from bncourse.experiments.ensembles import best
from bncourse.experiments.placement import BOTH_ENDS, PLACES, REDUCED, SCORES, Outcome, Settings, training, verdicts
from bncourse.experiments.placement.measure import advantage
from bncourse.experiments.placement.settings import Architecture
from bncourse.experiments.placement.training import cell, make_network, train_members
from bncourse.lab import accuracy, clusters, digits, train
from tests.experiments.common import interval, read_again

pytestmark = pytest.mark.slow

SMALL = Settings(
    activations=("relu", "tanh"),
    depths=(1, 2),
    width=12,
    rates=(0.004, 0.1, 0.4),
    tuning_seeds=(1, 2),
    test_seeds=(3, 4, 5),
    digits_steps=24,
    clusters_steps=20,
    evaluate_every=5,
)


@pytest.fixture(scope="module")
def small() -> Outcome:
    return placement.run(SMALL)


# The rule -----------------------------------------------------------------------------------------------------------

KEYS = [f"{score} {activation}" for score in SCORES for activation in ("relu", "tanh")]
FOR = {"steps": (1.2, 1.4), "accuracy": (0.012, 0.03)}
AGAINST = {"steps": (0.92, 0.98), "accuracy": (-0.008, -0.002)}
OTHER = {"steps": (0.5, 0.9), "accuracy": (-0.03, -0.011)}
OPEN = {"steps": (1.0, 1.2), "accuracy": (0.005, 0.015)}


def outcome(rest: dict, changed: dict | None = None, tuned: dict | None = None, lost: int = 0) -> Outcome:
    """Eight seeds, three rates, two activations at two depths; what is tuned and lost is so at the second depth."""
    plain = {field.name: {} for field in dataclasses.fields(Outcome)}
    names = {activation: [f"{activation} 2", f"{activation} 6"] for activation in ("relu", "tanh")}
    middle = {"before": 0.1, "after": 0.1}
    full, cut = {place: [30.0] * 8 for place in PLACES}, {"before": [30.0] * 8, "after": [30.0] * (8 - lost)}
    cut["after"] += [None] * lost

    def rates(score: str, activation: str) -> dict:
        return {f"{activation} 2": middle, f"{activation} 6": (tuned or {}).get(f"{score} {activation}", middle)}

    return Outcome(
        **{
            **plain,
            "seeds": 8,
            "target": 0.9,
            "rates": [0.01, 0.1, 1.0],
            "architectures": names,
            "tuned": {score: {**rates(score, "relu"), **rates(score, "tanh")} for score in SCORES},
            "scores": {"steps": {"relu 2": full, "relu 6": cut, "tanh 2": full, "tanh 6": full}},
            "estimates": {
                score: {
                    activation: interval(*(changed or {}).get(f"{score} {activation}", rest)[score])
                    for activation in names
                }
                for score in SCORES
            },
        }
    )


def answer(of: Outcome) -> str:
    (verdict,) = verdicts(of)
    assert verdict.claim == "C12"
    return verdict.answer


@pytest.mark.parametrize(
    ("rest", "changed", "expected"),
    [
        (FOR, {}, "supported"),
        (FOR, {"accuracy tanh": OPEN}, "inconclusive"),
        (FOR, {"accuracy tanh": AGAINST}, "qualified"),
        (FOR, {"steps relu": OTHER, "accuracy tanh": OPEN}, "qualified"),
        (AGAINST, {"steps tanh": FOR}, "qualified"),
        (AGAINST, {"steps tanh": OPEN}, "inconclusive"),
        (AGAINST, {}, "contradicted"),
        (OTHER, {}, "contradicted"),
    ],
)
def test_the_correct_place_is_better_everywhere(rest, changed, expected):
    assert answer(outcome(rest, changed)) == expected


@pytest.mark.parametrize("rates", [{"before": 0.1, "after": 1.0}, {"before": 0.01, "after": 0.1}])
@pytest.mark.parametrize("key", KEYS)
def test_an_edge_of_the_grid_at_one_depth_leaves_open_the_number_that_rests_on_it(key, rates):
    at_edge = {key: rates}
    assert answer(outcome(FOR, tuned=at_edge)) == "inconclusive"
    assert answer(outcome(FOR, {key: AGAINST}, at_edge)) == "inconclusive"
    other = next(each for each in KEYS if each != key)
    assert answer(outcome(FOR, {other: AGAINST}, at_edge)) == "qualified"


def test_runs_that_do_not_arrive_leave_steps_open_and_accuracy_not():
    assert answer(outcome(FOR, {"steps relu": AGAINST}, lost=2)) == "qualified"
    assert answer(outcome(FOR, {"steps relu": AGAINST}, lost=3)) == "inconclusive"
    assert answer(outcome(FOR, {"accuracy relu": AGAINST}, lost=3)) == "qualified"


def test_a_verdict_counts_where_the_other_place_is_better():
    """Catches a difference too small to matter counted as well, and accuracies compared with points."""
    for rest, changed, count in ((AGAINST, {}, 0), (OTHER, {}, 4), (FOR, {"accuracy tanh": OTHER}, 1)):
        (verdict,) = verdicts(outcome(rest, changed))
        assert f"in {count} of 4 comparisons" in verdict.reason
    assert [effect.low for effect in verdict.effects] == pytest.approx([1.2, 1.2, 1.2, -3.0])


# The estimands ------------------------------------------------------------------------------------------------------


def test_an_advantage_is_above_nothing_where_the_place_before_the_activation_is_better():
    """Catches a ratio or a difference turned round, and a depth that counts more since it takes more steps."""
    before = np.array([[10.0, 20.0, 30.0], [100.0, 100.0, 100.0]])
    found = advantage("steps", before=before, after=before * [[2.0], [8.0]])
    assert [found.estimate, found.low] == pytest.approx([4, 4])
    low, high = np.array([[0.5, 0.6, 0.4], [0.3, 0.3, 0.3]]), np.array([[0.6, 0.65, 0.55], [0.3, 0.3, 0.3]])
    assert advantage("accuracy", before=high, after=low).estimate == pytest.approx(0.05)
    assert best("steps", np.array([10, 20])) == 0
    assert best("accuracy", np.array([0.1, 0.2])) == 1


def test_batch_norm_stands_where_its_place_says():
    """Before a ReLU its outputs pass through the ReLU; after it they have the mean beta, which is zero."""
    data = digits()
    x = data.train_x[:50].expand(2, -1, -1)
    for place, positive, standardized in (("before", True, False), ("after", False, True), (BOTH_ENDS, True, True)):
        network = make_network(data, Architecture("relu", 2), place, 8, (1, 2)).train()
        hidden = network.layers[0](network.enter(x))
        assert bool((hidden >= 0).all()) == positive
        assert bool(hidden.mean(dim=2).abs().max() < 1e-5) != positive
        assert len(network.biases) == (1 if positive else 3)
        last = network.head(network.layers[1](hidden))
        assert bool(last.mean(dim=2).abs().max() < 1e-5) == standardized


def test_saturation_is_that_of_the_trained_network():
    """Of a network trained at too large a rate, written out; catches a share before training or of one layer."""
    settings = dataclasses.replace(SMALL, clusters_steps=3, rates=(0.2,))
    architecture = Architecture("tanh", 2)
    found = train_members(cell(settings, "accuracy", architecture, "after", ((0.2,), (4,)), "validation"))
    network = make_network(clusters(), architecture, "after", 12, (4,))
    train(network, clusters(), [0.2], 3, 50, evaluate_every=3)
    h, shares = clusters().validation_x.double(), []
    for layer in network.layers:
        z = h @ layer.linear.weight[0].double().T + layer.linear.bias[0].double().T
        shares.append((torch.tanh(z).abs() > 0.97).double().mean())
        h = torch.nn.functional.batch_norm(
            torch.tanh(z),
            None,
            None,
            *(parameter.detach().flatten().double() for parameter in layer.norm.parameters()),
            training=True,
        )
    assert found["saturated"] == pytest.approx([float(sum(shares) / 2)], abs=1e-3)
    assert 0.02 < found["saturated"][0] < 0.9
    diverged = train_members(cell(settings, "accuracy", architecture, "after", ((1e30,), (4,)), "validation"))
    assert diverged["saturated"] == [1]


def test_both_places_start_from_the_same_weights():
    networks = [make_network(clusters(), Architecture("tanh", 3), place, 8, (1, 2)) for place in PLACES]
    for first, second in zip(*(network.weights for network in networks), strict=True):
        assert torch.equal(first, second)


# The run ------------------------------------------------------------------------------------------------------------


def test_estimates_follow_from_the_values_of_the_seeds(small):
    """Catches places, scores or depths exchanged, and a censored run that counts as infinite."""

    def values(score, place):
        rows = [small.scores[score][name][place] for name in names]
        return np.array([[24 if value is None else value for value in row] for row in rows])

    assert any(None in row for places in small.scores["steps"].values() for row in places.values())
    assert small.architectures == {"relu": ["relu 1", "relu 2"], "tanh": ["tanh 1", "tanh 2"]}
    for activation, names in small.architectures.items():
        ratios = np.log(values("steps", "after") / values("steps", "before"))
        assert small.estimates["steps"][activation].estimate == pytest.approx(np.exp(ratios.mean()))
        assert small.by_depth["steps"][names[1]].estimate == pytest.approx(np.exp(ratios[1].mean()))
        assert small.means["steps"][names[1]]["after"].estimate == pytest.approx(values("steps", "after")[1].mean())
        before, after = (values("accuracy", place) for place in PLACES)
        assert small.estimates["accuracy"][activation].estimate == pytest.approx(np.mean(before - after), abs=1e-6)
        assert before * 4000 == pytest.approx(np.round(before * 4000), abs=0.01)
    assert small.horizon == 24


def test_each_score_is_tuned_on_its_own_data_and_read_at_its_own_rate(small):
    """Catches a rate that is best for the other score; for some place the two differ."""
    differ = False
    for architecture in SMALL.architectures():
        for place in (*PLACES, BOTH_ENDS):
            steps, scores = (small.tuning[score][architecture.name][place] for score in SCORES)
            tuned = {score: small.tuned[score][architecture.name][place] for score in SCORES}
            assert tuned == {"steps": SMALL.rates[np.argmin(steps)], "accuracy": SMALL.rates[np.argmax(scores)]}
            assert max(steps) <= 24
            differ = differ or tuned["steps"] != tuned["accuracy"]

            rates = [rate for rate in SMALL.rates for _ in SMALL.tuning_seeds]
            network = make_network(clusters(), architecture, place, 12, SMALL.tuning_seeds * 3)
            history = train(network, clusters(), rates, 20, evaluate_every=20)
            assert scores == pytest.approx(history.validation_accuracy.reshape(3, 2).mean(axis=1), abs=1e-3)
            network = make_network(clusters(), architecture, place, 12, SMALL.test_seeds)
            train(network, clusters(), [tuned["accuracy"]] * 3, 20, evaluate_every=20)
            expected = accuracy(network, clusters().test_x, clusters().test_y)
            assert small.scores["accuracy"][architecture.name][place] == pytest.approx(expected, abs=1e-3)
    assert differ


def test_processes_and_the_cache_change_nothing(small, tmp_path, monkeypatch):
    monkeypatch.setenv("BNCOURSE_CACHE", str(tmp_path))
    assert placement.run(SMALL, jobs=2, cache=True) == small
    monkeypatch.setattr(training, "train", None)
    assert placement.run(SMALL, cache=True) == small


def test_rates_are_tuned_without_the_test_seeds(small):
    """Catches a rate that is chosen on the seeds that it is scored on."""
    other = placement.run(dataclasses.replace(SMALL, test_seeds=(13, 14)))
    assert (other.tuned, other.tuning) == (small.tuned, small.tuning)
    assert other.scores != small.scores


def test_the_test_part_is_read_once_for_each_place(monkeypatch):
    read = []

    def recording_accuracy(network, x, y):
        read.append((network.seeds, len(x)))
        return np.full(len(network.seeds), 0.5)

    monkeypatch.setattr(ensembles, "accuracy", recording_accuracy)
    placement.run(dataclasses.replace(SMALL, digits_steps=2, clusters_steps=2))
    assert read == [(SMALL.test_seeds, 4000)] * 12


def test_a_run_survives_its_record(small, tmp_path):
    assert read_again(placement, SMALL, small, tmp_path) == small


def test_the_reduced_run_estimates_the_same():
    """Catches other architectures, fewer steps or another target, which would change the effects."""
    full = Settings()
    few = {name: getattr(full, name) for name in ("places", "rates", "tuning_seeds", "test_seeds")}
    assert dataclasses.replace(REDUCED, **few) == full
    assert set(REDUCED.rates) <= set(full.rates)
