"""The experiment of C10: its rule, its estimands on cases with a known answer, and its fairness."""

import dataclasses

import numpy as np
import pytest

from bncourse.experiments import ensembles, fixed_gamma
from bncourse.experiments.fixed_gamma import REDUCED, Outcome, Settings, measure, verdicts
from bncourse.experiments.fixed_gamma.measure import summarize
from bncourse.experiments.fixed_gamma.settings import COMPARED
from bncourse.lab import MLPEnsemble, Normalization, accuracy, clusters, mean_interval, mean_loss, train
from tests.experiments.common import interval, read_again

SMALL = Settings(
    hidden=(12, 12),
    gammas=(0.1, 0.3, 1.0, 10.0),
    rates=(0.01, 0.04, 0.16),
    tuning_seeds=(1, 2),
    test_seeds=(3, 4, 5),
    steps=25,
)


@pytest.fixture(scope="module")
def small() -> Outcome:
    return fixed_gamma.run(SMALL)


# The rule -----------------------------------------------------------------------------------------------------------

KEYS = ["relu below 1", "relu above 1", "tanh below 1", "tanh above 1"]
ABOVE, BELOW, ACROSS = (2.5, 4.0), (0.5, 1.5), (1.0, 3.0)
WIDER = (-4.0, -3.0)
"""Of a gap that grows with gamma."""


def outcome(bounds: dict, rates: dict | None = None, learned: dict | None = None) -> Outcome:
    """Three rates, eight seeds; falls in points; rates of ReLU, and what its networks have learned, by gamma."""
    plain = {field.name: {} for field in dataclasses.fields(Outcome)}
    gammas = ("0.1", "0.3", "1", "10")
    rates_of = {"relu": dict.fromkeys(gammas, 0.1) | (rates or {}), "tanh": dict.fromkeys(gammas, 0.1) | {"0.1": 1.0}}
    scores = {"relu": dict.fromkeys(gammas, (0.99, 0.7)) | (learned or {}), "tanh": dict.fromkeys(gammas, (1.0, 0.7))}
    return Outcome(
        **{
            **plain,
            "seeds": 8,
            "rates": [0.01, 0.1, 1.0],
            "tuned": rates_of,
            "mean_accuracy": {
                activation: {
                    gamma: {part: interval(value, value) for part, value in zip(("train", "test"), pair, strict=True)}
                    for gamma, pair in of_gamma.items()
                }
                for activation, of_gamma in scores.items()
            },
            "estimates": {key: interval(low / 100, high / 100) for key, (low, high) in bounds.items()},
        }
    )


def answer(of: Outcome) -> str:
    (verdict,) = verdicts(of)
    assert verdict.claim == "C10"
    assert len(verdict.effects) == 4
    return verdict.answer


@pytest.mark.parametrize(
    ("rest", "changed", "expected"),
    [
        (ABOVE, {}, "supported"),
        (ABOVE, {"tanh above 1": ACROSS}, "inconclusive"),
        (ABOVE, {"tanh above 1": BELOW}, "qualified"),
        (WIDER, {"relu below 1": ABOVE, "tanh below 1": ACROSS}, "qualified"),
        (WIDER, {"relu below 1": ACROSS}, "inconclusive"),
        (WIDER, {"relu below 1": BELOW}, "contradicted"),
    ],
)
def test_the_gap_has_to_fall_on_both_sides_of_one_and_with_both_activations(rest, changed, expected):
    """Catches a law that holds from end to end only; what is tuned for tanh at 0.1 is in no rule."""
    assert answer(outcome(dict.fromkeys(KEYS, rest) | changed)) == expected


@pytest.mark.parametrize("rate", [1.0, 0.01])
def test_a_rate_at_the_edge_leaves_open_the_falls_that_it_is_part_of(rate):
    assert answer(outcome(dict.fromkeys(KEYS, WIDER), {"0.1": rate})) == "inconclusive"
    assert answer(outcome(dict.fromkeys(KEYS, WIDER) | {"relu below 1": ABOVE}, {"0.1": rate})) == "inconclusive"
    assert answer(outcome(dict.fromkeys(KEYS, WIDER) | {"relu above 1": ABOVE}, {"0.1": rate})) == "qualified"
    assert answer(outcome(dict.fromkeys(KEYS, WIDER), {"0.3": rate})) == "contradicted"


@pytest.mark.parametrize(
    ("fall", "learned", "expected"),
    [
        (ABOVE, {"10": (0.97, 0.69)}, "inconclusive"),
        (WIDER, {"10": (0.97, 0.69)}, "contradicted"),
        (WIDER, {"1": (0.97, 0.69)}, "inconclusive"),
        (BELOW, {"1": (0.97, 0.69)}, "contradicted"),
        (ABOVE, {"10": (0.6, 0.7)}, "qualified"),
        (ABOVE, {"10": (0.98, 0.6)}, "qualified"),
    ],
)
def test_a_gap_that_is_narrow_for_want_of_learning_speaks_for_nobody(fall, learned, expected):
    """Catches credit for a network that has learned nothing, and a demand on the wrong one of the two.

    A network that does not fit, but tests as well as the other, may owe that to a strong regularizer.
    """
    bounds = dict.fromkeys(KEYS, WIDER) | {"relu below 1": BELOW, "relu above 1": fall}
    assert answer(outcome(bounds, learned={"0.1": (0.99, 0.6)} | learned)) == expected


def test_the_reason_says_why_a_number_is_open():
    (edge,) = verdicts(outcome(dict.fromkeys(KEYS, WIDER), rates={"10": 1.0}))
    (little,) = verdicts(outcome(dict.fromkeys(KEYS, ABOVE), learned={"10": (0.9, 0.6)}))
    (neither,) = verdicts(outcome(dict.fromkeys(KEYS, WIDER)))
    assert ("edge" in edge.reason, "little was learned" in edge.reason) == (True, False)
    assert ("edge" in little.reason, "ReLU from 1 to 10 the gap is narrow" in little.reason) == (False, True)
    assert ("edge" in neither.reason, "little was learned" in neither.reason) == (False, False)
    assert "-3.50 [-4.00, -3.00] with tanh from 0.3 to 1" in neither.reason


# The estimands ------------------------------------------------------------------------------------------------------


def test_a_fall_is_the_gap_at_the_smaller_gamma_less_that_at_the_larger():
    """Catches a sign, a test accuracy in place of a gap, and pairs or activations exchanged."""
    shift = np.array([0.0, 0.01, 0.02])
    places = {(activation, gamma) for activation in COMPARED for gamma in SMALL.gammas}
    gap = {("relu", 0.1): 0.3, ("relu", 1.0): 0.2, ("relu", 10.0): 0.25, ("tanh", 0.3): 0.16}
    scores = {
        place: {
            "train accuracy": 0.9 + shift,
            "test accuracy": 0.9 + shift - gap.get(place, 0.1),
            "train loss": shift,
            "test loss": np.array([1.0, np.nan, np.inf]),
        }
        for place in places
    }
    found = summarize(SMALL, dict.fromkeys(places, np.zeros(3)), dict.fromkeys(places, 0.1), scores)
    falls = {name: each.estimate for name, each in found.estimates.items()}
    expected = {"relu below 1": 0.1, "relu above 1": -0.05, "tanh below 1": 0.06, "tanh above 1": 0}
    assert falls == pytest.approx(expected, abs=1e-12)
    assert found.estimates["relu below 1"].high == pytest.approx(0.1)
    assert found.gap["relu"]["10"].estimate == pytest.approx(0.25)
    assert found.accuracy_change["relu below 1"].estimate == pytest.approx(0.1)
    assert found.mean_loss["tanh"]["1"] == {"train": mean_interval(shift), "test": None}


# The run ------------------------------------------------------------------------------------------------------------


def test_every_place_is_scored_on_its_own_members(small):
    """Catches gammas, rates and seeds in another order than that of their scores, and a gamma that learns."""
    data = clusters()
    for activation, gamma in (("relu", 0.3), ("tanh", 10.0)):
        key = f"{gamma:g}"
        normalization = Normalization(gamma=gamma, learn_gamma=False)
        network = MLPEnsemble((20, 12, 12, 10), (3, 4, 5), normalization, activation=activation)
        train(network, data, [small.tuned[activation][key]] * 3, 25, 64, evaluate_every=25)
        for part, x, y in (("train", data.train_x, data.train_y), ("test", data.test_x, data.test_y)):
            assert small.accuracy[activation][key][part][1] == pytest.approx(accuracy(network, x, y)[1], abs=1e-3)
            losses = mean_loss(network, x, y)
            assert small.mean_loss[activation][key][part].estimate == pytest.approx(losses.mean(), rel=1e-3)
        network = MLPEnsemble((20, 12, 12, 10), (1, 2), normalization, activation=activation)
        history = train(network, data, [0.04] * 2, 25, 64, evaluate_every=25)
        assert small.tuning_accuracy[activation][key][1] == pytest.approx(history.validation_accuracy.mean(), abs=1e-3)


def test_each_gamma_has_the_rate_that_is_best_for_it(small):
    for activation, of_gamma in small.tuning_accuracy.items():
        for gamma, means in of_gamma.items():
            assert small.tuned[activation][gamma] == SMALL.rates[int(np.argmax(means))]
    assert len({rate for of_gamma in small.tuned.values() for rate in of_gamma.values()}) > 1


def test_members_beyond_one_ensemble_are_scored_in_order(small, monkeypatch):
    monkeypatch.setattr(ensembles, "MEMBERS", 5)
    assert fixed_gamma.run(SMALL) == small


def test_tuning_sees_neither_the_test_seeds_nor_the_test_part(small, monkeypatch):
    """Catches a rate that is chosen on what it is scored on."""
    read = []

    def recording_accuracy(network, x, y):
        read.append((network.seeds, len(x)))
        return np.full(len(network.seeds), 0.5)

    monkeypatch.setattr(measure, "accuracy", recording_accuracy)
    other = fixed_gamma.run(dataclasses.replace(SMALL, test_seeds=(13, 14)))
    assert (other.tuned, other.tuning_accuracy) == (small.tuned, small.tuning_accuracy)
    assert read == [((13, 14) * 4, count) for _ in COMPARED for count in (512, 4000)]


def test_processes_and_the_cache_change_nothing(small, tmp_path, monkeypatch):
    monkeypatch.setenv("BNCOURSE_CACHE", str(tmp_path))
    assert fixed_gamma.run(SMALL, jobs=2, cache=True) == small
    monkeypatch.setattr(measure, "train", None)
    assert fixed_gamma.run(SMALL, cache=True) == small


def test_a_run_survives_its_record(small, tmp_path):
    assert read_again(fixed_gamma, SMALL, small, tmp_path) == small


# The settings -------------------------------------------------------------------------------------------------------


def test_the_reduced_run_estimates_the_same():
    """Catches another network or another grid; its steps are fewer, which in pilots moved the falls little."""
    full = Settings()
    for name in ("hidden", "batch_size", "momentum"):
        assert getattr(REDUCED, name) == getattr(full, name)
    for name in ("gammas", "rates"):
        assert set(getattr(REDUCED, name)) <= set(getattr(full, name))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rates": (0.04, 0.01)}, "at least 1 rates in rising order"),
        ({"gammas": (0.1, 1.0, 10.0)}, "expected gammas to hold those that the rule compares"),
    ],
)
def test_settings_that_would_be_unfair_or_undefined_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)
