"""The experiment of C9 and C18: its rules, its estimands on cases with a known answer, and its fairness."""

import dataclasses

import numpy as np
import pytest

from bncourse.experiments import regularization
from bncourse.experiments.regularization import REDUCED, Arm, Outcome, Settings, measure, training, verdicts
from bncourse.experiments.regularization.settings import FULL, NOISE_TASKS, NONE, TASKS, Choice
from bncourse.experiments.regularization.training import Cell, normalization, task_data, train_members
from bncourse.lab import (
    Interval,
    MLPEnsemble,
    Normalization,
    accuracy,
    clusters,
    difference_of_means,
    digits,
    paired_interval,
    train,
)
from tests.experiments.common import interval, read_again

SMALL = Settings(
    hidden=(16,),
    examples=64,
    clean_digits=60,
    sizes=(4, 8, 32),
    rates=(0.01, 0.1, 1.0),
    steps=40,
    evaluate_every=10,
    batch_size=32,
    tuning_seeds=(1, 2),
    test_seeds=(3, 4, 5),
)


@pytest.fixture(scope="module")
def small() -> Outcome:
    return regularization.run(SMALL)


# The rules ----------------------------------------------------------------------------------------------------------

ABOVE, BELOW, ACROSS = (1.2, 2.0), (-0.5, 0.8), (0.5, 1.5)
KINDS = ("batch", "ghosts", "noise")
DIFFERENCES = [(task, kind) for task in NOISE_TASKS for kind in KINDS]


def share(points: tuple[float, float]) -> Interval:
    return interval(points[0] / 100, points[1] / 100)


def outcome(
    noise: dict | None = None, accuracies: dict | None = None, size: int = 8, rates: dict | None = None
) -> Outcome:
    """Eight seeds, three rates; differences in points."""
    noise = dict.fromkeys(DIFFERENCES, ABOVE) | (noise or {})
    arms = [arm.name for arm in (NONE, FULL, *(Arm(kind, of) for kind in ("ghosts", "noise") for of in (4, 8, 64)))]
    tuned = {task: {arm: [0.1, 100] for arm in arms} for task in TASKS}
    for (task, arm), rate in (rates or {}).items():
        tuned[task][arm] = [rate, 100]
    plain = {field.name: {} for field in dataclasses.fields(Outcome)}
    parts = {
        "seeds": 8,
        "rates": [0.01, 0.1, 1.0],
        "sizes": [4, 8, 64],
        "size": dict.fromkeys(NOISE_TASKS, size),
        "tuned": tuned,
        "noise": {task: {kind: share(noise[task, kind]) for kind in KINDS} for task in NOISE_TASKS},
        "accuracy": {
            task: share(points) for task, points in (dict.fromkeys(TASKS, ABOVE) | (accuracies or {})).items()
        },
        "gap": dict.fromkeys(TASKS, share(BELOW)),
    }
    return Outcome(**{**plain, **parts})


def answers(of: Outcome) -> tuple[str, str]:
    first, second = verdicts(of)
    assert (first.claim, second.claim) == ("C9", "C18")
    return first.answer, second.answer


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "supported"),
        ({("clusters", "noise"): ACROSS}, "inconclusive"),
        ({("clusters", "noise"): BELOW}, "qualified"),
        ({(task, "batch"): BELOW for task in NOISE_TASKS}, "qualified"),
        (dict.fromkeys(DIFFERENCES, BELOW) | {("clusters", "ghosts"): ACROSS}, "inconclusive"),
        (dict.fromkeys(DIFFERENCES, BELOW), "contradicted"),
    ],
)
def test_noise_has_to_add_a_point_in_ordinary_batches_in_ghost_batches_and_by_itself(changed, expected):
    assert answers(outcome(noise=changed)) == (expected, "supported")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "supported"),
        ({"noisy digits": BELOW}, "qualified"),
        ({"digits": ACROSS}, "inconclusive"),
        (dict.fromkeys(TASKS, BELOW), "contradicted"),
    ],
)
def test_accuracy_has_to_rise_on_all_data_sets(changed, expected):
    assert answers(outcome(accuracies=changed)) == ("supported", expected)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (("clusters", "full"), ("inconclusive", "supported")),
        (("clusters", "ghosts of 8"), ("inconclusive", "supported")),
        (("noisy digits", "noise of 8"), ("inconclusive", "supported")),
        (("clusters", "ghosts of 64"), ("inconclusive", "inconclusive")),
        (("digits", "none"), ("supported", "inconclusive")),
        (("clusters", "ghosts of 4"), ("supported", "supported")),
    ],
)
def test_an_edge_of_the_grid_leaves_open_what_its_arm_has_a_part_in(place, expected):
    for rate in (0.01, 1.0):
        assert answers(outcome(rates={place: rate})) == expected


def test_ordinary_noise_may_be_the_best():
    """Catches arms of C9 that are named by the chosen size alone."""
    assert answers(outcome(size=64, rates={("clusters", "ghosts of 8"): 1.0})) == ("supported", "supported")
    assert answers(outcome(size=64, rates={("clusters", "noise of 64"): 1.0})) == ("inconclusive", "supported")


def test_a_verdict_shows_its_differences_in_points():
    first, second = verdicts(outcome())
    assert [effect.low for effect in first.effects] == pytest.approx([1.2] * 6)
    assert [effect.resolution for effect in first.effects] == [0.025] * 3 + [0.2] * 3
    assert [effect.low for effect in second.effects] == pytest.approx([1.2] * 3)
    assert "clusters" in first.effects[0].name
    assert "digits with noisy labels" in second.effects[1].name


# The arms and the data ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arm", "expected", "full"),
    [
        (NONE, False, False),
        (FULL, True, True),
        (Arm("ghosts", 8), Normalization(group=8), False),
        (Arm("ghosts", 32), True, False),
        (Arm("noise", 8), Normalization(ghost_noise=8), True),
    ],
)
def test_an_arm_has_its_own_statistics_and_the_batch_of_all(monkeypatch, arm, expected, full):
    """Catches noise on top of the noise of the batch, and ghost batches that the optimizer steps on."""
    seen = []

    def recording_train(*arguments, **options):
        seen.append((arguments[4], options["full_statistics"]))
        return train(*arguments, **options)

    monkeypatch.setattr(training, "train", recording_train)
    assert normalization(arm, 32) == expected
    train_members(cell("clusters", arm, steps=2))
    assert seen == [(32, full)]


def cell(task: str, arm: Arm, **changes) -> Cell:
    plain = {"task": task, "arm": arm, "rates": (0.1,), "seeds": (4,), "part": "test", "steps": 20, "settings": SMALL}
    return Cell(**{**plain, **changes})


def test_a_run_of_an_arm_is_one_of_the_laboratory():
    """Catches rates and seeds exchanged, and a score on the wrong part."""
    data = clusters(64)
    found = train_members(cell("clusters", Arm("ghosts", 8), rates=(0.1, 0.3), seeds=(4, 5, 6)))
    network = MLPEnsemble((20, 16, 10), (5,), Normalization(group=8))
    train(network, data, [0.3], 20, 32, evaluate_every=20)
    assert found["accuracy"].shape == (2, 3, 1)
    assert found["accuracy"][1, 1] == accuracy(network, data.test_x, data.test_y)
    assert found["train_accuracy"][1, 1] == accuracy(network, data.train_x, data.train_y)


def test_labels_are_noisy_in_the_training_part_of_the_noisy_digits_alone():
    whole, full = digits(), Settings()
    noisy = task_data("noisy digits", full)
    clean = task_data("noisy digits", dataclasses.replace(full, noisy_labels=0.0))
    assert len(noisy.train_y) == 512
    assert 0.14 < float((noisy.train_y != clean.train_y).double().mean()) <= 0.2
    few = task_data("digits", full)
    assert len(few.train_y) == 250
    assert (few.train_y == clean.train_y[:250]).all()
    for data in (noisy, few):
        assert (data.test_y == whole.test_y).all()
        assert (data.validation_y == whole.validation_y).all()
    assert (task_data("clusters", SMALL).train_y == clusters(64).train_y).all()


# The estimands ------------------------------------------------------------------------------------------------------


def test_the_best_pair_of_rate_and_steps_is_that_of_the_mean():
    """Catches the best end instead of the best step, the best seed, and axes exchanged."""
    scores = np.array([[[0.1, 0.6, 0.2], [0.1, 0.6, 0.4]], [[0.5, 0.9, 0.5], [0.5, 0.1, 0.5]]])
    assert measure.best((0.01, 0.1), np.array([20.0, 40.0, 60.0]), scores) == Choice(0.01, 40, pytest.approx(0.6))


def test_the_differences_follow_from_the_values_of_the_seeds(small):
    """Catches a difference upside down, arms or data sets exchanged, and values of the tuning seeds."""

    def between(task: str, first: str, second: str) -> Interval:
        arms = small.test_accuracy[task]
        return paired_interval(np.array(arms[first]), np.array(arms[second]), difference_of_means)

    def gap(task: str, arm: str) -> float:
        return float(np.mean(small.train_accuracy[task][arm]) - np.mean(small.test_accuracy[task][arm]))

    for task in NOISE_TASKS:
        size = small.size[task]
        arms = {"batch": "ghosts of 32", "ghosts": f"ghosts of {size}", "noise": f"noise of {size}"}
        assert small.noise[task] == {kind: between(task, arm, "full") for kind, arm in arms.items()}
    for task in TASKS:
        assert small.accuracy[task] == between(task, "ghosts of 32", "none")
        assert small.gap[task].estimate == pytest.approx(gap(task, "ghosts of 32") - gap(task, "none"))
    assert {len(values) for arms in small.test_accuracy.values() for values in arms.values()} == {3}
    assert np.mean(small.test_accuracy["digits"]["ghosts of 32"]) > 0.7


def test_every_arm_is_tuned_on_validation_and_the_size_too(small):
    for task in NOISE_TASKS:
        scores = small.validation_accuracy[task]
        assert small.size[task] == max((4, 8, 32), key=lambda size: scores[f"ghosts of {size}"])
        ghosts = {f"ghosts of {size}" for size in (4, 8, 32)}
        assert scores.keys() == {"none", "full", *ghosts, f"noise of {small.size[task]}"}
    task, arm = "noisy digits", FULL
    found = train_members(cell(task, arm, rates=SMALL.rates, seeds=(1, 2), part="validation", steps=40))
    mean = found["accuracy"].mean(axis=1)
    rate, steps = small.tuned[task][arm.name]
    assert mean[SMALL.rates.index(rate), int(steps) // 10 - 1] == mean.max()
    assert small.validation_accuracy[task][arm.name] == pytest.approx(mean.max(), abs=1e-6)


def test_networks_are_scored_at_the_steps_they_were_tuned_to(small):
    rate, steps = small.tuned["clusters"]["ghosts of 8"]
    found = train_members(cell("clusters", Arm("ghosts", 8), rates=(rate,), steps=int(steps)))
    assert small.test_accuracy["clusters"]["ghosts of 8"][1] == pytest.approx(found["accuracy"][0, 0, 0], abs=1e-6)


# The run ------------------------------------------------------------------------------------------------------------


def test_processes_and_the_cache_change_nothing(small, tmp_path, monkeypatch):
    monkeypatch.setenv("BNCOURSE_CACHE", str(tmp_path))
    assert regularization.run(SMALL, jobs=2, cache=True) == small
    monkeypatch.setattr(training, "train", None)
    assert regularization.run(SMALL, cache=True) == small


def test_choices_are_made_without_the_test_seeds_and_the_test_part(small, monkeypatch):
    """Catches a rate, a stop or a size that is chosen on what it is scored on, and a test part read twice."""
    read = []

    def recording_accuracy(network, x, y):
        read.append((network.seeds, len(x)))
        return np.full(len(network.seeds), 0.5)

    monkeypatch.setattr(training, "accuracy", recording_accuracy)
    other = regularization.run(dataclasses.replace(SMALL, test_seeds=(13, 14)))
    assert (other.tuned, other.size) == (small.tuned, small.size)
    parts = {"clusters": 4000, "noisy digits": 500, "digits": 500}
    expected = [((13, 14), parts[task]) for task in TASKS for _ in small.tuned[task]]
    assert sorted(each for each in read if each[1] in (500, 4000)) == sorted(expected)


def test_a_run_survives_its_record(small, tmp_path):
    assert read_again(regularization, SMALL, small, tmp_path) == small


# The settings -------------------------------------------------------------------------------------------------------


def test_the_reduced_run_has_smaller_networks_and_fewer_examples_of_the_same_kind():
    """Catches other data or another batch, which would make other effects of it."""
    full = Settings()
    for name in ("clean_digits", "noisy_labels", "evaluate_every", "batch_size", "momentum"):
        assert getattr(REDUCED, name) == getattr(full, name)
    assert len(REDUCED.hidden) == len(full.hidden)
    for name in ("sizes", "rates"):
        assert set(getattr(REDUCED, name)) <= set(getattr(full, name))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rates": (0.1, 0.01)}, "rates in rising order"),
        ({"sizes": (4, 8)}, "expected the last of sizes to be the batch of 32"),
        ({"sizes": (3, 32)}, r"divide the batch of 32 and the 64 examples, got \[3\]"),
        ({"sizes": (2, 32)}, r"sizes of 4 at least .* got \[2\]"),
        ({"examples": 72}, r"got \[32\]"),
    ],
)
def test_settings_that_would_be_unfair_or_undefined_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)
