"""The experiment of C24: its rule, what it calls stuck, its measures on cases with a known answer, and its fairness."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from bncourse.experiments import landscape
from bncourse.experiments.landscape import REDUCED, Outcome, Settings, along, places, stalls, verdicts
from bncourse.experiments.landscape.downhill import Path, way_down
from bncourse.experiments.landscape.relative import RelativeLandscape
from bncourse.experiments.landscape.settings import EXAMINED, Along, Case, Variant
from bncourse.experiments.landscape.shares import difference_of_shares, share
from bncourse.experiments.landscape.stalls import has_stalled, training_loss, training_part
from bncourse.experiments.landscape.summary import kind
from bncourse.lab import (
    Interval,
    MLPEnsemble,
    Normalization,
    digits,
    measure,
    paired_interval,
    ratio_of_geometric_means,
    train,
)
from bncourse.lab.objective import Batch, losses
from tests.experiments.common import read_again

pytestmark = pytest.mark.slow

RATES = (1e-4, 1e-3)
SMALL = Settings(
    cases=tuple(
        Case(name, activation, depth, width, gain, RATES)
        for name, activation, depth, width, gain in (
            ("sigmoid", "sigmoid", 2, 6, 1.0),
            ("tanh", "tanh", 2, 7, 8.0),
            ("narrow relu", "relu", 2, 5, 1.0),
            ("deep relu", "relu", 3, 6, 1.0),
        )
    ),
    along=Along(width=12, depth=2, variants=(Variant(False), Variant(True), Variant(True, 4.0)), steps=5, every=2),
    tuning_seeds=(1, 2),
    test_seeds=(3, 4, 5),
    steps=4,
    examined=2,
    iterations=12,
)


@pytest.fixture(scope="module")
def small() -> Outcome:
    return landscape.run(SMALL)


# The rule -----------------------------------------------------------------------------------------------------------

CLEAR = {
    "sigmoid difference": (0.8, 1.0),
    "tanh difference": (0.8, 1.0),
    "narrow relu difference": (0.3, 0.7),
    "deep relu difference": (0.2, 0.5),
    "sigmoid stuck": (0.7, 1.0),
    "tanh stuck": (0.7, 1.0),
    "narrow relu stuck": (0.6, 0.9),
}


def outcome(tuned: dict | None = None, scores: dict | None = None, **bounds: tuple[float, float]) -> Outcome:
    """Two seeds at three rates; unless something is changed, every number speaks for the claim."""
    cases = [case.name for case in SMALL.cases]
    ends = CLEAR | {name.replace("_", " "): value for name, value in bounds.items()}
    fields = {field.name: {} for field in dataclasses.fields(Outcome)}
    return Outcome(
        **{
            **fields,
            "seeds": 32,
            "rates": {case: [0.01, 0.1, 1.0] for case in cases},
            "tuning_loss": {case: {"none": [1.5, 1.0, 2.3], "batch_norm": [1.0, 0.1, 2.3]} for case in cases}
            | (scores or {}),
            "tuned": {case: {"none": 0.1, "batch_norm": 0.1} for case in cases} | (tuned or {}),
            "kinds": {case: ["way down"] * 10 for case in EXAMINED},
            "estimates": {name: Interval((low + high) / 2, low, high) for name, (low, high) in ends.items()},
        }
    )


def answer(of: Outcome) -> str:
    (verdict,) = verdicts(of)
    assert verdict.claim == "C24"
    return verdict.answer


def test_seven_clear_numbers_support_the_claim():
    (verdict,) = verdicts(outcome())
    assert (verdict.answer, len(verdict.effects)) == ("supported", 7)
    assert verdict.p == max(effect.p_value() for effect in verdict.effects) < 0.05


NEVER = {name.replace(" ", "_"): (-0.3, 0.05) for name in CLEAR}


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"sigmoid_stuck": (0.0, 0.3)}, "qualified"),
        ({"deep_relu_difference": (-0.6, -0.2)}, "qualified"),
        ({"deep_relu_difference": (-0.6, 0.09)}, "qualified"),
        ({"narrow_relu_difference": (0.05, 0.4)}, "inconclusive"),
        ({"narrow_relu_stuck": (0.3, 0.7)}, "inconclusive"),
        ({"narrow_relu_stuck": (0.3, 0.7), "sigmoid_stuck": (0.0, 0.3)}, "qualified"),
        (NEVER, "contradicted"),
        ({**NEVER, "tanh_stuck": (0.4, 0.8)}, "inconclusive"),
        ({**NEVER, "tanh_difference": (0.2, 0.3)}, "qualified"),
    ],
)
def test_fewer_stalls_and_being_stuck_both_count(bounds, expected):
    assert answer(outcome(**bounds)) == expected


def test_an_edge_of_the_grid_leaves_a_difference_open():
    edge = {"deep relu": {"none": 0.01, "batch_norm": 0.1}}
    assert answer(outcome(tuned=edge)) == "inconclusive"
    assert answer(outcome(tuned={"sigmoid": {"none": 0.1, "batch_norm": 1.0}})) == "inconclusive"
    guessing = {"deep relu": {"none": [2.3, 2.3, 2.3], "batch_norm": [1.0, 0.1, 2.3]}}
    assert answer(outcome(tuned=edge, scores=guessing)) == "supported"
    one_rate = dataclasses.replace(outcome(), rates={case.name: [0.1] for case in SMALL.cases})
    assert answer(one_rate) == "inconclusive"


# What is called stalled, and stuck ----------------------------------------------------------------------------------


def test_a_run_above_the_target_has_stalled_and_so_has_a_diverged_one():
    assert has_stalled(np.array([0.2, 1.5, np.nan, np.inf]), 1.0).tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    ("lowest", "rise", "saturated", "expected"),
    [
        (0.5, 0.0, [0.1, 0.2], "way down"),
        (1.79, 0.019, [0.1, 0.2], "way down"),
        (1.81, 0.0, [0.1, 0.2], "minimum"),
        (0.5, 0.021, [0.1, 0.2], "minimum"),
        (0.5, 0.0, [0.2, 0.9], "saturated"),
        (0.5, 0.0, [0.0, 0.9], "way down"),
        (0.5, 0.0, [0.0, 1.0, 0.0], "saturated"),
    ],
    ids=["free", "just free", "hardly lower", "over a ridge", "on the mean", "one layer nearly", "one layer wholly"],
)
def test_kinds_of_stalled_runs_at_a_loss_of_two(lowest, rise, saturated, expected):
    assert kind(2.0, lowest, rise, np.array(saturated)) == expected


def test_intervals_of_shares_are_those_of_the_textbooks():
    """0.025^(1/10) is the lower end where ten of ten agree; the other numbers are of Agresti's own code."""
    ten = share(np.ones(10, dtype=bool))
    assert (ten.estimate, ten.low, ten.high) == (1, pytest.approx(0.025**0.1), 1)
    assert share(np.arange(4) < 1).low == pytest.approx(1 - 0.975**0.25, rel=1e-6)
    assert share(np.zeros(0, dtype=bool)) == Interval(0.5, 0, 1)
    first, second = np.arange(20) < 12, np.arange(20) % 4 == 0
    found = difference_of_shares(first, second)
    alone, other, count = 9, 2, 22
    half = 1.959964 * math.sqrt(alone + other + 1 - 49 / count) / count
    assert (found.estimate, found.low, found.high) == pytest.approx((0.35, 7 / count - half, 7 / count + half))
    everyone = difference_of_shares(np.ones(32, dtype=bool), np.zeros(32, dtype=bool))
    assert (everyone.estimate, everyone.high) == (1, 1)
    assert 0.8 < everyone.low < 0.9


# A way down ---------------------------------------------------------------------------------------------------------


def test_a_convex_loss_has_a_way_down_until_its_minimum():
    """Softmax regression: the way leads to the same loss from anywhere, never up, and not on from there."""
    network = MLPEnsemble((64, 10), (1, 2), batch_norm=False)
    before = network.weights[0].detach().clone()
    start = training_loss(network)
    for member in (0, 1):
        path = way_down(network, member, 150)
        assert path.losses[0] == pytest.approx(start[member], rel=1e-5)
        assert path.rise == 0
        assert (np.diff(path.losses) < 0).all()
        assert path.losses[-1] < 0.01
    assert torch.equal(network.weights[0], before)


def test_nothing_is_found_where_nothing_can_be():
    """A network whose units are all dead has only its output's biases to learn, and these are soon at their best."""
    network = MLPEnsemble((64, 5, 10), (3,), batch_norm=False)
    with torch.no_grad():
        network.biases[0].fill_(-1e3)
    frequencies = np.bincount(digits().train_y.numpy()) / 1000
    path = way_down(network, 0, 100)
    assert path.losses[-1] == pytest.approx(-(frequencies * np.log(frequencies)).sum(), rel=1e-6)
    assert kind(path.losses[0], path.losses[-1], path.rise, places.saturation(network)[0]) == "saturated"
    assert kind(path.losses[0], path.losses[-1], path.rise, np.zeros(1)) == "minimum"


def test_a_ridge_between_two_corners_is_seen(monkeypatch):
    """Catches a search that looks at corners only, which a long step over a ridge would satisfy."""
    network = MLPEnsemble((64, 4, 10), (1,), batch_norm=False, activation="tanh")
    train(network, digits(), [0.1], 30)
    x, y = training_part(1)
    flat = torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).double().numpy()
    turned = np.concatenate([-flat[: 64 * 4 + 4], *[-flat[64 * 4 + 4 : 64 * 4 + 44], flat[64 * 4 + 44 :]]])

    def one_long_step(_function, start, *, callback, **_):
        callback(turned)

    monkeypatch.setattr("scipy.optimize.minimize", one_long_step)
    path = way_down(network, 0, 1)
    assert path.losses[1] == pytest.approx(path.losses[0], rel=1e-6)

    def loss_at(part):
        other = network.subset([0]).double()
        sizes = [parameter.numel() for parameter in other.parameters()]
        values = torch.split(torch.from_numpy(flat + part * (turned - flat)), sizes)
        with torch.no_grad():
            for parameter, value in zip(other.parameters(), values, strict=True):
                parameter.copy_(value.reshape(parameter.shape))
            return float(losses(other, Batch(x.double(), y)))

    assert path.highest == pytest.approx(max(loss_at(part) for part in (0, 0.25, 0.5, 0.75, 1)), rel=1e-9)
    assert path.rise == pytest.approx(math.log(10) - path.losses[0], abs=0.1)
    assert path.rise > 0.5
    assert Path(np.array([2.0, 1.0]), 2.5).rise == 0.5


# Batch norm switched in ---------------------------------------------------------------------------------------------


def test_batch_norm_can_be_switched_in_without_a_change_of_the_function():
    data, cell = digits(), dataclasses.replace(small_cell(), activation="sigmoid", seeds=(3, 4))
    network = stalls.untrained(cell)
    train(network, data, [0.1, 0.2], 20)
    x, _ = training_part(2)
    with torch.no_grad():
        expected = network(x)
        kept = places.switched(network, stalls.untrained(cell, Normalization()), keep_function=True).train()(x)
        fixed = places.switched(network, stalls.untrained(cell, Normalization(learn_gamma=False)), keep_function=True)
        fixed_logits = fixed.train()(x)
        reset = places.switched(network, stalls.untrained(cell, Normalization()), keep_function=False).train()
        h = reset.layers[0].get_submodule("norm")(network.layers[0].get_submodule("linear")(network.enter(x)))
    assert torch.allclose(kept, expected, atol=1e-4)
    assert torch.allclose(fixed_logits, expected, atol=1e-4)
    assert not [name for name, _ in fixed.named_parameters() if "gamma" in name]
    assert h.mean(dim=2).abs().max() < 1e-5
    assert h.var(dim=2, correction=0).median() == pytest.approx(1, abs=0.01)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(reset.weights, network.weights, strict=True))


def small_cell() -> stalls.Training:
    return stalls.Training("tanh", 2, 7, 1.0, False, (0.1, 0.2), (3, 4), 5, 50, 0.9)


def test_saturation_counts_values_beyond_reach_and_dead_units():
    network = MLPEnsemble((64, 6, 5, 10), (1, 2), batch_norm=False)
    with torch.no_grad():
        network.biases[1][0, :2] = -1e3
    dead = places.saturation(network)
    assert dead[0] == pytest.approx([0, 0.4])
    assert dead[1, 0] == 0
    steep = MLPEnsemble((64, 6, 5, 10), (1, 2), batch_norm=False, activation="tanh", gain=50.0)
    assert places.saturation(steep)[:, 0].min() > 0.8


# The loss along the gradient ----------------------------------------------------------------------------------------


def read_relative(network: MLPEnsemble, lengths: tuple[float, ...], batch: int = 40) -> dict:
    data, members = digits(), len(network.seeds)
    x = data.train_x[: batch * members].reshape(members, batch, -1)
    y = data.train_y[: batch * members].reshape(members, batch)
    return measure(RelativeLandscape(lengths=lengths), network, x, y)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_scale_of_the_weights_is_taken_out_where_the_loss_does_not_see_it(batch_norm):
    """Each layer by a factor of its own: catches a correction by the norm of all weights, which needs one for all."""
    network = MLPEnsemble((64, 9, 8, 7, 10), (1, 2), batch_norm, activation="tanh")
    before = read_relative(network, (0.05, 0.2))
    with torch.no_grad():
        for weight, factor in zip(network.weights[:-1], (0.5, 3.0, 2.0), strict=True):
            weight.mul_(factor)
    after = read_relative(network, (0.05, 0.2))
    for name in ("relative_change", "relative_smoothness"):
        if batch_norm:
            assert after[name] == pytest.approx(before[name], rel=2e-3)
        else:
            assert np.abs(after[name] / before[name] - 1).min() > 0.05


def test_over_a_short_way_smoothness_is_the_length_of_the_hessian_times_the_direction():
    network = MLPEnsemble((64, 6, 5, 10), (1,), batch_norm=True, activation="tanh").double()
    data = digits()
    x, y = data.train_x[:40].double().unsqueeze(0), data.train_y[:40].unsqueeze(0)
    readings = measure(RelativeLandscape(lengths=(1e-6,)), network, x, y)
    network.train()
    norms = [weight.detach().norm() for weight in network.weights[:-1]]
    units = [(w.detach() / n).requires_grad_() for w, n in zip(network.weights[:-1], norms, strict=True)]
    named = dict(zip([f"layers.{layer}.linear.weight" for layer in range(2)], units, strict=True))
    weights = {name: unit * norm for (name, unit), norm in zip(named.items(), norms, strict=True)}
    logits = torch.func.functional_call(network, weights, (x,))
    loss = torch.nn.functional.cross_entropy(logits, y)
    gradient = torch.autograd.grad(loss, units, create_graph=True)
    size = torch.sqrt(sum(part.square().sum() for part in gradient)).detach()
    product = torch.autograd.grad(gradient, units, [part.detach() / size for part in gradient])
    expected = torch.sqrt(sum(part.square().sum() for part in product))
    assert readings["relative_smoothness"][0, 0] == pytest.approx(float(expected), rel=1e-4)
    assert readings["relative_change"][0, 0] == pytest.approx(1e-6 * float(expected / size), rel=1e-4)
    assert readings["falls"][0, 0] == 1


def test_the_loss_along_the_step_is_told_from_the_loss_before_it():
    cell = along.along_cells(SMALL)[1]
    found = along.measure_along(cell)
    assert found["loss"].shape == found["smoothness"].shape == (3, 3)
    assert found["relative_change"].shape == (3, 3, 3)
    assert (found["lowest"] <= found["highest"]).all()
    assert (found["lowest"][:, 0] < 0).all()
    network = MLPEnsemble((64, 12, 12, 10), cell.seeds, batch_norm=True)
    history = train(network, digits(), [cell.rate] * 3, 5, cell.batch_size, cell.momentum)
    assert found["loss"] == pytest.approx(history.batch_loss[:, ::2])


# The run ------------------------------------------------------------------------------------------------------------


def test_a_run_ends_in_values_for_every_case_arm_and_seed(small):
    names = [case.name for case in SMALL.cases]
    assert list(small.final_loss) == list(small.tuned) == names
    assert {len(row) for arms in small.final_loss.values() for row in arms.values()} == {3}
    assert {case: len(kinds) for case, kinds in small.kinds.items()} == dict.fromkeys(EXAMINED, 2)
    for case in EXAMINED:
        place = small.places[case]
        assert {len(values) for values in place.values()} == {2}
        assert place["loss"] == small.final_loss[case]["none"][:2]
        assert {rate: len(row) for rate, row in small.trained_on[case].items()} == {f"{rate:g}": 2 for rate in RATES}
        assert [len(path) for path in small.paths[case]] == [3, 3]
        for path, loss, lowest in zip(small.paths[case], place["loss"], place["lowest"], strict=True):
            assert path[0] == pytest.approx(loss, rel=1e-5)
            assert lowest <= min(value for value in path if value is not None)
    assert set(small.kinds["tanh"]) == {"saturated"}
    assert small.along_steps == [1, 3, 5]
    assert {len(row) for variants in small.along.values() for found in variants.values() for row in found.values()} == {
        3
    }
    assert small.along["relu"].keys() == {"none", "batch_norm", "batch_norm gain 4"}
    assert small.relative["relu"]["none"].keys() == {"0.03", "0.1", "0.3"}


def test_the_estimates_follow_from_the_values(small):
    """Catches arms exchanged, ratios upside down, and a share of the wrong kinds."""
    for case, arms in small.final_loss.items():
        stalled = {arm: np.array(loss) > SMALL.target_loss for arm, loss in arms.items()}
        assert small.estimates[f"{case} difference"] == difference_of_shares(stalled["none"], stalled["batch_norm"])
    for case, kinds in small.kinds.items():
        assert small.estimates[f"{case} stuck"].estimate == np.mean(
            [kind in ("saturated", "minimum") for kind in kinds]
        )
    cells = {(cell.activation, cell.variant.name): along.measure_along(cell) for cell in along.along_cells(SMALL)[:2]}
    none, batch_norm = (cells["relu", arm] for arm in ("none", "batch_norm"))

    def ratio(quantity, *place):
        return paired_interval(
            *(np.exp(np.log(found[quantity][(slice(None), *place)]).mean(axis=1)) for found in (none, batch_norm)),
            ratio_of_geometric_means,
        )

    assert small.estimates["relu smoothness initial"] == ratio("smoothness", slice(0, 1))
    assert small.estimates["relu smoothness trained"] == ratio("smoothness", slice(1, None))
    assert small.estimates["relu relative change trained 0.3"] == ratio("relative_change", slice(1, None), 2)
    first = small.along["relu"]
    assert small.estimates["relu smoothness initial"].estimate == pytest.approx(
        first["none"]["smoothness"][0].estimate / first["batch_norm"]["smoothness"][0].estimate
    )


def test_processes_and_the_cache_change_nothing(small, tmp_path, monkeypatch):
    monkeypatch.setenv("BNCOURSE_CACHE", str(tmp_path))
    assert landscape.run(SMALL, jobs=2, cache=True) == small
    monkeypatch.setattr(stalls, "train", None)
    assert landscape.run(SMALL, cache=True) == small


def test_rates_are_tuned_without_the_test_seeds(small):
    """Catches a rate that is chosen on the seeds it is compared on, and one that is chosen for the largest loss."""
    other = landscape.run(dataclasses.replace(SMALL, test_seeds=(13, 14)))
    assert (other.tuned, other.tuning_loss) == (small.tuned, small.tuning_loss)
    for case, arms in small.tuned.items():
        for arm, rate in arms.items():
            assert rate == small.rates[case][int(np.argmin(small.tuning_loss[case][arm]))]


def test_a_run_survives_its_record(small, tmp_path):
    assert read_again(landscape, SMALL, small, tmp_path) == small


# The settings -------------------------------------------------------------------------------------------------------


def test_the_reduced_run_estimates_the_same():
    """Catches smaller networks or fewer steps, which would change the effects."""
    full = Settings()
    for name in ("steps", "batch_size", "momentum", "target_loss"):
        assert getattr(REDUCED, name) == getattr(full, name)
    for small_case, case in zip(REDUCED.cases, full.cases, strict=True):
        assert dataclasses.replace(small_case, rates=case.rates) == case
        assert set(small_case.rates) <= set(case.rates)
    assert full.target_loss == pytest.approx(math.log(10) / 2)


def test_settings_that_would_be_unfair_are_refused():
    with pytest.raises(ValueError, match="in rising order"):
        dataclasses.replace(SMALL, cases=(Case("sigmoid", "sigmoid", 2, 6, 1.0, (0.1, 0.01)),))
