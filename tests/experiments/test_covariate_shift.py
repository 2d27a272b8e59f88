"""The experiment of C1: its rule, its measures and its noise on cases with a known answer, and its fairness."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from bncourse.experiments import covariate_shift
from bncourse.experiments.covariate_shift import REDUCED, Outcome, Settings, training, verdicts
from bncourse.experiments.covariate_shift.measure import match
from bncourse.experiments.covariate_shift.noise import SwingingNoise, swing
from bncourse.experiments.covariate_shift.settings import NONE, Case
from bncourse.experiments.covariate_shift.shift import UnitMoments, change_by_layer, drift, while_learning
from bncourse.lab import (
    Interval,
    MLPEnsemble,
    Normalization,
    Perturbation,
    Trace,
    digits,
    measure,
    paired_interval,
    ratio_of_geometric_means,
    ratio_of_means,
    train,
)
from tests.experiments.common import read_again

SMALL = Settings(
    cases=(
        Case("relu", 2, 20, rates=(0.01, 0.1), jumping=(0.01, 0.5), swinging=(0.01, 1.0)),
        Case("sigmoid", 2, 24, rates=(0.1,), jumping=(0.5,), swinging=(1.0,)),
    ),
    width=12,
    tuning_seeds=(1, 2),
    test_seeds=(3, 4, 5),
    target_loss=1.8,
    curve_steps=20,
)


@pytest.fixture(scope="module")
def small() -> Outcome:
    return covariate_shift.run(SMALL)


# The rule -----------------------------------------------------------------------------------------------------------


FOR = {
    "change tuned": (0.5, 0.6),
    "change shared": (0.4, 0.7),
    "gain": (1.5, 1.7),
    "gain left jumping": (0.9, 1.1),
    "gain left swinging": (0.5, 1.2),
    "cost of change": (1.5, 1.7),
    "drift jumping 1": (1.1, 1.2),
    "drift jumping 10": (0.1, 0.2),
    "drift swinging 1": (1.1, 1.2),
    "drift swinging 10": (1.2, 1.3),
}
AGAINST = {
    "change tuned": (1.0, 1.2),
    "change shared": (0.9, 1.0),
    "gain left jumping": (1.3, 1.4),
    "gain left swinging": (1.4, 1.6),
    "cost of change": (0.9, 1.2),
}
NUMBERS = list(AGAINST)


def outcome(relu: dict | None = None, sigmoid: dict | None = None, tuned: dict | None = None) -> Outcome:
    """Every number speaks for the claim, unless something is changed."""
    plain = {field.name: {} for field in dataclasses.fields(Outcome)}
    rates = dict.fromkeys(("none", "batch_norm", "jumping 0.1", "swinging 1", "frozen 1"), 0.1)
    changes = {"relu 5": relu or {}, "sigmoid 3": sigmoid or {}}
    return Outcome(
        **{
            **plain,
            "seeds": 2,
            "lags": [1, 10],
            "rates": {case: [0.01, 0.1, 1.0] for case in changes},
            "matched": {case: {"jumping": 0.1, "swinging": 1.0} for case in changes},
            "tuned": {case: {**rates, "jumping 9": 1.0, **(tuned or {})} for case in changes},
            "estimates": {
                case: {
                    name: Interval(math.sqrt(low * high), low, high) for name, (low, high) in {**FOR, **changed}.items()
                }
                for case, changed in changes.items()
            },
        }
    )


def answer(of: Outcome) -> str:
    (verdict,) = verdicts(of)
    assert verdict.claim == "C1"
    assert len(verdict.effects) == 2 * len(NUMBERS)
    return verdict.answer


def test_all_numbers_decide_together():
    assert answer(outcome()) == "supported"
    assert answer(outcome(AGAINST, AGAINST)) == "contradicted"
    assert answer(outcome(AGAINST)) == "qualified"


@pytest.mark.parametrize("name", NUMBERS)
def test_each_number_counts(name):
    """Catches a number that is left out, and a threshold on the wrong side."""
    assert answer(outcome({name: AGAINST[name]})) == "qualified"
    across = (0.7, 0.9) if name.startswith("change ") else (1.2, 1.3)
    assert answer(outcome({name: across})) == "inconclusive"
    assert answer(outcome(AGAINST, {**AGAINST, name: across})) == "inconclusive"


@pytest.mark.parametrize(
    ("changed", "open_numbers"),
    [
        ({"gain": (1.2, 1.7)}, ["gain left jumping", "gain left swinging"]),
        ({"drift jumping 1": (0.9, 1.2)}, ["gain left jumping"]),
        ({"drift jumping 10": (0.9, 1.2)}, []),
        ({"drift swinging 10": (0.9, 1.2)}, ["gain left swinging", "cost of change"]),
        ({"drift swinging 1": (0.9, 1.2)}, ["gain left swinging", "cost of change"]),
    ],
)
def test_without_a_gain_or_without_enough_shift_the_trial_by_noise_is_open(changed, open_numbers):
    """An open number neither supports nor, where all others speak against the claim, keeps it from 'qualified'."""
    assert (answer(outcome(changed)) == "supported") == (not open_numbers)
    for name in NUMBERS:
        others_against = {**AGAINST, **changed, name: FOR[name]}
        expected = "inconclusive" if name in open_numbers else "qualified"
        assert answer(outcome(others_against, AGAINST)) == expected, name


@pytest.mark.parametrize("arm", ["none", "batch_norm", "jumping 0.1", "swinging 1", "frozen 1"])
def test_a_rate_at_the_edge_leaves_open_what_rests_on_it(arm):
    assert answer(outcome(tuned={arm: 0.01})) == "inconclusive"
    assert answer(outcome(tuned={arm: 1.0})) == "inconclusive"


def test_the_matched_noise_is_the_smallest_that_moves_enough():
    """Catches a match on one lag alone, and one that ignores the margin."""
    case = Case("relu", 5, 10, rates=(0.1,), jumping=(1, 2, 3), swinging=(1, 2, 3, 4))
    moved = {
        "none": {1: 0.10, 10: 1.0},
        **{f"jumping {size}": {1: drifted, 10: 0.2} for size, drifted in ((1, 0.09), (2, 0.105), (3, 0.2))},
        **{
            f"swinging {size}": {1: one, 10: ten}
            for size, one, ten in ((1, 0.2, 0.9), (2, 0.105, 2.0), (3, 0.111, 1.2), (4, 0.3, 3.0))
        },
    }
    assert match(case, moved, Settings()) == {"jumping": 3, "swinging": 3}
    assert match(case, {**moved, "none": {1: 9.0, 10: 9.0}}, Settings()) == {"jumping": 3, "swinging": 4}


# The measures -------------------------------------------------------------------------------------------------------


def test_drift_is_the_distance_of_the_means_by_the_length_of_the_deviations():
    """Two layers of two units: (3, 4) by (0, 5) is 1; a silent unit counts with what it moves, not with its ratio."""
    mean = np.zeros((1, 4, 4))
    mean[0, 1:, :2] = 3, 4
    mean[0, 2:, 2:] = 0, 6
    std = np.broadcast_to([0.0, 5.0, 3.0, 0.0], mean.shape)
    assert drift(mean, std, 1, layers=2)[0].tolist() == [[1, 0], [0, 2], [0, 0]]
    assert drift(mean, std, 2, layers=2)[0].tolist() == [[1, 2], [0, 2]]
    assert drift(1e9 * mean, std, 1, layers=2).max() == 100


def test_readings_count_until_a_seed_has_learned():
    values = np.arange(10.0).reshape(1, 5, 2).repeat(3, axis=0)
    values[2, 1] = np.nan
    found = while_learning(values, np.array([3, 4, 5, 6, 7]), np.array([4.0, 1.0, 5.0]))
    assert found.tolist() == [[1, 2], [0, 1], [2, 3]]


def test_gradient_change_leaves_out_the_first_layer_and_keeps_the_first_step_apart():
    trace = Trace(np.array([1, 5, 9]), np.array([[[0.0, 1, 2], [0, 3, 4], [0, 5, 6]]]), "layer", (1, 2, 3))
    found = change_by_layer(trace, np.array([8.0]))
    assert found["initial"].tolist() == [[1, 2]]
    assert found["learning"].tolist() == [[3, 4]]


def test_unit_moments_see_the_noise_of_their_own_step():
    """Catches moments of a network whose noise has been switched off, or drawn anew."""
    images = digits().train_x[:9]
    noisy = MLPEnsemble((64, 6, 5, 10), (1, 2), Normalization(noise=Perturbation(2.0, 1.25)))
    probe = UnitMoments(images)
    x, y = torch.zeros(2, 4, 64).normal_(generator=torch.Generator().manual_seed(0)), torch.zeros(2, 4, dtype=int)
    first = measure(probe, noisy, x, y)
    assert first["unit_mean"].shape == first["unit_std"].shape == (2, 11)
    assert (measure(probe, noisy, x, y)["unit_mean"] == first["unit_mean"]).all()
    noisy.train()(x)
    assert (measure(probe, noisy, x, y)["unit_mean"] != first["unit_mean"]).any()
    with noisy.preserved(), torch.no_grad():
        hidden = noisy.train().layers[0](images.expand(2, 9, 64).transpose(1, 2)).double()
    again = measure(probe, noisy, x, y)
    np.testing.assert_allclose(again["unit_mean"][:, :6], hidden.mean(dim=2), rtol=1e-5)
    np.testing.assert_allclose(again["unit_std"][:, :6], hidden.std(dim=2, correction=0), rtol=1e-5)


# The noise ----------------------------------------------------------------------------------------------------------


def swinging(period: float, features: int = 400) -> SwingingNoise:
    return SwingingNoise(Perturbation(3.0, 1.25), (7, 8), 0, features, period).train()


def shift_and_scale(noise: SwingingNoise) -> tuple[torch.Tensor, torch.Tensor]:
    """What the noise does to a zero and to a one."""
    y = torch.tensor([0.0, 1.0]).expand(2, noise.get_buffer("phase").shape[2], 2)
    moved = noise(y)
    return moved[..., 0], moved[..., 1] - moved[..., 0]


def test_swinging_noise_goes_to_and_fro_at_one_speed_between_its_bounds():
    noise = swinging(period=8)
    shifts, scales = (torch.stack(values) for values in zip(*(shift_and_scale(noise) for _ in range(17)), strict=True))
    assert (shifts[8] - shifts[0]).abs().max() < 1e-4
    assert shifts.min() >= -3
    assert shifts.max() <= 3
    assert scales.min() >= 1 - 1e-5
    assert scales.max() <= 1.25 + 1e-5
    # Half a period takes a unit to the mirror image of its shift: four steps of a quarter of the way, turns aside.
    np.testing.assert_allclose(shifts[4], -shifts[0], atol=1e-4)
    steps = (shifts[1:] - shifts[:-1]).abs()
    assert steps.max() == pytest.approx(3 * 2 * 2 / 8, rel=1e-4)
    assert (steps > 1.499).float().mean() == pytest.approx(0.75, abs=0.05)


def test_every_noise_moves_units_equally_far_at_any_one_step():
    """Catches an amplitude or a distribution of the slow noise other than that of the jumping one."""
    for noise in (swinging(period=40), swinging(period=math.inf)):
        shift, scale = shift_and_scale(noise)
        for values, low, high in ((shift, -3, 3), (scale, 1, 1.25)):
            quarters = torch.quantile(values, torch.tensor([0.25, 0.5, 0.75]))
            expected = torch.tensor([0.75, 0.5, 0.25]) * low + torch.tensor([0.25, 0.5, 0.75]) * high
            np.testing.assert_allclose(quarters, expected, atol=0.06 * (high - low))


def test_frozen_noise_stands_still_and_inference_has_none():
    frozen = swinging(period=math.inf)
    first, second = shift_and_scale(frozen), shift_and_scale(frozen)
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()
    y = torch.randn(2, 400, 3, generator=torch.Generator().manual_seed(0))
    assert (frozen.eval()(y) == y).all()


def test_time_passes_with_training_and_not_with_measuring():
    data = digits()
    networks = [MLPEnsemble((64, 6, 5, 10), (1, 2), True) for _ in range(2)]
    for network in networks:
        swing(network, Perturbation(1.0, 1.25), 40)
    probed = train(networks[0], data, [0.1, 0.1], 7, probes=[UnitMoments(data.train_x[:9])])
    plain = train(networks[1], data, [0.1, 0.1], 7)
    assert (probed.batch_loss == plain.batch_loss).all()
    for layer in networks[0].layers:
        assert layer.get_submodule("norm.noise").get_buffer("time").flatten().tolist() == [7, 7]
    moved = drift(probed.traces["unit_mean"].values, probed.traces["unit_std"].values, 1, layers=1)
    assert moved.min() > 0.01


def test_noise_of_a_member_depends_on_its_seed_alone():
    alone = SwingingNoise(Perturbation(1.0), (8,), 0, 5, 40)
    both = SwingingNoise(Perturbation(1.0), (7, 8), 0, 5, 40)
    assert (alone.get_buffer("phase")[0] == both.get_buffer("phase")[1]).all()
    assert (both.get_buffer("phase")[0] != both.get_buffer("phase")[1]).all()


# The run ------------------------------------------------------------------------------------------------------------


def test_a_run_ends_in_values_for_every_case_arm_and_seed(small):
    relu = ["none", "batch_norm", "jumping 0.01", "jumping 0.5"]
    relu += ["swinging 0.01", "swinging 1", "frozen 0.01", "frozen 1", "batch_norm shared"]
    assert {case: list(arms) for case, arms in small.steps.items()} == {
        "relu 2": relu,
        "sigmoid 2": ["none", "batch_norm", "jumping 0.5", "swinging 1", "frozen 1", "batch_norm shared"],
    }
    for values in (small.steps, small.validation_accuracy):
        assert {len(row) for arms in values.values() for row in arms.values()} == {3}
    assert {len(row) for arms in small.drift.values() for lags in arms.values() for row in lags.values()} == {3}
    assert small.change.keys() == small.cosine.keys() == {"relu 2", "sigmoid 2"}
    assert {arm: len(row["learning"]) for arm, row in small.change_by_layer["relu 2"].items()} == {
        "none": 2,
        "batch_norm": 2,
        "batch_norm shared": 2,
    }
    assert small.curve_at == [10, 15, 20]
    assert {len(curve) for curves in small.curves.values() for curve in curves.values()} == {3}
    assert small.matched["relu 2"]["jumping"] == 0.5
    assert small.drift["relu 2"]["jumping 0.5"]["1"] > small.drift["relu 2"]["batch_norm"]["1"]


def test_the_estimates_follow_from_the_values_of_the_seeds(small):
    """Catches a ratio upside down, and arms exchanged."""
    for case, found in small.estimates.items():
        sizes, horizon = small.matched[case], small.horizons[case]
        steps = {
            arm: np.array([horizon if step is None else step for step in row], float)
            for arm, row in small.steps[case].items()
        }
        swung, frozen = (f"{kind} {sizes['swinging']:g}" for kind in ("swinging", "frozen"))
        jumped = f"jumping {sizes['jumping']:g}"
        expected = {
            name: paired_interval(steps[first], steps[second], ratio_of_means)
            for name, first, second in (
                ("gain", "none", "batch_norm"),
                ("gain left jumping", "none", jumped),
                ("gain left swinging", "none", swung),
                ("cost of change", swung, frozen),
                ("cost of displacement", frozen, "batch_norm"),
            )
        }
        for name, arm, when in (
            ("change tuned", "batch_norm", "learning"),
            ("change shared", "batch_norm shared", "learning"),
            ("initial change tuned", "batch_norm", "initial"),
            ("initial change shared", "batch_norm shared", "initial"),
        ):
            first, second = (np.array(small.change[case][which][when]) for which in (arm, "none"))
            expected[name] = paired_interval(first, second, ratio_of_geometric_means)
        for name, arm in (("", "batch_norm"), (" jumping", jumped), (" swinging", swung)):
            for lag in ("1", "10"):
                first, second = (np.array(small.drift[case][which][lag]) for which in (arm, "none"))
                expected[f"drift{name} {lag}"] = paired_interval(first, second, ratio_of_geometric_means)
        assert found == expected


def test_rates_and_sizes_are_chosen_without_the_test_seeds(small):
    other = covariate_shift.run(dataclasses.replace(SMALL, test_seeds=(13, 14)))
    assert (other.tuned, other.tuning_steps, other.matched) == (small.tuned, small.tuning_steps, small.matched)
    assert other.steps != small.steps
    for arm, scores in small.tuning_steps["relu 2"].items():
        assert small.tuned["relu 2"][arm] == (0.01, 0.1)[int(np.argmin(scores))]
    assert small.tuned["relu 2"]["batch_norm shared"] == small.tuned["relu 2"][NONE.name]


def test_each_rate_is_scored_on_its_own_members(small):
    """Catches rates and seeds in another order than that in which their scores are averaged."""
    relu = dataclasses.replace(SMALL.cases[0], rates=(0.01,))
    alone = covariate_shift.run(dataclasses.replace(SMALL, cases=(relu,)))
    for arm, (score,) in alone.tuning_steps["relu 2"].items():
        assert score == pytest.approx(small.tuning_steps["relu 2"][arm][0])


def test_the_networks_of_a_cell_are_those_of_its_arm():
    case = dataclasses.replace(SMALL.cases[0], jumping=(0.5,), swinging=(1.0,))
    kinds = {}
    for arm in case.arms():
        network = training.build(covariate_shift.measure._cell(SMALL, case, arm, (0.1,), (1, 2)))
        norm = getattr(network.layers[0], "norm", None)
        noise = norm and norm.noise
        kinds[arm.name] = (norm is not None, noise and noise.perturbation, getattr(noise, "period", None))
    assert kinds == {
        "none": (False, None, None),
        "batch_norm": (True, None, None),
        "jumping 0.5": (True, Perturbation(0.5, 1.25), None),
        "swinging 1": (True, Perturbation(1.0, 1.25), 40),
        "frozen 1": (True, Perturbation(1.0, 1.25), math.inf),
    }


def test_a_run_survives_its_record_and_processes_change_nothing(small, tmp_path, monkeypatch):
    assert read_again(covariate_shift, SMALL, small, tmp_path) == small
    monkeypatch.setenv("BNCOURSE_CACHE", str(tmp_path))
    assert covariate_shift.run(SMALL, jobs=2, cache=True) == small


# The settings -------------------------------------------------------------------------------------------------------


def test_the_reduced_run_estimates_the_same():
    """Catches another network, and rates or noise that the full run does not have."""
    full = Settings()
    for name in ("width", "period", "batch_size", "momentum", "target_loss", "lags", "images"):
        assert getattr(REDUCED, name) == getattr(full, name)
    for reduced, case in zip(REDUCED.cases, full.cases, strict=True):
        assert reduced.name == case.name
        for name in ("rates", "jumping", "swinging"):
            assert set(getattr(reduced, name)) <= set(getattr(case, name))


def test_settings_that_would_be_unfair_or_undefined_are_refused():
    with pytest.raises(ValueError, match="swinging in rising order"):
        dataclasses.replace(SMALL.cases[0], swinging=(2.0, 1.0))
    with pytest.raises(ValueError, match="rates in rising order"):
        dataclasses.replace(SMALL.cases[0], rates=())
