"""The experiment of C11: its rule, its estimands on cases with a known answer, and its fairness."""

import dataclasses

import numpy as np
import pytest
import torch

from bncourse.experiments import batch_size
from bncourse.experiments.batch_size import REDUCED, Budget, Outcome, Settings, noise, training, verdicts
from bncourse.experiments.batch_size.noise import noise_of, predicted_noise
from bncourse.experiments.design import ARMS
from bncourse.lab import (
    Interval,
    MLPEnsemble,
    accuracy,
    difference_of_means,
    digits,
    mean_interval,
    paired_interval,
    take_statistics,
    train,
)
from tests.experiments.common import interval, read_again

pytestmark = pytest.mark.slow

SMALL = Settings(
    hidden=(10, 10),
    batch_sizes=(10, 20, 250),
    budgets=(Budget(1, "epochs"), Budget(20, "updates")),
    rates=(0.01, 0.1, 1.0),
    noise_budget=Budget(1, "epochs"),
    draws=6,
    tuning_seeds=(1, 2),
    test_seeds=(3, 4, 5),
)


@pytest.fixture(scope="module")
def small() -> Outcome:
    return batch_size.run(SMALL)


# The rule -----------------------------------------------------------------------------------------------------------

BUDGETS = [budget.name for budget in Settings().budgets]
GROWS, STAYS, UNCLEAR = (3.0, 4.0), (0.9, 1.2), (1.8, 2.2)
MORE, LESS, ACROSS = (2.0, 5.0), (-4.0, 0.5), (0.5, 1.5)


def outcome(noises: dict, points: dict, rates: dict | None = None) -> Outcome:
    """Three rates, eight seeds; differences in points. Other arms, sizes and kinds say the opposite."""
    plain = {field.name: {} for field in dataclasses.fields(Outcome)}
    middle = {"2": 1.0, "20": 0.1, "250": 0.1}
    return Outcome(
        **{
            **plain,
            "seeds": 8,
            "rates": [0.01, 0.1, 1.0],
            "tuned": {
                budget: {"none": {"20": 0.01, "250": 1.0}, "batch_norm": middle | (rates or {}).get(budget, {})}
                for budget in BUDGETS
            },
            "noise_ratio": {"variance": interval(1, 1.5)} | {kind: interval(*ends) for kind, ends in noises.items()},
            "difference": {
                budget: {
                    "none": Interval(0.0, -1.0, 1.0),
                    "batch_norm": Interval((low + high) / 200, low / 100, high / 100),
                }
                for budget, (low, high) in points.items()
            },
        }
    )


def answer(of: Outcome) -> str:
    (verdict,) = verdicts(of)
    assert verdict.claim == "C11"
    assert len(verdict.effects) == 6
    return verdict.answer


@pytest.mark.parametrize(
    ("noises", "points", "changed", "expected"),
    [
        (GROWS, MORE, {}, "supported"),
        (GROWS, MORE, {"80 updates": ACROSS}, "inconclusive"),
        (GROWS, MORE, {"20 updates": LESS, "80 updates": LESS}, "qualified"),
        (GROWS, LESS, {}, "qualified"),
        (STAYS, LESS, {}, "contradicted"),
        (UNCLEAR, LESS, {}, "inconclusive"),
    ],
)
def test_both_halves_of_the_claim_count(noises, points, changed, expected):
    kinds = dict.fromkeys(("mean", "value"), noises)
    assert answer(outcome(kinds, dict.fromkeys(BUDGETS, points) | changed)) == expected


def test_one_kind_of_noise_that_does_not_grow_is_enough_for_a_qualification():
    assert answer(outcome({"mean": STAYS, "value": GROWS}, dict.fromkeys(BUDGETS, MORE))) == "qualified"


@pytest.mark.parametrize("rates", [{"20": 0.01}, {"250": 1.0}])
def test_a_rate_at_the_edge_leaves_its_difference_open(rates):
    """Rates of other sizes and of the arm without batch norm are at edges throughout, and do not matter."""
    kinds = dict.fromkeys(("mean", "value"), GROWS)
    points = dict.fromkeys(BUDGETS, MORE)
    assert answer(outcome(kinds, points, {"1 epoch": rates})) == "inconclusive"
    assert answer(outcome(kinds, points | {"1 epoch": LESS}, {"1 epoch": rates})) == "inconclusive"
    assert answer(outcome(kinds, points | {"4 epochs": LESS}, {"1 epoch": rates})) == "qualified"


# The estimands ------------------------------------------------------------------------------------------------------


def test_predicted_noise_is_that_of_draws_without_replacement():
    """Every pair out of five numbers: an exact enumeration."""
    values = np.array([0.3, -1.0, 2.0, 5.5, 0.1])
    pairs = [(values[i] + values[j]) / 2 for i in range(5) for j in range(i)]
    assert np.std(pairs) == pytest.approx(predicted_noise(2, 5) * values.std())


def test_noise_of_the_first_layer_is_as_predicted_and_that_of_values_adds_up_with_depth():
    """Catches noise in wrong units or over the wrong axis, and statistics of inference, which do not change."""
    network = MLPEnsemble((64, 16, 16, 10), (1, 2, 3), True)
    x = digits().train_x
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = {size: noise_of(network, x, size, 60) for size in (10, 250)}
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in state.items())
    for size, kinds in found.items():
        assert kinds["mean"].shape == (3, 2)
        assert kinds["mean"][:, 0].mean() == pytest.approx(predicted_noise(size, 1000), rel=0.1)
        assert (kinds["mean"][:, 1] < kinds["mean"][:, 0] / 2).all()
        assert (kinds["value"][:, 1] > kinds["value"][:, 0]).all()
    # Offset and scale: a variance 1/B, and for values near a normal distribution half of that again.
    assert found[250]["value"][:, 0].mean() == pytest.approx(1.5**0.5 * predicted_noise(250, 1000), rel=0.15)
    assert found[10]["variance"].mean() == pytest.approx((2 / 9) ** 0.5, rel=0.25)


def test_noise_is_that_of_its_definition():
    """The first layer again, unit by unit, without hooks."""
    network = MLPEnsemble((64, 3, 10), (7,), True)
    x = digits().train_x[:40]
    found = noise_of(network, x, 8, 5)
    h = (network.weights[0][0] @ x.T).detach().double().numpy()
    generator = np.random.default_rng([7, noise.STREAM, 8])
    batches = [h[:, generator.choice(40, 8, replace=False)] for _ in range(5)]
    means, variances = (
        np.array([f(each) for each in batches]) for f in (lambda b: b.mean(1), lambda b: b.var(1, ddof=1))
    )
    typical = variances.mean(axis=0)
    assert found["mean"][0, 0] == pytest.approx(np.sqrt((means.var(axis=0, ddof=1) / typical).mean()), rel=1e-4)
    assert found["variance"][0, 0] == pytest.approx(
        np.sqrt((variances.var(axis=0, ddof=1) / typical**2).mean()), rel=1e-4
    )


def test_a_budget_of_epochs_is_one_of_images():
    assert [Budget(4, "epochs").steps(size) for size in (2, 20, 250)] == [2000, 200, 16]
    assert Budget(20, "updates").steps(2) == 20
    assert [Budget(1, "epochs").name, Budget(4, "epochs").name] == ["1 epoch", "4 epochs"]
    assert len(digits().train_x) == batch_size.settings.EXAMPLES


# The run ------------------------------------------------------------------------------------------------------------


def test_estimates_follow_from_the_values_of_the_seeds(small):
    """Catches a difference upside down, arms, sizes or budgets exchanged, and scores of the tuning seeds."""
    for budget, of_arm in small.test_accuracy.items():
        gains = {arm: np.array(of_size["20"]) - np.array(of_size["250"]) for arm, of_size in of_arm.items()}
        for arm, gain in gains.items():
            assert small.difference[budget][arm].estimate == pytest.approx(gain.mean())
            assert small.difference[budget][arm].low == pytest.approx(mean_interval(gain).low, abs=1e-6)
        expected = paired_interval(gains["batch_norm"], gains["none"], difference_of_means)
        assert small.own_part[budget].estimate == pytest.approx(expected.estimate)
    assert small.difference["1 epoch"]["none"].estimate > 0.1
    assert small.difference["20 updates"]["none"].estimate < 0


def test_scores_are_those_of_the_batch_size_and_the_steps_of_the_budget(small):
    data = digits()
    for budget, arm, size, steps in (("1 epoch", "none", 10, 100), ("20 updates", "batch_norm", 250, 20)):

        def trained(rate, seeds, arm=arm, size=size, steps=steps):
            network = MLPEnsemble((64, 10, 10, 10), seeds, ARMS[arm])
            train(network, data, [rate] * len(seeds), steps, size, evaluate_every=steps)
            take_statistics(network, data.train_x)
            return network

        rate = small.tuned[budget][arm][str(size)]
        expected = accuracy(trained(rate, (4,)), data.test_x, data.test_y)[0]
        assert small.test_accuracy[budget][arm][str(size)][1] == pytest.approx(expected, abs=5e-3)
        means = [accuracy(trained(each, (1, 2)), data.validation_x, data.validation_y).mean() for each in SMALL.rates]
        assert rate == SMALL.rates[int(np.argmax(means))]


def test_noise_is_compared_layer_by_layer_in_trained_networks(small):
    """Catches a ratio upside down, other sizes, and networks that were not trained."""
    network = MLPEnsemble((64, 10, 10, 10), SMALL.test_seeds, True)
    untrained = {size: noise_of(network, digits().train_x, size, SMALL.draws) for size in (20, 250)}
    for kind in noise.KINDS:
        assert small.noise[kind]["20"][1].estimate != pytest.approx(untrained[20][kind][:, 1].mean(), rel=1e-3)
        ratios = [
            small.noise[kind]["20"][layer].estimate / small.noise[kind]["250"][layer].estimate for layer in (0, 1)
        ]
        assert small.noise_ratio[kind].estimate == pytest.approx(np.prod(ratios) ** 0.5, rel=0.05)
        assert 2.5 < small.noise_ratio[kind].estimate < 6


def test_tuning_sees_neither_the_test_seeds_nor_the_test_part(small, monkeypatch):
    """Catches a rate that is chosen on what it is scored on."""
    read = []

    def recording_accuracy(network, x, y):
        read.append((network.seeds[-1] in (13, 14), len(x)))
        return accuracy(network, x, y)

    monkeypatch.setattr(training, "accuracy", recording_accuracy)
    other = batch_size.run(dataclasses.replace(SMALL, test_seeds=(13, 14)))
    assert other.tuned == small.tuned
    assert set(read) == {(False, 297), (True, 500)}
    assert read.count((True, 500)) == 2 * 2 * 3


def test_processes_and_the_cache_change_nothing(small, tmp_path, monkeypatch):
    monkeypatch.setenv("BNCOURSE_CACHE", str(tmp_path))
    assert batch_size.run(SMALL, jobs=2, cache=True) == small
    monkeypatch.setattr(training, "train", None)
    assert batch_size.run(SMALL, cache=True) == small


def test_a_run_survives_its_record(small, tmp_path):
    assert read_again(batch_size, SMALL, small, tmp_path) == small


# The settings -------------------------------------------------------------------------------------------------------


def test_the_reduced_run_estimates_the_same():
    """Catches another network, other budgets or a noise measured in networks trained otherwise."""
    full = Settings()
    for name in ("hidden", "budgets", "momentum", "noise_budget", "noise_batch_size"):
        assert getattr(REDUCED, name) == getattr(full, name)
    for name in ("batch_sizes", "rates", "arms"):
        assert set(getattr(REDUCED, name)) <= set(getattr(full, name))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rates": (0.1, 0.01)}, "rates in rising order"),
        ({"batch_sizes": (16, 20, 250)}, "that divide 1000"),
        ({"batch_sizes": (10, 20)}, "20 and 250 among them"),
        ({"batch_sizes": (1, 20, 250)}, "2 at least"),
    ],
)
def test_settings_that_would_be_unfair_or_undefined_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)
