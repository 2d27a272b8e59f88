"""The experiment of C25: its rule, its estimands on cases with a known answer, and its fairness."""

import dataclasses
import math

import numpy as np
import pytest

from bncourse.experiments import benefit
from bncourse.experiments.benefit import ARMS, REDUCED, SIZES, Outcome, Settings, training, verdicts
from bncourse.experiments.benefit.measure import steps_to
from bncourse.experiments.benefit.summary import error_share, growth_per_doubling
from bncourse.experiments.benefit.training import training_part
from bncourse.lab import Interval, difference_of_means, digits, mean_interval, paired_interval
from tests.experiments.common import read_again

pytestmark = pytest.mark.slow

SMALL = Settings(
    depths=(1, 2),
    widths=(12, 16),
    digits=(60, 1000),
    clusters=(60, 120),
    depth=1,
    width=12,
    rates=(0.01, 0.1, 1.0),
    tuning_seeds=(1, 2),
    test_seeds=(3, 4, 5),
    steps=30,
)


@pytest.fixture(scope="module")
def small() -> Outcome:
    return benefit.run(SMALL)


# The rule -----------------------------------------------------------------------------------------------------------

KEYS = [f"{size} {kind}" for size in SIZES for kind in ("steps", "errors")]
ABOVE, BELOW, ACROSS = (1.2, 1.4), (0.9, 1.05), (1.0, 1.2)


def outcome(bounds: dict, tuned: dict | None = None, arrived: int = 8) -> Outcome:
    """Eight seeds, two settings to a size, three rates."""
    settings = {size: [f"{size} small", f"{size} large"] for size in SIZES}
    names = [name for row in settings.values() for name in row]
    plain = {field.name: {} for field in dataclasses.fields(Outcome)}
    middle = {kind: {"none": 0.1, "batch_norm": 0.1} for kind in ("steps", "accuracy")}
    steps = {"none": [30.0] * 8, "batch_norm": [20.0] * 8}
    return Outcome(
        **{
            **plain,
            "seeds": 8,
            "rates": [0.01, 0.1, 1.0],
            "settings": settings,
            "tuned": dict.fromkeys(names, middle) | (tuned or {}),
            "steps": dict.fromkeys(names, steps)
            | {"width large": {**steps, "none": [30.0] * arrived + [None] * (8 - arrived)}},
            "estimates": {key: Interval(math.sqrt(low * high), low, high) for key, (low, high) in bounds.items()},
        }
    )


def answer(of: Outcome) -> str:
    (verdict,) = verdicts(of)
    assert verdict.claim == "C25"
    return verdict.answer


@pytest.mark.parametrize(
    ("rest", "changed", "expected"),
    [
        (ABOVE, {}, "supported"),
        (ABOVE, {"width errors": ACROSS}, "inconclusive"),
        (ABOVE, {"clusters steps": BELOW}, "qualified"),
        (ABOVE, {"clusters steps": BELOW, "depth steps": ACROSS}, "qualified"),
        (BELOW, {"depth steps": ACROSS}, "inconclusive"),
        (BELOW, {"depth errors": ABOVE}, "qualified"),
        (BELOW, {}, "contradicted"),
    ],
)
def test_the_benefit_has_to_grow_with_every_size(rest, changed, expected):
    assert answer(outcome(dict.fromkeys(KEYS, rest) | changed)) == expected


def test_an_edge_of_the_grid_leaves_open_the_benefit_that_its_rate_was_tuned_for():
    all_above = dict.fromkeys(KEYS, ABOVE)
    rates = {"steps": {"none": 0.1, "batch_norm": 1.0}, "accuracy": {"none": 0.1, "batch_norm": 0.1}}
    assert answer(outcome(all_above, {"depth small": rates})) == "inconclusive"
    assert answer(outcome(all_above | {"depth steps": BELOW}, {"depth small": rates})) == "inconclusive"
    assert answer(outcome(all_above | {"depth errors": BELOW}, {"depth small": rates})) == "qualified"
    other = {"steps": rates["accuracy"], "accuracy": {"none": 0.01, "batch_norm": 0.1}}
    assert answer(outcome(all_above | {"depth errors": BELOW}, {"depth large": other})) == "inconclusive"


def test_runs_that_do_not_arrive_leave_steps_open_and_errors_not():
    one_below = dict.fromkeys(KEYS, ABOVE) | {"width steps": BELOW}
    assert answer(outcome(one_below, arrived=6)) == "qualified"
    assert answer(outcome(one_below, arrived=5)) == "inconclusive"
    assert answer(outcome(dict.fromkeys(KEYS, ABOVE) | {"width errors": BELOW}, arrived=5)) == "qualified"


def test_a_verdict_shows_all_eight_factors():
    (verdict,) = verdicts(outcome(dict.fromkeys(KEYS, ABOVE)))
    assert len(verdict.effects) == 8
    assert verdict.p == max(effect.p_value() for effect in verdict.effects) < 0.05


# The estimands ------------------------------------------------------------------------------------------------------


def test_a_benefit_that_doubles_when_the_size_is_squared_grows_by_that_power():
    """Two seeds with slopes 1/2 and -1 in logarithms to base 2: their mean, -1/4, as a factor."""
    sizes = (2, 8, 32, 64)
    curves = np.stack([3 * np.power(sizes, 0.5), 0.1 / np.array(sizes)], axis=1)
    assert growth_per_doubling(sizes, curves).estimate == pytest.approx(2**-0.25)
    rising = growth_per_doubling(sizes, curves[:, [0, 0]])
    assert (rising.low, rising.estimate, rising.high) == pytest.approx((2**0.5,) * 3)


def test_a_growth_is_the_slope_of_the_least_squares_line():
    values = np.random.default_rng(0).uniform(0.5, 3, (4, 6))
    slopes = np.polyfit(np.log2([125, 250, 700, 1000]), np.log2(values), 1)[0]
    expected = mean_interval(slopes)
    found = growth_per_doubling((125, 250, 700, 1000), values)
    assert np.log2(found.estimate) == pytest.approx(expected.estimate)
    # A bound moves to the next resample where rounding decides between two that are equal.
    assert np.log2([found.low, found.high]) == pytest.approx([expected.low, expected.high], abs=0.02)


def test_steps_to_a_target_end_at_the_first_evaluation_that_reaches_it():
    curves = np.array([[0.1, 0.5, 0.4, 0.9], [0.1, 0.2, 0.2, 0.2]])
    assert steps_to(np.array([3, 6, 9, 12]), curves, 0.5).tolist() == [6, math.inf]
    assert steps_to(np.array([3, 6, 9, 12]), curves, 0.1).tolist() == [3, 3]


def test_errors_are_never_zero_and_those_of_chance_are_what_they_are():
    assert error_share(np.array([1.0, 0.9, 0.0]), 500) == pytest.approx([0.5 / 501, 50.5 / 501, 500.5 / 501])


def test_a_smaller_training_part_is_within_the_larger_one_and_of_all_classes():
    """Catches one that takes the first images, which a few writers wrote, and one that touches the other parts."""
    whole = digits()
    rows = {
        examples: [
            int(np.flatnonzero((whole.train_x == x).all(dim=1))[0]) for x in training_part("digits", examples).train_x
        ]
        for examples in (40, 125)
    }
    assert rows[125][:40] == rows[40]
    assert len(set(rows[125])) == 125
    assert max(rows[125]) > 900
    part = training_part("digits", 125)
    assert sorted(set(part.train_y.tolist())) == list(range(10))
    assert (part.train_y == whole.train_y[rows[125]]).all()
    assert (part.test_x == whole.test_x).all()
    assert (part.validation_x == whole.validation_x).all()
    assert len(training_part("clusters", 300).train_x) == 300


# The run ------------------------------------------------------------------------------------------------------------


def test_one_size_is_varied_at_a_time():
    full = Settings()
    assert [setting.name for setting in full.sweep("depth")] == [f"digits 1000, {depth} x 32" for depth in full.depths]
    assert [setting.name for setting in full.sweep("width")] == [f"digits 1000, 4 x {width}" for width in full.widths]
    assert full.sweep("digits")[0].name == "digits 125, 4 x 32"
    assert full.sweep("clusters")[-1].name == "clusters 8192, 4 x 32"
    assert len(full.all()) == 14
    for size in SIZES:
        assert len(full.sweep(size)) == len(full.values(size))


def test_estimates_follow_from_the_values_of_the_seeds(small):
    """Catches a benefit upside down, sizes or arms exchanged, and a test score at the wrong rate."""

    def steps(setting, arm):
        return np.array([30.0 if value is None else value for value in small.steps[setting][arm]])

    def errors(setting, arm):
        images = 500 if setting.startswith("digits") else 4000
        return (np.round((1 - np.array(small.test_accuracy[setting][arm])) * images) + 0.5) / (images + 1)

    for size in SIZES:
        for kind, of in (("steps", steps), ("errors", errors)):
            ratios = np.stack([of(setting, "none") / of(setting, "batch_norm") for setting in small.settings[size]])
            slopes = np.log2(ratios[1] / ratios[0]) / np.log2(small.values[size][1] / small.values[size][0])
            assert small.estimates[f"{size} {kind}"].estimate == pytest.approx(2 ** slopes.mean(), rel=1e-4)
            means = [each.estimate for each in small.benefit[kind][size]]
            assert means == pytest.approx(np.exp(np.log(ratios).mean(axis=1)), rel=1e-4)
        for setting, difference in zip(small.settings[size], small.accuracy_difference[size], strict=True):
            arms = {arm: np.array(small.test_accuracy[setting][arm]) for arm in ARMS}
            assert difference == paired_interval(arms["batch_norm"], arms["none"], difference_of_means)
    assert np.mean(small.test_accuracy["digits 1000, 1 x 12"]["none"]) > 0.7
    assert small.other_targets.keys() == {"0.9", "0.98"}


def test_both_arms_run_to_a_target_set_by_the_arm_without_batch_norm(small):
    for setting in SMALL.all():
        cell = training.Cell(
            setting=setting,
            arm="none",
            rates=tuple(rate for rate in SMALL.rates for _ in SMALL.tuning_seeds),
            seeds=SMALL.tuning_seeds * 3,
            part="validation",
            steps=30,
            batch_size=50,
            momentum=0.9,
            evaluate_every=3,
        )
        ends = training.train_members(cell)["accuracy"][:, -1].reshape(3, 2).mean(axis=1)
        assert small.target[setting.name] == pytest.approx(0.95 * ends.max())
        assert small.tuned[setting.name]["accuracy"]["none"] == SMALL.rates[int(ends.argmax())]


def test_processes_and_the_cache_change_nothing(small, tmp_path, monkeypatch):
    monkeypatch.setenv("BNCOURSE_CACHE", str(tmp_path))
    assert benefit.run(SMALL, jobs=2, cache=True) == small
    monkeypatch.setattr(training, "train", None)
    assert benefit.run(SMALL, cache=True) == small


def test_rates_and_targets_are_tuned_without_the_test_seeds(small):
    """Catches a rate that is chosen on the seeds that it is scored on."""
    other = benefit.run(dataclasses.replace(SMALL, test_seeds=(13, 14)))
    assert (other.tuned, other.target) == (small.tuned, small.target)
    assert other.test_accuracy != small.test_accuracy


def test_the_test_part_is_read_once_for_each_arm_and_setting(monkeypatch):
    read = []

    def recording_accuracy(network, x, y):
        read.append((network.seeds, len(x)))
        return np.full(len(network.seeds), 0.5)

    monkeypatch.setattr(training, "accuracy", recording_accuracy)
    benefit.run(dataclasses.replace(SMALL, steps=2))
    images = [4000 if setting.data == "clusters" else 500 for setting in SMALL.all()]
    assert read == [(SMALL.test_seeds, count) for count in images for _ in ARMS]


def test_a_run_survives_its_record(small, tmp_path):
    assert read_again(benefit, SMALL, small, tmp_path) == small


# The settings -------------------------------------------------------------------------------------------------------


def test_the_reduced_run_estimates_the_same():
    """Catches another common setting, fewer steps or another target, which would change the effects."""
    full = Settings()
    for name in ("depth", "width", "examples", "steps", "batch_size", "momentum", "target_share", "evaluate_every"):
        assert getattr(REDUCED, name) == getattr(full, name)
    for name in ("depths", "widths", "digits", "clusters", "rates"):
        assert set(getattr(REDUCED, name)) <= set(getattr(full, name))


def test_settings_that_would_be_unfair_or_undefined_are_refused():
    with pytest.raises(ValueError, match="at least 2 widths in rising order"):
        dataclasses.replace(SMALL, widths=(3,))
    with pytest.raises(ValueError, match="rising order"):
        dataclasses.replace(SMALL, rates=(0.1, 0.01))
