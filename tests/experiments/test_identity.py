"""The experiment of C22: the three errors, and the rule."""

import dataclasses

import numpy as np
import pytest
import torch

from bncourse.experiments import identity
from bncourse.experiments.identity import Outcome, Settings, verdicts
from bncourse.lab import Interval, mean_interval

SMALL = Settings(batch_sizes=(16, 64), seeds=tuple(range(10, 18)))


@pytest.fixture(scope="module")
def measured() -> Outcome:
    return identity.run(SMALL)


def answer(outcome: Outcome) -> str:
    (verdict,) = verdicts(outcome)
    assert verdict.claim == "C22"
    return verdict.answer


def test_it_is_the_identity_on_its_batch_and_in_inference_and_not_on_the_next(measured):
    assert np.max(measured.same_batch) < 1e-12
    assert np.max(measured.inference) < 1e-12
    assert np.min(measured.next_batch) > 0.03
    assert answer(measured) == "qualified"


def test_the_error_on_the_next_batch_is_about_that_of_theory(monkeypatch):
    """Independent normal pixels, for which it is the square root of 3/m; the pieces of digits are not independent."""
    pixels = torch.from_numpy(np.random.default_rng(0).standard_normal((4000, 64)).astype(np.float32))
    monkeypatch.setattr(identity, "digits", lambda: type("Split", (), {"train_x": pixels}))
    for size, interval in zip((64, 256), identity.run(Settings(batch_sizes=(64, 256))).mean_next_batch, strict=True):
        # The mean of a root is below the root of the mean, by a few percent at these sizes.
        assert interval.estimate == pytest.approx((3 / size) ** 0.5, rel=0.15)


def test_estimates_follow_from_the_values_of_the_seeds(measured):
    assert measured.batch_sizes == [16, 64]
    for values, interval in zip(measured.next_batch, measured.mean_next_batch, strict=True):
        assert len(values) == 8
        assert interval == mean_interval(np.array(values))


def test_seeds_are_drawn_apart(measured):
    other = identity.run(dataclasses.replace(SMALL, seeds=(11, 12)))
    assert np.array(other.next_batch) == pytest.approx(np.array(measured.next_batch)[:, 1:3])
    assert len({round(value, 9) for value in measured.next_batch[0]}) == 8


@pytest.mark.parametrize(
    ("same", "inference", "following", "expected"),
    [
        (1e-15, 1e-15, [(0.3, 0.4), (0.1, 0.2)], "qualified"),
        (1e-15, 1e-15, [(0.001, 0.002), (0.0001, 0.0002)], "supported"),
        (1e-15, 1e-15, [(0.3, 0.4), (0.009, 0.02)], "inconclusive"),
        (1e-15, 1e-15, [(0.3, 0.4), (0.001, 0.002)], "inconclusive"),
        (0.02, 1e-15, [(0.3, 0.4), (0.1, 0.2)], "contradicted"),
        (1e-15, 0.02, [(0.001, 0.002), (0.001, 0.002)], "contradicted"),
    ],
)
def test_the_rule_knows_each_of_its_answers(same, inference, following, expected):
    intervals = [Interval((low + high) / 2, low, high) for low, high in following]
    values = [[interval.estimate] * 3 for interval in intervals]
    outcome = Outcome([16, 64], [[0.0, same]] * 2, [[0.0, inference]] * 2, values, intervals)
    assert answer(outcome) == expected


def test_the_registered_seeds_were_not_those_of_the_trials():
    assert not set(Settings().seeds) & set(identity.REDUCED.seeds)
    assert identity.with_seeds(Settings(), 40).seeds[:32] == Settings().seeds
