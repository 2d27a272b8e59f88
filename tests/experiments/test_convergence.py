"""The experiment of C2, C3 and C4: its rule, its fairness, and the record that the book shows."""

import dataclasses

import numpy as np
import pytest
import torch

from bncourse import results
from bncourse.experiments import convergence
from bncourse.experiments.convergence import Outcome, Settings, measure, verdicts
from bncourse.experiments.shared import record_run, revive
from bncourse.lab import (
    Interval,
    difference_of_means,
    mean_interval,
    paired_interval,
    ratio_of_geometric_means,
    ratio_of_means,
    train,
)
from bncourse.results.verdicts import recorded_verdicts
from tests.experiments.common import interval, read_again

SMALL = Settings(
    widths=(64, 24, 24, 10),
    rates=(0.01, 0.04, 0.16, 0.64),
    pictured_rates=(0.04,),
    tuning_seeds=(1, 2),
    test_seeds=(3, 4, 5),
    steps=40,
)


@pytest.fixture(scope="module")
def small() -> Outcome:
    return convergence.run(SMALL)


@pytest.fixture(scope="module")
def recorded() -> Outcome:
    return convergence.recorded()


def outcome(**changes: object) -> Outcome:
    """Three rates, two seeds; batch norm is faster when tuned, and the estimates leave no doubt."""
    estimates = {
        "steps_ratio": interval(1.5, 1.7),
        "largest_rate_ratio": interval(4, 8),
        "working_width_difference": interval(0.5, 0.9),
        "fast_width_difference": interval(0.4, 0.8),
    }
    estimates |= changes.pop("estimates", {})
    both = {"none": [[50, 50], [20, 20], [None, None]], "batch_norm": [[50, 50], [10, 10], [12, 12]]}
    final = {"none": [[0.95, 0.95], [0.95, 0.95], [0.1, 0.1]], "batch_norm": [[0.95, 0.95]] * 2 + [[0.8, 0.7]]}
    parts = {
        "rates": [0.01, 0.1, 1.0],
        "seeds": 2,
        "horizon": 100,
        "target_accuracy": 0.9,
        "steps": both,
        "loss_steps": both,
        "final_accuracy": final,
        "mean_steps": {},
        "shared_ratio": [interval(0.95, 1.05), interval(1.9, 2.1), interval(8, 9)],
        "tuned": {"steps": {"none": 0.1, "batch_norm": 0.1}},
        "curve_every": 5,
        "curves": {},
        "test_accuracy": {},
        "estimates": estimates,
    }
    return Outcome(**{**parts, **changes})


def answers(of: Outcome) -> dict[str, str]:
    return {verdict.claim: verdict.answer for verdict in verdicts(of)}


def test_clear_numbers_support_all_three_claims():
    assert answers(outcome()) == {"C2": "supported", "C3": "supported", "C4": "supported"}


@pytest.mark.parametrize(
    ("tuned", "shared", "expected"),
    [
        ((1.5, 1.7), [(0.6, 0.7), (1.9, 2.1), (8, 9)], "qualified"),
        ((1.5, 1.7), [(0.7, 0.85), (1.9, 2.1), (8, 9)], "supported"),
        ((1.5, 1.7), [(0.95, 1.05), (1.9, 2.1), (0.1, 0.2)], "supported"),
        ((1.0, 1.1), [(1, 1.1), (1, 1.1), (1, 1.1)], "contradicted"),
        ((0.5, 0.6), [(1, 1.1), (1, 1.1), (1, 1.1)], "contradicted"),
        ((1.0, 1.1), [(1, 1.1), (1, 1.1), (8, 9)], "qualified"),
        ((1.2, 1.3), [(0.95, 1.05), (1.9, 2.1), (8, 9)], "inconclusive"),
    ],
    ids=[
        "faster tuned, slower at a shared rate",
        "faster tuned, perhaps slower at a shared rate",
        "slower only where not every run arrives",
        "no faster anywhere",
        "slower",
        "no faster tuned, faster at a shared rate",
        "across the smallest effect of interest",
    ],
)
def test_faster_is_decided_by_the_interval_and_by_the_shared_rates(tuned, shared, expected):
    changed = outcome(
        estimates={"steps_ratio": interval(*tuned)}, shared_ratio=[interval(*bounds) for bounds in shared]
    )
    assert answers(changed)["C2"] == expected


@pytest.mark.parametrize(
    ("bounds", "expected"), [((2.1, 3), "supported"), ((1.5, 2.5), "inconclusive"), ((1.1, 1.9), "contradicted")]
)
def test_larger_rates_are_decided_by_the_interval(bounds, expected):
    assert answers(outcome(estimates={"largest_rate_ratio": interval(*bounds)}))["C3"] == expected


@pytest.mark.parametrize(
    ("working", "fast", "expected"),
    [
        ((0.4, 0.5), (0.4, 0.5), "supported"),
        ((0.4, 0.5), (0.0, 0.2), "qualified"),
        ((0.1, 0.5), (0.4, 0.5), "qualified"),
        ((0.0, 0.2), (-0.5, 0.2), "contradicted"),
        ((0.0, 0.2), (0.2, 0.5), "inconclusive"),
        ((0.2, 0.5), (0.2, 0.5), "inconclusive"),
    ],
)
def test_insensitive_needs_both_widths(working, fast, expected):
    changed = outcome(
        estimates={"working_width_difference": interval(*working), "fast_width_difference": interval(*fast)}
    )
    assert answers(changed)["C4"] == expected


def test_an_edge_of_the_grid_leaves_the_claim_open():
    """A best rate at the edge may not be the best; a largest rate at the edge may not be the largest."""
    assert answers(outcome(tuned={"steps": {"none": 0.01, "batch_norm": 0.1}}))["C2"] == "inconclusive"
    working = {"none": [[0.95, 0.95]] * 3, "batch_norm": [[0.95, 0.95]] * 3}
    open_ended = answers(outcome(final_accuracy=working))
    assert open_ended["C3"] == open_ended["C4"] == "inconclusive"


def test_a_run_ends_in_values_for_every_rate_and_seed(small):
    for values in (small.steps, small.loss_steps, small.final_accuracy):
        assert {arm: np.shape(rows) for arm, rows in values.items()} == {"none": (4, 3), "batch_norm": (4, 3)}
    assert {arm: len(values) for arm, values in small.test_accuracy.items()} == {"none": 3, "batch_norm": 3}
    assert [len(curve) for curve in small.curves["0.04"].values()] == [8, 8]
    assert max(small.test_accuracy["batch_norm"]) > 0.8


def test_processes_and_the_cache_change_nothing(small, tmp_path, monkeypatch):
    """And a run that was interrupted goes on: every training that had ended is read, not made again."""
    monkeypatch.setenv("BNCOURSE_CACHE", str(tmp_path))
    assert convergence.run(SMALL, jobs=2, cache=True) == small
    kept = sorted(tmp_path.rglob("*.result"))
    assert len(kept) == 2 * 2  # arms, and tuning and test
    kept[0].unlink()
    trained = []
    monkeypatch.setattr(measure, "train", lambda *arguments: trained.append(arguments) or train(*arguments))
    assert convergence.run(SMALL, cache=True) == small
    assert len(trained) == 1


def test_a_verdict_carries_its_effect_and_no_confidence_where_the_rule_could_not_decide():
    faster, larger, insensitive = verdicts(outcome())
    assert (faster.effects[0].low, faster.effects[0].smallest, faster.effects[0].seeds) == (1.5, 1.25, 2)
    assert faster.p == faster.effects[0].p_value() < 0.05
    assert larger.effects[0].resolution == pytest.approx(10)
    assert insensitive.p == max(effect.p_value() for effect in insensitive.effects)
    one = outcome(estimates={"fast_width_difference": interval(0.0, 0.2)})
    assert verdicts(one)[2].p == pytest.approx(2 * verdicts(one)[2].effects[0].p_value())
    at_edge = outcome(tuned={"steps": {"none": 0.01, "batch_norm": 0.1}})
    assert verdicts(at_edge)[0].p == 1


def test_a_run_survives_its_record(small, tmp_path):
    assert read_again(convergence, SMALL, small, tmp_path) == small


def test_rates_are_tuned_without_the_test_seeds(small):
    """Catches a rate that is chosen on the seeds it is scored on."""
    other = convergence.run(dataclasses.replace(SMALL, test_seeds=(13, 14)))
    assert other.tuned == small.tuned
    assert other.steps != small.steps


def test_the_test_part_is_read_at_one_rate_of_each_arm_and_never_while_tuning(monkeypatch):
    read = []

    def recording_accuracy(network, x, y):
        read.append((network.batch_norm, network.seeds, len(x)))
        return np.full(len(network.seeds), 0.5)

    monkeypatch.setattr(measure, "accuracy", recording_accuracy)
    convergence.run(dataclasses.replace(SMALL, steps=10))
    assert read == [(False, SMALL.test_seeds, 500), (True, SMALL.test_seeds, 500)]


def test_settings_that_would_be_unfair_or_undefined_are_refused():
    with pytest.raises(ValueError, match="rise by a constant factor"):
        dataclasses.replace(SMALL, rates=(0.01, 0.04, 0.1, 0.64))
    with pytest.raises(ValueError, match="pictured_rates to be among rates"):
        dataclasses.replace(SMALL, pictured_rates=(0.5,))


def test_the_record_was_made_with_the_settings_of_the_code(recorded):
    record = results.load("convergence")
    current = {
        key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(Settings()).items()
    }
    assert record.settings == current
    assert record.provenance.command == "python -m bncourse.experiments.convergence"
    assert not record.provenance.commit.endswith("-modified")
    assert recorded.seeds == len(Settings().test_seeds) >= 24


def test_the_recorded_tuned_rates_lie_inside_the_grid(recorded):
    for chosen in recorded.tuned.values():
        for rate in chosen.values():
            assert recorded.rates[0] < rate < recorded.rates[-1]


@pytest.mark.parametrize("which", ["small", "recorded"])
def test_the_estimates_follow_from_the_values_of_the_seeds(which, request):
    """Catches a ratio upside down, a number edited by hand, and an estimator that changed after the run."""
    seen: Outcome = request.getfixturevalue(which)
    factor = np.log10(seen.rates[1] / seen.rates[0])

    def restricted(rows, arm, rate):
        values = rows[arm][seen.rates.index(rate)]
        return np.array([seen.horizon if value is None else value for value in values], dtype=float)

    for name, rows in (("steps", seen.steps), ("loss_steps", seen.loss_steps)):
        none, batch_norm = (restricted(rows, arm, seen.tuned[name][arm]) for arm in ("none", "batch_norm"))
        check(seen.estimates[f"{name}_ratio"], paired_interval(none, batch_norm, ratio_of_means))
    for row, rate in list(enumerate(seen.rates))[::3]:
        none, batch_norm = (restricted(seen.steps, arm, rate) for arm in ("none", "batch_norm"))
        check(seen.mean_steps["none"][row], mean_interval(none))
        check(seen.shared_ratio[row], paired_interval(none, batch_norm, ratio_of_means))

    largest, working, fast = {}, {}, {}
    for arm in ("none", "batch_norm"):
        works = np.array(seen.final_accuracy[arm]) >= seen.target_accuracy
        largest[arm] = np.array([max([seen.rates[0], *np.array(seen.rates)[column]]) for column in works.T])
        working[arm] = factor * works.sum(axis=0)
        columns = [
            [np.inf if value is None else value for value in column] for column in zip(*seen.steps[arm], strict=True)
        ]
        fast[arm] = factor * np.array([sum(t <= 2 * min(column) < np.inf for t in column) for column in columns])
    for name, values, statistic in (
        ("largest_rate_ratio", largest, ratio_of_geometric_means),
        ("working_width_difference", working, difference_of_means),
        ("fast_width_difference", fast, difference_of_means),
        ("test_accuracy_difference", seen.test_accuracy, difference_of_means),
    ):
        arms = (np.array(values[arm], dtype=float) for arm in ("batch_norm", "none"))
        check(seen.estimates[name], paired_interval(*arms, statistic))


def check(stored: Interval, computed: Interval) -> None:
    assert stored.estimate == pytest.approx(computed.estimate, abs=1e-4)
    width = computed.high - computed.low
    # Another SciPy may draw other resamples; its bounds then move by a few hundredths of the width. Accuracies are
    # recorded with four decimals.
    assert stored.low == pytest.approx(computed.low, abs=0.05 * width + 1e-4)
    assert stored.high == pytest.approx(computed.high, abs=0.05 * width + 1e-4)


def test_the_command_writes_a_record_and_prints_the_verdicts(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    quick = dataclasses.replace(SMALL, steps=10)
    record_run("convergence", quick, convergence.run, verdicts, ["--output", str(tmp_path)])
    record = results.load("convergence", tmp_path)
    assert record.settings["steps"] == 10
    assert recorded_verdicts(record) == verdicts(Outcome(**revive(record.outcome)))
    assert record.provenance.versions["torch"] == torch.__version__
    printed = capsys.readouterr().out
    for verdict in verdicts(Outcome(**revive(record.outcome))):
        assert str(verdict) in printed
    assert str(tmp_path / "convergence.json") in printed
