"""The experiment of C13: its rule, its estimands on cases with a known answer, and its fairness."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from bncourse.experiments import dropout
from bncourse.experiments.dropout import REDUCED, Outcome, Settings, measure, variances, verdicts
from bncourse.experiments.dropout.measure import choose
from bncourse.experiments.dropout.settings import ALONE, ARMS, ORDERS, build
from bncourse.experiments.dropout.shift import shifts
from bncourse.lab import (
    MLPEnsemble,
    accuracy,
    clusters,
    difference_of_means,
    paired_interval,
    take_statistics,
    train,
)
from tests.experiments.common import interval, read_again

SMALL = Settings(
    hidden=(16, 16),
    rates=(0.01, 0.1, 0.3),
    shares=(0.05, 0.3),
    steps=60,
    tuning_seeds=(1, 2),
    test_seeds=(3, 4, 5),
    shift_hidden=(16, 16, 16),
    shift_shares=(0.5,),
)
BEFORE, AFTER = ("dropout", "norm", "activation"), ("norm", "activation", "dropout")


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def small(cache) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BNCOURSE_CACHE", cache)
        return dropout.run(SMALL, cache=True)


# The rule -----------------------------------------------------------------------------------------------------------


def outcome(gains: dict[str, tuple[float, float]], chosen: dict[str, list[float]] | None = None) -> Outcome:
    """Three rates and three shares, 24 seeds; gains over dropout in points, over batch norm always large."""
    plain = {field.name: {} for field in dataclasses.fields(Outcome)}
    ways = {arm: [0.1, 0.2] for arm in ARMS} | {"none": [0.1, 0.0], "batch_norm": [0.1, 0.0]}
    parts = {
        "seeds": 24,
        "rates": [0.01, 0.1, 1.0],
        "shares": [0.1, 0.2, 0.4],
        "chosen": {**ways, **(chosen or {})},
        "better_alone": "dropout",
        "gains": {
            order: {"dropout": interval(low / 100, high / 100), "batch_norm": interval(0.08, 0.09)}
            for order, (low, high) in gains.items()
        },
    }
    return Outcome(**{**plain, **parts})


def gains(before: tuple[float, float], after: tuple[float, float], last: tuple[float, float]) -> dict:
    return {"before": before, "after": after, "last": last}


MIXED = gains((-4.0, -2.0), (1.5, 2.0), (0.5, 0.9))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (gains((1.5, 2.0), (1.1, 3.0), (2.0, 4.0)), "supported"),
        (MIXED, "qualified"),
        (gains((-4.0, -2.0), (0.0, 0.9), (-0.5, 0.5)), "contradicted"),
        (gains((0.5, 1.5), (1.5, 2.0), (2.0, 4.0)), "inconclusive"),
        (gains((0.5, 1.5), (0.0, 0.9), (-0.5, 0.5)), "inconclusive"),
    ],
)
def test_the_verdict_counts_every_order_against_one_point(found, expected):
    (verdict,) = verdicts(outcome(found))
    assert (verdict.claim, verdict.answer) == ("C13", expected)
    assert verdict.p == 1 if expected == "inconclusive" else verdict.p < 0.05
    assert [effect.low for effect in verdict.effects] == pytest.approx([found[order][0] for order in ORDERS])
    assert "add to dropout, the better" in verdict.reason


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"after": [1.0, 0.2]}, "inconclusive"),
        ({"after": [0.1, 0.4]}, "inconclusive"),
        ({"batch_norm": [1.0, 0.0]}, "inconclusive"),
        ({"dropout": [0.1, 0.4]}, "inconclusive"),
        ({"after": [0.1, 0.1], "dropout": [0.1, 0.1], "none": [1.0, 0.0]}, "qualified"),
    ],
    ids=["rate", "share", "rate alone", "share alone", "smallest share"],
)
def test_a_choice_at_the_edge_leaves_its_gain_open(chosen, expected):
    """Of one order that order's, of one of the two alone all three; the smallest share, and none, are no edge."""
    (verdict,) = verdicts(outcome(MIXED, chosen))
    assert verdict.answer == expected
    assert ("edge" in verdict.reason) == (expected != "qualified")


def test_an_edge_of_one_order_leaves_the_others_counted():
    """Catches an edge of one order that opens all of them."""
    (verdict,) = verdicts(outcome(MIXED, {"last": [1.0, 0.2]}))
    assert verdict.answer == "qualified"


# The networks -------------------------------------------------------------------------------------------------------


def test_the_orders_differ_in_where_dropout_stands():
    def steps(arm: str) -> list[list[str]]:
        network = build(arm, SMALL.shares_of(arm)[-1], (20, 8, 8, 10), (1,))
        return [[name for name, _ in layer.named_children()] for layer in network.layers]

    assert steps("before") == [["linear", "dropout", "norm", "activation"]] * 2
    assert steps("after") == [["linear", "norm", "activation", "dropout"]] * 2
    assert steps("last") == [["linear", "norm", "activation"], ["linear", "norm", "activation", "dropout"]]
    assert steps("dropout") == [["linear", "activation", "dropout"]] * 2
    assert steps("batch_norm") == [["linear", "norm", "activation"]] * 2
    assert steps("none") == [["linear", "activation"]] * 2
    biases = {arm: len(build(arm, SMALL.shares_of(arm)[-1], (20, 8, 8, 10), (1,)).biases) for arm in ARMS}
    assert biases == {"none": 3, "dropout": 3, "batch_norm": 1, "before": 1, "after": 1, "last": 1}


def test_the_rate_and_the_share_of_the_best_mean_are_chosen():
    """Catches the axes exchanged, and a share for the arm that has none."""
    assert choose(SMALL, "after", np.array([[0.5, 0.6, 0.3], [0.9, 0.2, 0.1]])) == (0.01, 0.3)
    assert choose(SMALL, "batch_norm", np.array([[0.5, 0.4, 0.6]])) == (0.3, 0.0)


# The shift ----------------------------------------------------------------------------------------------------------


def off_centre(points: int = 300) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(points, 5, generator=generator) * torch.tensor([0.5, 1, 2, 1, 1]) + torch.arange(5) / 2


def one_layer(order: tuple[str, ...], p: float) -> MLPEnsemble:
    return MLPEnsemble((5, 7, 3), (1, 2), True, order=order, dropout=p, bias=False)


@pytest.mark.parametrize(("order", "layers"), [(BEFORE, 1), (("activation", "dropout", "norm"), 1), (AFTER, 2)])
def test_the_own_shift_is_that_of_simulated_dropout(order, layers):
    """In NumPy, with 3000 draws: catches a missing mean, weights that are not squared, and 1/p for 1/(1 - p)."""
    p, x = 0.3, off_centre()
    network = MLPEnsemble((5, *(7,) * layers, 3), (1,), True, order=order, dropout=[p, 0][:layers], bias=False)
    take_statistics(network, x)
    first, *others = (weight[0].detach().double().numpy() for weight in network.weights[:-1])
    h = x.numpy() @ first.T
    if layers == 2:
        h = (h - h.mean(axis=0)) / h.std(axis=0)
    if order != BEFORE:
        h = np.maximum(h, 0)
    masks = np.random.default_rng(0).random((3000, *h.shape)) >= p
    training = h * masks / (1 - p)
    for weight in others:
        h, training = h @ weight.T, training @ weight.T
    expected = training.var(axis=(0, 1)) / h.var(axis=0)
    assert shifts(network, x)[-1].own[0] == pytest.approx(expected, rel=0.03)
    assert np.ptp(expected) > 0.1


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_the_own_shift_has_the_stated_form(p):
    x = off_centre()
    h = x.double() @ one_layer(BEFORE, p).weights[0].detach().double().transpose(1, 2)
    ratio = h.mean(dim=1) ** 2 / h.var(dim=1, correction=0)
    expected = 1 / (1 - p) + p / (1 - p) * ratio
    assert shifts(one_layer(BEFORE, p), x)[0].own == pytest.approx(expected.numpy(), rel=1e-5)
    centred = shifts(one_layer(BEFORE, p), x - x.mean(dim=0))[0].own
    assert centred == pytest.approx(np.full((2, 7), 1 / (1 - p)), rel=1e-5)
    normal = torch.randn(40_000, 5, generator=torch.Generator().manual_seed(3))
    relu = shifts(one_layer(("activation", "dropout", "norm"), p), normal)[0].own
    assert relu == pytest.approx(np.full((2, 7), (1 + p / (math.pi - 1)) / (1 - p)), rel=0.04)


def test_without_dropout_before_it_no_batch_norm_shifts():
    for arm, share in (("batch_norm", 0.0), ("last", 0.5)):
        layers = shifts(build(arm, share, (5, 7, 6, 3), (1,)), off_centre())
        assert [np.abs(layer.own - 1).max() for layer in layers] == [0, 0]
    first, second = shifts(build("after", 0.5, (5, 7, 6, 3), (1,)), off_centre())
    assert first.own.max() == 1 < second.own.min()


def test_no_prediction_goes_through_an_activation():
    with pytest.raises(ValueError, match="expected batch norm between dropout and the next activation"):
        shifts(one_layer(("dropout", "activation", "norm"), 0.5), off_centre())


def test_measured_is_the_running_variance_by_that_in_inference():
    network, x = one_layer(AFTER, 0.0), off_centre()
    network.layers[0].norm.running_var.fill_(3.0)
    h = x @ network.weights[0].detach().transpose(1, 2)
    assert shifts(network, x)[0].measured == pytest.approx((3 / h.var(dim=1)).numpy(), rel=1e-4)


def test_statistics_taken_anew_leave_no_shift():
    """What is left is that they are biased. Catches layers that were read before those below them were put right."""
    network, x = build("before", 0.5, (5, 7, 6, 3), (1, 2)), off_centre()
    network.train()
    for _ in range(30):
        network(x.expand(2, *x.shape))
    assert shifts(network, x)[0].measured.mean() > 1.5
    take_statistics(network, x)
    for layer in shifts(network, x):
        assert layer.measured == pytest.approx(np.full_like(layer.measured, 1 - 1 / len(x)), rel=1e-4)


# The run ------------------------------------------------------------------------------------------------------------


def test_the_gains_follow_from_the_values_of_the_seeds(small):
    """Catches a difference upside down, arms exchanged, and the worse of the two alone."""
    means = {alone: np.max(small.tuning_accuracy[alone]) for alone in ALONE}
    assert small.better_alone == max(means, key=means.get)
    scores = {arm: np.array(values) for arm, values in small.test_accuracy.items()}
    for order in ORDERS:
        for alone in ALONE:
            expected = paired_interval(scores[order], scores[alone], difference_of_means)
            assert vars(small.gains[order][alone]) == pytest.approx(vars(expected), abs=1e-5)
    assert {len(values) for values in scores.values()} == {3}


@pytest.mark.parametrize("arm", ["none", "before", "last"])
def test_every_arm_is_scored_on_its_own_members(small, arm):
    """Catches rates, shares and seeds in another order than that in which their scores are stored."""
    data, (rate, share) = clusters(), small.chosen[arm]
    network = build(arm, share, (20, 16, 16, 10), (4,))
    train(network, data, [rate], 60, 64, evaluate_every=60)
    assert small.test_accuracy[arm][1] == pytest.approx(accuracy(network, data.test_x, data.test_y)[0], abs=1e-5)
    network = build(arm, share, (20, 16, 16, 10), (1, 2))
    history = train(network, data, [0.3] * 2, 60, 64, evaluate_every=60)
    row = SMALL.shares_of(arm).index(share)
    assert small.tuning_accuracy[arm][row][2] == pytest.approx(history.validation_accuracy.mean(), abs=1e-4)


def test_variances_shift_where_dropout_comes_before_batch_norm(small):
    measured, own = (
        {order: [layer.estimate for layer in small.shift[order][name][0]] for order in ORDERS}
        for name in ("measured", "own")
    )
    assert measured["before"][0] == pytest.approx(2, rel=0.1)
    assert measured["before"][1] > own["before"][1] > 2
    assert measured["after"][0] == pytest.approx(1, rel=0.1)
    assert measured["after"][1] > 1.3
    assert measured["last"] == pytest.approx([1, 1, 1], rel=0.15)
    assert (own["after"][0], own["last"]) == (1, [1, 1, 1])
    for each in small.reestimated.values():
        cost = each["anew"][0].estimate - each["running"][0].estimate
        assert each["cost"][0].estimate == pytest.approx(cost)


def test_a_run_that_is_made_again_comes_from_the_cache(small, cache, monkeypatch):
    """Catches training that goes past the cache, so that an interrupted run starts anew."""
    monkeypatch.setenv("BNCOURSE_CACHE", cache)
    for module in (measure, variances):
        monkeypatch.setattr(module, "train", None)
    assert dropout.run(SMALL, cache=True) == small


def test_choices_are_made_without_the_test_seeds_and_the_test_part(small):
    """Catches a rate or a share that is chosen on what it is scored on."""
    cells = []

    def spread_out(function, asked):
        cells.extend(asked)
        return [function(cell) if cell.part == "validation" else {"accuracy": np.full(2, 0.5)} for cell in asked]

    found = measure.measure_accuracies(dataclasses.replace(SMALL, test_seeds=(13, 14)), spread_out)
    assert (found["chosen"], found["tuning_accuracy"]) == (small.chosen, small.tuning_accuracy)
    assert {(cell.part, *sorted(set(cell.seeds))) for cell in cells} == {("validation", 1, 2), ("test", 13, 14)}
    assert sum(cell.part == "test" for cell in cells) == len(ARMS)


def test_a_run_survives_its_record(small, tmp_path):
    assert read_again(dropout, SMALL, small, tmp_path) == small


# The settings -------------------------------------------------------------------------------------------------------


def test_the_reduced_run_estimates_the_same():
    """Catches a smaller network, and a rate or a share that the full run does not try."""
    full = Settings()
    for name in ("hidden", "momentum", "batch_size"):
        assert getattr(REDUCED, name) == getattr(full, name)
    assert set(REDUCED.rates) <= set(full.rates)
    assert set(REDUCED.shares) <= set(full.shares)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shares": (0.0, 0.1)}, "expected shares above 0"),
        ({"rates": (0.04, 0.01)}, "expected at least 1 rates in rising order"),
        ({"arms": ("none", "before")}, "expected arms batch_norm, dropout"),
    ],
)
def test_settings_that_would_be_unfair_or_undefined_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)
