"""The experiment of C6, C7 and C8: its rule, its estimands on cases with a known answer, and its fairness."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from bncourse.experiments import depth
from bncourse.experiments.depth import REDUCED, Outcome, Settings, trained, verdicts
from bncourse.experiments.depth.initial import (
    first_to_last,
    gradient_norms,
    growth_per_layer,
    on_digits,
    on_normal,
    shortfall,
)
from bncourse.lab import (
    MLPEnsemble,
    Normalization,
    difference_of_means,
    digits,
    paired_interval,
    ratio_of_geometric_means,
    ratio_of_means,
)
from bncourse.lab.networks import initial_weights
from tests.experiments.common import interval, read_again

pytestmark = pytest.mark.slow

SMALL = Settings(
    depth=3,
    depths=(2, 3),
    trained_depths=(3,),
    width=12,
    normal_widths=(8, 16),
    normal_batches=(8, 12),
    normal_gains=(1.0, 2.0),
    rates=(0.01, 0.1, 1.0),
    tuning_seeds=(1, 2),
    test_seeds=(3, 4, 5),
    steps=30,
)


@pytest.fixture(scope="module")
def small() -> Outcome:
    return depth.run(SMALL)


# The rule -----------------------------------------------------------------------------------------------------------


CLEAR = {
    "sigmoid_made_up": (10, 11),
    "tanh_made_up": (1.3, 1.5),
    "sigmoid_accuracy_difference": (0.5, 0.6),
    "plain_growth": (1.0, 1.01),
    "branch_growth_ratio": (1.6, 1.7),
    "spread_ratio": (1.5, 1.7),
    "initial_saturation_large_gain": (0.1, 0.2),
    "trained_saturation_large_gain": (0.1, 0.2),
    "initial_saturation_usual_gain": (-0.03, -0.02),
    "trained_saturation_usual_gain": (-0.01, 0.01),
}


def outcome(tuned: dict | None = None, scores: dict | None = None, **bounds: tuple[float, float]) -> Outcome:
    """Two seeds at three rates; unless something is changed, every number speaks for its claim."""
    cases = ["sigmoid 20", "tanh 20", "tanh 20 gain 2", "relu 20"]
    plain = {field.name: {} for field in dataclasses.fields(Outcome)}
    return Outcome(
        **{
            **plain,
            "seeds": 2,
            "depth": 20,
            "rates": [0.01, 0.1, 1.0],
            "growth": {"relu plain": {"none": [1.0, 1.0]}},
            "tuned": {case: {"none": 0.1, "batch_norm": 0.1} for case in cases} | (tuned or {}),
            "tuning_accuracy": {case: {"none": [0.5, 0.9, 0.5], "batch_norm": [0.5, 0.9, 0.5]} for case in cases}
            | (scores or {}),
            "estimates": {name: interval(*ends) for name, ends in {**CLEAR, **bounds}.items()},
        }
    )


def answers(of: Outcome) -> dict[str, str]:
    return {verdict.claim: verdict.answer for verdict in verdicts(of)}


def test_clear_numbers_support_all_three_claims():
    assert answers(outcome()) == {"C6": "supported", "C7": "supported", "C8": "supported"}
    assert all(0 <= verdict.p < 0.05 for verdict in verdicts(outcome()))


@pytest.mark.parametrize(
    ("sigmoid", "tanh", "accuracy", "expected"),
    [
        ((1.1, 1.2), (1.1, 1.2), (0.06, 0.07), "supported"),
        ((10, 11), (0.5, 0.6), (0.5, 0.6), "qualified"),
        ((10, 11), (0.5, 0.6), (0.04, 0.06), "qualified"),
        ((10, 11), (0.9, 1.1), (0.5, 0.6), "inconclusive"),
        ((0, 0), (0.5, 0.6), (-0.1, 0.04), "contradicted"),
        ((0, 0), (0.5, 0.6), (0.04, 0.06), "inconclusive"),
    ],
)
def test_vanishing_needs_both_activations_and_training(sigmoid, tanh, accuracy, expected):
    changed = outcome(sigmoid_made_up=sigmoid, tanh_made_up=tanh, sigmoid_accuracy_difference=accuracy)
    assert answers(changed)["C6"] == expected


@pytest.mark.parametrize(
    ("plain", "branches", "spread", "expected"),
    [
        ((0.9, 1.04), (1.06, 1.1), (1.3, 1.4), "supported"),
        ((1.4, 1.5), (1.6, 1.7), (0.9, 1.1), "qualified"),
        ((1.4, 1.5), (1.0, 1.04), (0.9, 1.2), "contradicted"),
        ((1.4, 1.5), (1.0, 1.04), (1.2, 1.3), "inconclusive"),
        ((1.0, 1.1), (1.6, 1.7), (1.3, 1.4), "inconclusive"),
        ((1.0, 1.04), (1.0, 1.04), (1.2, 1.3), "qualified"),
    ],
)
def test_exploding_asks_for_less_growth_and_steadier_updates(plain, branches, spread, expected):
    changed = outcome(plain_growth=plain, branch_growth_ratio=branches, spread_ratio=spread)
    assert answers(changed)["C7"] == expected


@pytest.mark.parametrize(
    ("large", "usual", "expected"),
    [
        ([(0.1, 0.2), (0.1, 0.2)], [(-0.04, -0.03), (-0.04, 0.3)], "supported"),
        ([(0.1, 0.2), (0.1, 0.2)], [(-0.04, -0.03), (-0.2, -0.1)], "qualified"),
        ([(0.1, 0.2), (0.1, 0.2)], [(-0.04, -0.03), (-0.1, 0.0)], "inconclusive"),
        ([(0.1, 0.2), (0.0, 0.04)], [(0.1, 0.2), (0.1, 0.2)], "qualified"),
        ([(0.1, 0.2), (0.0, 0.1)], [(0.0, 0.1), (0.0, 0.1)], "inconclusive"),
        ([(-0.1, 0.04), (0.0, 0.04)], [(0.1, 0.2), (-0.1, 0.2)], "contradicted"),
    ],
    ids=[
        "out of saturation, and no harm",
        "harm with the usual weights",
        "perhaps harm",
        "only at initialization",
        "open after training",
        "never, whatever the usual weights do",
    ],
)
def test_saturation_is_decided_where_units_saturate_and_by_harm_elsewhere(large, usual, expected):
    names = [f"{when}_saturation_{gain}_gain" for gain in ("large", "usual") for when in ("initial", "trained")]
    assert answers(outcome(**dict(zip(names, [*large, *usual], strict=True))))["C8"] == expected


def test_an_edge_of_the_grid_leaves_open_what_was_trained():
    edge = {"none": 0.01, "batch_norm": 0.1}
    assert answers(outcome(tuned={"sigmoid 20": edge})) == {"C6": "inconclusive", "C7": "supported", "C8": "supported"}
    assert answers(outcome(tuned={"relu 20": edge}))["C7"] == "inconclusive"
    assert answers(outcome(tuned={"relu 20": edge}, plain_growth=(1.4, 1.5)))["C7"] == "qualified"
    assert answers(outcome(tuned={"tanh 20 gain 2": edge}))["C8"] == "inconclusive"
    assert answers(outcome(tuned={"tanh 20": edge}))["C8"] == "inconclusive"
    largest = {"none": 0.1, "batch_norm": 1.0}
    assert answers(outcome(tuned={"sigmoid 20": largest}))["C6"] == "inconclusive"


def test_the_best_of_rates_at_which_nothing_trains_may_lie_anywhere():
    edge = {"none": 0.01, "batch_norm": 0.1}
    chance = {"none": [0.11, 0.1, 0.1], "batch_norm": [0.5, 0.9, 0.5]}
    assert answers(outcome(tuned={"sigmoid 20": edge}, scores={"sigmoid 20": chance}))["C6"] == "supported"


def test_a_verdict_carries_all_effects_and_the_p_value_of_those_that_decided():
    vanishing, exploding, saturation = verdicts(outcome(plain_growth=(1.4, 1.5)))
    assert [len(verdict.effects) for verdict in (vanishing, exploding, saturation)] == [3, 3, 4]
    assert vanishing.p == max(effect.p_value() for effect in vanishing.effects)
    plain, branches, spread = (effect.p_value() for effect in exploding.effects)
    assert exploding.p == pytest.approx(3 * max(plain, min(branches, spread)))
    (undecided, *_) = verdicts(outcome(tanh_made_up=(0.9, 1.1)))
    assert undecided.p == 1


# The estimands ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def normal() -> Settings:
    return dataclasses.replace(REDUCED, test_seeds=(1, 2, 3))


def test_gradients_are_those_of_a_linear_network_written_out(normal):
    """Catches norms of something else than the hidden layers' outputs, or in another order."""
    cell = dataclasses.replace(on_normal(normal, "linear plain", "none"), depth=4, width=6, batch_size=5, seeds=(7,))
    generator = np.random.default_rng([7, 3])
    x = generator.standard_normal((5, 6), dtype=np.float32)
    y = generator.integers(10, size=5)
    *hidden, output = (weight[0].double().numpy() for weight in initial_weights((6, 6, 6, 6, 6, 10), (7,), 1.0))
    h = x.T.astype(float)
    for weight in hidden:
        h = weight @ h
    logits = output @ h
    p = np.exp(logits) / np.exp(logits).sum(axis=0)
    g = output.T @ (p - np.eye(10)[y].T) / 5
    norms = [np.linalg.norm(g)]
    for weight in hidden[:0:-1]:
        g = weight.T @ g
        norms.append(np.linalg.norm(g))
    assert gradient_norms(cell)["gradient"][0] == pytest.approx(norms[::-1], rel=1e-4)


def test_ratio_growth_and_shortfall_of_gradients_that_change_by_a_factor():
    layers = np.arange(1, 8)
    gradient = np.stack([3.0 ** (7 - layers), 0.5 ** (7 - layers)])
    assert first_to_last(gradient) == pytest.approx([3.0**6, 0.5**6])
    assert growth_per_layer(gradient) == pytest.approx([9, 0.25])
    assert shortfall(first_to_last(gradient)) == pytest.approx([1, 0.5**6])


def test_a_plain_relu_network_with_batch_norm_grows_as_theory_says(normal):
    """pi/(pi - 1); without batch norm, and with it in a linear network, there is no growth to speak of."""

    def growth(network, arm, **changes):
        gradient = gradient_norms(on_normal(normal, network, arm, **changes))["gradient"]
        assert gradient.shape == (3, 20)
        return float(np.exp(np.log(growth_per_layer(gradient)).mean()))

    assert growth("relu plain", "batch_norm") == pytest.approx(math.pi / (math.pi - 1), rel=0.03)
    assert growth("relu plain", "none") == pytest.approx(1, abs=0.06)
    assert growth("linear plain", "batch_norm") == pytest.approx(1, abs=0.03)
    assert growth("relu plain", "none", gain=2.0) == pytest.approx(4, rel=0.06)
    assert growth("relu plain", "batch_norm", gain=2.0) == pytest.approx(math.pi / (math.pi - 1), rel=0.03)
    assert growth("relu plain", "batch_norm", width=64, batch_size=8) > 1.6
    assert growth("relu pre", "none") == pytest.approx(2, rel=0.06)
    assert 1 < growth("relu pre", "batch_norm") < 1.25


def test_a_sigmoid_divides_the_gradient_by_four_a_layer(normal):
    """Its slope is 1/4 at most, and weights of variance 1 / fan-in keep norms."""
    ratio = first_to_last(gradient_norms(on_digits(normal, "sigmoid", 9, "none"))["gradient"])
    assert np.log(ratio).mean() / 8 == pytest.approx(-math.log(4), rel=0.06)


def test_spread_is_over_layers_and_steps_and_ends_where_a_network_does():
    relative = np.array([[[1e-2, 1e-3], [1e-2, 1e-5]], [[1e-2, 1e-4], [np.nan, np.nan]], [[0.0, 1e-12], [0.0, 0.0]]])
    logs = trained.log_updates(relative)
    assert trained.spread(logs) == pytest.approx([np.std([2, 3, 2, 5]), 1, 0])


def test_saturation_counts_units_beyond_the_threshold_and_diverged_networks_as_a_whole():
    data, seeds = digits(), (1, 2)
    network = MLPEnsemble((64, 9, 9, 10), seeds, Normalization(), activation="tanh", gain=3.0)
    share = trained.saturation(network, data)
    first = torch.einsum("soi,ni->son", network.weights[0].detach().double(), data.validation_x.double())
    first = (first - first.mean(dim=2, keepdim=True)) / (first.var(dim=2, correction=0, keepdim=True) + 1e-5).sqrt()
    expected = (torch.tanh(first).abs() > 0.97).double().mean(dim=(1, 2))
    assert share.shape == (2, 2)
    assert share[:, 0] == pytest.approx(expected.numpy(), abs=1e-3)
    assert 0 < share.min() < share.max() < 0.1
    with torch.no_grad():
        network.weights[1][1] = torch.nan
    assert trained.saturation(network, data)[1] == pytest.approx([1, 1])
    assert trained.saturation(network, data)[0] == pytest.approx(share[0])


# The run ------------------------------------------------------------------------------------------------------------


def test_a_run_ends_in_values_for_every_case_arm_and_seed(small):
    assert [case.name for case in SMALL.cases()] == ["sigmoid 3", "tanh 3", "tanh 3 gain 2", "relu 3"]
    for values in (small.test_accuracy, small.update_spread):
        assert {case: {arm: len(row) for arm, row in arms.items()} for case, arms in values.items()} == {
            case.name: {"none": 3, "batch_norm": 3} for case in SMALL.cases()
        }
    for cases in small.saturated.values():
        assert cases.keys() == {"sigmoid 3", "tanh 3", "tanh 3 gain 2"}
    assert np.shape(small.gradient_ratio["tanh"]["none"]) == (2, 3)
    assert {width: len(row) for width, row in small.growth_by_size.items()} == {"8": 2, "16": 2}
    assert {arm: len(row) for arm, row in small.updates_by_layer.items()} == {"none": 4, "batch_norm": 4}
    assert {arm: len(row) for arm, row in small.saturated_by_layer["trained"]["tanh 3"].items()} == {
        "none": 3,
        "batch_norm": 3,
    }
    assert max(small.test_accuracy["tanh 3"]["batch_norm"]) > 0.5


def test_the_estimates_follow_from_the_values_of_the_seeds(small):
    """Catches a ratio upside down, arms or moments exchanged, and another depth than the registered one."""

    def paired(values, first, second, statistic):
        return paired_interval(np.array(values[first]), np.array(values[second]), statistic)

    expected = {}
    for activation, arms in small.gradient_ratio.items():
        capped = {arm: np.log10(np.minimum(rows[small.depths.index(3)], 1)) for arm, rows in arms.items()}
        expected[f"{activation}_made_up"] = paired(capped, "batch_norm", "none", difference_of_means)
    expected["sigmoid_accuracy_difference"] = paired(
        small.test_accuracy["sigmoid 3"], "batch_norm", "none", difference_of_means
    )
    growth = np.array(small.growth["relu plain"]["batch_norm"])
    expected["plain_growth"] = paired_interval(growth, np.ones(3), ratio_of_geometric_means)
    expected["branch_growth_ratio"] = paired(small.growth["relu pre"], "none", "batch_norm", ratio_of_geometric_means)
    expected["spread_ratio"] = paired(small.update_spread["relu 3"], "none", "batch_norm", ratio_of_means)
    for size, case in (("usual", "tanh 3"), ("large", "tanh 3 gain 2")):
        for when, cases in small.saturated.items():
            expected[f"{when}_saturation_{size}_gain"] = paired(cases[case], "none", "batch_norm", difference_of_means)
    assert small.estimates.keys() == expected.keys() == CLEAR.keys()
    for name, computed in expected.items():
        assert small.estimates[name] == computed, name
    assert small.estimates["initial_saturation_large_gain"].low > 0.05
    assert small.estimates["sigmoid_made_up"].estimate == pytest.approx(2 * math.log10(4), rel=0.15)
    assert small.saturated["trained"]["tanh 3"]["none"] != small.saturated["initial"]["tanh 3"]["none"]
    assert small.growth_by_size["16"][1] == small.growth_by_gain["batch_norm"][0]
    assert small.growth_by_size["16"][1].estimate == pytest.approx(small.estimates["plain_growth"].estimate, rel=1e-5)


def test_processes_and_the_cache_change_nothing(small, tmp_path, monkeypatch):
    monkeypatch.setenv("BNCOURSE_CACHE", str(tmp_path))
    assert depth.run(SMALL, jobs=2, cache=True) == small
    monkeypatch.setattr(trained, "train", None)
    assert depth.run(SMALL, cache=True) == small


def test_rates_are_tuned_without_the_test_seeds(small):
    """Catches a rate that is chosen on the seeds it is scored on."""
    other = depth.run(dataclasses.replace(SMALL, test_seeds=(13, 14)))
    assert (other.tuned, other.tuning_accuracy) == (small.tuned, small.tuning_accuracy)
    assert other.test_accuracy != small.test_accuracy
    for case, arms in small.tuned.items():
        for arm, rate in arms.items():
            assert rate == small.rates[int(np.argmax(small.tuning_accuracy[case][arm]))]


def test_each_rate_is_scored_on_its_own_members(small):
    """Catches rates and seeds in another order than that in which their scores are averaged."""
    alone = depth.run(dataclasses.replace(SMALL, rates=(0.01,)))
    for case, arms in alone.tuning_accuracy.items():
        for arm, (score,) in arms.items():
            assert score == pytest.approx(small.tuning_accuracy[case][arm][0])


def test_the_test_part_is_read_at_the_tuned_rate_only(small, monkeypatch):
    read = []

    def recording_accuracy(network, x, y):
        read.append((network.seeds, len(x)))
        return np.full(len(network.seeds), 0.5)

    monkeypatch.setattr(trained, "accuracy", recording_accuracy)
    depth.run(dataclasses.replace(SMALL, steps=2))
    assert read == [(SMALL.test_seeds, 500)] * 2 * len(SMALL.cases())


def test_a_run_survives_its_record(small, tmp_path):
    assert read_again(depth, SMALL, small, tmp_path) == small


# The settings -------------------------------------------------------------------------------------------------------


def test_the_reduced_run_estimates_the_same():
    """Catches a smaller network or fewer steps, which would change the effects."""
    full = Settings()
    for name in ("depth", "width", "large_gain", "steps", "batch_size", "momentum"):
        assert getattr(REDUCED, name) == getattr(full, name)
    for name in ("normal_widths", "normal_batches"):
        assert getattr(REDUCED, name)[-1] == getattr(full, name)[-1]
    assert set(REDUCED.rates) <= set(full.rates)


def test_settings_that_would_be_unfair_or_undefined_are_refused():
    with pytest.raises(ValueError, match="expected depth 3 among trained_depths"):
        dataclasses.replace(SMALL, trained_depths=(5,))
    with pytest.raises(ValueError, match="rising order"):
        dataclasses.replace(SMALL, rates=(0.1, 0.01))
