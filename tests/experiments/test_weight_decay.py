"""The experiment of C14: its rule, its estimands on cases with a known answer, and its fairness."""

import dataclasses

import numpy as np
import pytest

from bncourse.experiments import ensembles, weight_decay
from bncourse.experiments.weight_decay import REDUCED, Equilibrium, Outcome, Settings, dynamics, gains, verdicts
from bncourse.experiments.weight_decay.dynamics import Followed, Member, by_member, follow, growths, root_mean_square
from bncourse.experiments.weight_decay.gains import Cell, Way, choose, train_members
from bncourse.lab import (
    Interval,
    MLPEnsemble,
    accuracy,
    clusters,
    difference_of_means,
    paired_interval,
    train,
)
from bncourse.lab.networks import initial_weights
from tests.experiments.common import read_again

pytestmark = pytest.mark.slow

SMALL = Settings(
    hidden=(16, 16),
    rates=(0.01, 0.04, 0.16),
    decays=(0.002, 0.02, 0.2),
    steps=60,
    tuning_seeds=(1, 2),
    test_seeds=(3, 4, 5),
    equilibria=(Equilibrium(0.9, 0.02, 0.5), Equilibrium(0.9, 0.08, 0.125), Equilibrium(0.0, 0.2, 0.5)),
    followed_gains=(0.5, 2.0),
    followed_seeds=2,
    equilibrium_steps=120,
    trajectory_steps=12,
    growth_steps=40,
)


@pytest.fixture(scope="module")
def small() -> Outcome:
    return weight_decay.run(SMALL)


# The rule -----------------------------------------------------------------------------------------------------------


def outcome(
    fixed: tuple[float, float], retuned: tuple[float, float], chosen: dict[str, list[float]] | None = None
) -> Outcome:
    """Three rates and two decays, two seeds; gains in points."""
    ways = {
        "fixed plain": [0.01, 0.0],
        "fixed decayed": [0.01, 0.1],
        "plain": [0.1, 0.0],
        "added": [0.1, 0.1],
        "retuned": [0.1, 0.1],
    }
    plain = {field.name: {} for field in dataclasses.fields(Outcome)}
    parts = {
        "seeds": 2,
        "rates": [0.001, 0.1, 1.0],
        "decays": [0.0, 0.1, 1.0],
        "chosen": {"batch_norm": {**ways, **(chosen or {})}},
        "estimates": {
            "batch_norm": {
                name: Interval((low + high) / 200, low / 100, high / 100)
                for name, (low, high) in {"fixed": fixed, "retuned": retuned}.items()
            }
        },
    }
    return Outcome(**{**plain, **parts})


@pytest.mark.parametrize(
    ("fixed", "retuned", "expected"),
    [
        ((1.5, 2.0), (1.1, 3.0), "supported"),
        ((4.0, 6.0), (-0.5, 0.5), "qualified"),
        ((-2.0, -1.0), (0.2, 0.8), "contradicted"),
        ((4.0, 6.0), (0.5, 1.5), "inconclusive"),
        ((0.5, 1.5), (0.2, 0.8), "inconclusive"),
    ],
)
def test_the_verdict_counts_both_gains_against_one_point(fixed, retuned, expected):
    (verdict,) = verdicts(outcome(fixed, retuned))
    assert (verdict.claim, verdict.answer) == ("C14", expected)
    assert verdict.p == 1 if expected == "inconclusive" else verdict.p < 0.05
    assert [effect.estimate for effect in verdict.effects] == pytest.approx([sum(fixed) / 2, sum(retuned) / 2])


@pytest.mark.parametrize(
    "chosen",
    [{"plain": [1.0, 0.0]}, {"retuned": [0.001, 0.1]}, {"retuned": [0.1, 1.0]}, {"fixed decayed": [0.01, 1.0]}],
    ids=["rate without decay", "rate with decay", "decay", "decay at the fixed rate"],
)
def test_a_choice_at_the_edge_leaves_its_gain_open(chosen):
    (verdict,) = verdicts(outcome((4.0, 6.0), (-0.5, 0.5), chosen))
    assert verdict.answer == "inconclusive"
    assert "edge" in verdict.reason


def test_the_smallest_decay_is_no_edge():
    """Beyond it lies no decay at all, which is compared with."""
    (verdict,) = verdicts(outcome((4.0, 6.0), (-0.5, 0.5), {"retuned": [0.1, 0.1], "fixed decayed": [0.01, 0.1]}))
    assert (verdict.answer, "edge" in verdict.reason) == ("qualified", False)


# The estimands ------------------------------------------------------------------------------------------------------


def test_the_five_ways_are_chosen_each_from_its_own_part_of_the_grid():
    """Catches a best pair that may have no decay, an index off by the row without decay, and rates for decays."""
    means = np.array([[0.5, 0.9, 0.3], [0.6, 0.2, 0.1], [0.7, 0.1, 0.1], [0.4, 0.3, 0.8]])
    assert choose(SMALL, "none", means) == {
        "fixed plain": Way("none", 0.01, 0.0),
        "fixed decayed": Way("none", 0.01, 0.02),
        "plain": Way("none", 0.04, 0.0),
        "added": Way("none", 0.04, 0.2),
        "retuned": Way("none", 0.16, 0.2),
    }


def walk(momentum: float, rate: float, decay: float, steps: int) -> dict[str, np.ndarray]:
    """Momentum SGD of one vector on random gradients at right angles to it, of length 1/norm: what follow() returns."""
    rng = np.random.default_rng(0)
    w, v = rng.normal(size=40), np.zeros(40)
    read = {"norm": [], "angle": [], "relative_update": [], "gradient": []}
    for _ in range(steps):
        norm = np.linalg.norm(w)
        g = rng.normal(size=40) + 0.3
        g -= w * (g @ w) / norm**2
        g /= np.linalg.norm(g) * norm
        v = momentum * v + g + decay * w
        new = w - rate * v
        read["norm"].append(norm)
        read["angle"].append(np.arccos(np.clip(w @ new / norm / np.linalg.norm(new), -1, 1)))
        read["relative_update"].append(rate * np.linalg.norm(v) / norm)
        read["gradient"].append(np.linalg.norm(g))
        w = new
    return {name: np.array(values)[None, :, None] for name, values in read.items()}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_growth_is_exactly_what_the_lengths_of_the_steps_say(momentum):
    """Catches sums over a step too many, the factor of momentum upside down, and the last velocity left out."""
    found = growths(walk(momentum, 0.5 * (1 - momentum), 0.0, 60), 0.5 * (1 - momentum), momentum)
    assert found["steps"] == pytest.approx([1], abs=1e-12)
    if momentum == 0:
        assert found["gradients"] == pytest.approx([1], abs=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_the_predicted_angle_is_that_of_a_walk_in_balance(momentum):
    """Gradients that are correlated, so that only the balance decides; the formula without momentum fails at 0.9."""
    equilibrium = Equilibrium(momentum, 0.2 * (1 - momentum), 0.02)
    values = walk(momentum, equilibrium.rate, equilibrium.decay, 6000)
    late = root_mean_square(values["angle"][:, 3000:])[0]
    assert late == pytest.approx(equilibrium.angle, rel=0.02)
    assert late != pytest.approx(equilibrium.angle * np.sqrt(1 + momentum), rel=0.1) or momentum == 0


def test_the_values_of_each_member_are_those_of_its_seeds():
    values = {"norm": np.arange(6.0).reshape(6, 1, 1), "loss": np.arange(6.0).reshape(6, 1)}
    first, second, third = by_member(values, 3)
    assert second["norm"].ravel() == pytest.approx([2, 3])
    assert (first["loss"].ravel().tolist(), third["loss"].ravel().tolist()) == ([0, 1], [4, 5])


def followed(*members: Member, **changes) -> dict[str, np.ndarray]:
    plain = {"seeds": (1, 2), "momentum": 0.9, "steps": 20, "hidden": (16, 16), "batch_size": 64, "gradients": True}
    return follow(Followed(members, **{**plain, **changes}))


def test_rate_decay_and_gain_of_a_member_reach_its_training():
    """The first step's length is rate times gradient; with decay, at right angles to it, decay times norm besides."""
    values = followed(Member(0.1), Member(0.1, decay=0.5), Member(0.1, gain=4.0, hidden_rate=1.6), steps=1)
    norm, gradient, update = (values[name][:, 0] for name in ("norm", "gradient", "relative_update"))
    *weights, _ = initial_weights((20, 16, 16, 10), (1, 2))
    expected = np.stack([weight.flatten(1).norm(dim=1).numpy() for weight in weights], axis=1)
    assert norm[:2] == pytest.approx(expected, rel=1e-5)
    assert norm[4:] == pytest.approx(4 * expected, rel=1e-5)
    assert gradient[4:] == pytest.approx(gradient[:2] / 4, rel=1e-3)
    length = update * norm
    assert length[:2] == pytest.approx(0.1 * gradient[:2], rel=1e-4)
    assert length[2:4] == pytest.approx(0.1 * np.hypot(gradient[:2], 0.5 * expected), rel=1e-3)
    assert length[4:] == pytest.approx(4 * length[:2], rel=1e-3)


def test_weights_times_four_need_sixteen_times_the_rate():
    usual, same, rescaled, four = by_member(
        followed(Member(0.1), Member(0.1, gain=4.0), Member(0.1, gain=4.0, hidden_rate=1.6), Member(0.1, 0, 4.0, 0.4)),
        4,
    )
    assert dynamics.compare(usual, same, rescaled)["rescaled"].high < 0.01
    assert dynamics.compare(usual, same, four)["rescaled"].low > 0.1
    assert dynamics.compare(usual, same, rescaled)["same rate"].low > 0.1
    assert dynamics.compare(usual, same, rescaled)["gradient"].estimate == pytest.approx(0.25, rel=1e-3)


# The run ------------------------------------------------------------------------------------------------------------


def test_the_estimates_follow_from_the_values_of_the_seeds(small):
    """Catches a difference upside down, settings or arms exchanged, and gains of the tuning seeds."""
    for arm, scores in small.test_accuracy.items():
        assert {len(values) for values in scores.values()} == {3}
        for name, (first, second) in {
            "fixed": ("fixed decayed", "fixed plain"),
            "added": ("added", "plain"),
            "retuned": ("retuned", "plain"),
        }.items():
            expected = paired_interval(np.array(scores[first]), np.array(scores[second]), difference_of_means)
            assert small.estimates[arm][name] == expected
    assert small.test_accuracy["none"] != small.test_accuracy["batch_norm"]
    assert max(small.test_accuracy["batch_norm"]["plain"]) > 0.3


def test_every_way_is_scored_on_its_own_members(small):
    """Catches rates, decays and seeds in another order than that in which their scores are stored."""
    data = clusters()
    for arm, setting in (("batch_norm", "fixed decayed"), ("none", "added")):
        rate, decay = small.chosen[arm][setting]
        network = MLPEnsemble((20, 16, 16, 10), (4,), arm == "batch_norm")
        train(network, data, [rate], 60, 64, evaluate_every=60, weight_decay=decay)
        expected = accuracy(network, data.test_x, data.test_y)[0]
        assert small.test_accuracy[arm][setting][1] == pytest.approx(expected, abs=1e-5)
    network = MLPEnsemble((20, 16, 16, 10), (1, 2), True)
    history = train(network, data, [0.16] * 2, 60, 64, evaluate_every=60, weight_decay=0.02)
    assert small.tuning_accuracy["batch_norm"][2][2] == pytest.approx(history.validation_accuracy.mean(), abs=1e-4)


def test_the_second_part_meets_theory(small):
    """Small networks and few steps: near, and not exact."""
    assert small.angle_ratio.keys() == small.norms.keys() == {each.name for each in SMALL.equilibria}
    assert [each.estimate for each in small.angle_ratio.values()] == pytest.approx([1, 1, 1], abs=0.06)
    for ratios in small.growth.values():
        assert ratios["steps"].estimate == pytest.approx(1, abs=1e-3)
    assert small.growth["0"]["gradients"].estimate == pytest.approx(1, abs=1e-3)
    first = {
        (name, gain): values["norm"][0].estimate
        for name, gains_of in small.trajectories.items()
        for gain, values in gains_of.items()
    }
    assert first["decay", "2"] == pytest.approx(4 * first["no decay", "0.5"])
    assert {len(values["angle"]) for values in small.trajectories["decay"].values()} == {2}


def test_processes_and_the_cache_change_nothing(small, tmp_path, monkeypatch):
    monkeypatch.setenv("BNCOURSE_CACHE", str(tmp_path))
    assert weight_decay.run(SMALL, jobs=2, cache=True) == small
    monkeypatch.setattr(gains, "train", None)
    monkeypatch.setattr(dynamics, "train", None)
    assert weight_decay.run(SMALL, cache=True) == small


def test_choices_are_made_without_the_test_seeds_and_the_test_part(small, monkeypatch):
    """Catches a rate or a decay that is chosen on what it is scored on."""
    read = []

    def recording_accuracy(network, x, y):
        read.append((len(network.seeds), len(x)))
        return np.full(len(network.seeds), 0.5)

    monkeypatch.setattr(ensembles, "accuracy", recording_accuracy)
    monkeypatch.setattr("bncourse.experiments.weight_decay.measure.measure_dynamics", lambda *_: _second_part(small))
    other = weight_decay.run(dataclasses.replace(SMALL, test_seeds=(13, 14)))
    assert (other.chosen, other.tuning_accuracy) == (small.chosen, small.tuning_accuracy)
    different = [len({tuple(way) for way in ways.values()}) for ways in small.chosen.values()]
    assert sorted(read) == sorted((2 * count, 4000) for count in different)


def _second_part(of: Outcome) -> dict:
    return {name: getattr(of, name) for name in ("angle_ratio", "norms", "trajectories", "growth", "matched")}


def test_members_beyond_one_ensemble_are_scored_in_order(monkeypatch):
    monkeypatch.setattr(ensembles, "MEMBERS", 3)
    ways = [Way("batch_norm", 0.04, 0.0), Way("none", 0.04, 0.02)]
    found = gains.final_accuracies(
        SMALL, lambda function, cells: [function(cell) for cell in cells], ways, (1, 2, 3, 4), "validation"
    )
    alone = train_members(Cell("none", (0.04,), (0.02,), (4,), (16, 16), 60, 64, 0.9, "validation"))["accuracy"]
    assert found[ways[1]][3] == pytest.approx(alone[0])


def test_a_run_survives_its_record(small, tmp_path):
    assert read_again(weight_decay, SMALL, small, tmp_path) == small


# The settings -------------------------------------------------------------------------------------------------------


def test_the_reduced_run_estimates_the_same():
    """Catches a smaller network or fewer steps, which would change the effects."""
    full = Settings()
    for name in ("hidden", "fixed_rate", "momentum", "steps", "batch_size"):
        assert getattr(REDUCED, name) == getattr(full, name)
    assert set(REDUCED.rates) <= set(full.rates)
    assert set(REDUCED.decays) <= set(full.decays)


def test_equilibria_are_reached():
    full = Settings()
    for each in full.equilibria:
        assert each.rate * each.decay / (1 - each.momentum) * full.equilibrium_steps >= 5 - 1e-9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decays": (0.0, 0.1)}, "expected decays above 0"),
        ({"fixed_rate": 0.02}, "expected fixed_rate 0.02 among the rates"),
        ({"rates": (0.04, 0.01)}, "at least 1 rates in rising order"),
        ({"followed_seeds": 4}, "expected followed_seeds between 2 and 3"),
    ],
)
def test_settings_that_would_be_unfair_or_undefined_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)
