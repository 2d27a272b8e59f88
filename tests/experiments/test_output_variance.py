"""The experiment of C21: what the layer gives at each spread, and the rule."""

import dataclasses

import numpy as np
import pytest

from bncourse.experiments import output_variance
from bncourse.experiments.output_variance import Outcome, Settings, verdicts
from bncourse.reference import batch_norm


@pytest.fixture(scope="module")
def measured() -> Outcome:
    return output_variance.run(Settings())


def answer(outcome: Outcome) -> str:
    (verdict,) = verdicts(outcome)
    assert verdict.claim == "C21"
    return verdict.answer


def test_the_layer_gives_what_the_reference_gives(measured):
    """The oracle is the package's own transform, on a batch made anew from its definition."""
    settings = Settings()
    shape = np.random.default_rng(settings.seed).standard_normal(settings.examples)
    shape = (shape - shape.mean()) / shape.std()
    for std, mean, variance in zip(measured.std, measured.output_mean, measured.output_variance, strict=True):
        y, _ = batch_norm((1 + std * shape)[:, None], np.ones(1), np.zeros(1), eps=settings.eps)
        assert mean == pytest.approx(float(y.mean()), abs=1e-9)
        assert variance == pytest.approx(float(y.var()), rel=1e-9)


def test_half_of_the_variance_is_gone_where_it_equals_eps(measured):
    place = measured.std.index(min(measured.std, key=lambda std: abs(std - 1e-5**0.5)))
    assert measured.output_variance[place] == pytest.approx(0.5, abs=1e-9)
    assert measured.output_variance[0] < 1e-4
    assert 1 - measured.output_variance[-1] < 1e-6
    assert answer(measured) == "qualified"


def test_the_rule_knows_each_of_its_answers():
    def outcome(variances, theory=None, means=None):
        theory = variances if theory is None else theory
        return Outcome([0.001, 0.00316, 1.0], means or [0.0] * 3, variances, theory, 1e-5)

    assert answer(outcome([0.995, 1.0, 1.005])) == "supported"
    assert answer(outcome([0.5, 1.0, 1.0])) == "qualified"
    assert answer(outcome([0.5, 0.6, 0.7])) == "contradicted"
    assert answer(outcome([1.0, 1.0, 1.0], means=[0.5, 0.0, 0.0])) == "qualified"
    assert answer(outcome([0.5, 1.0, 1.0], theory=[0.6, 1.0, 1.0])) == "inconclusive"


def test_a_layer_with_another_eps_is_seen(measured):
    """Catches a sweep that would fit any curve: theory is that of the eps which the settings name."""
    other = output_variance.run(dataclasses.replace(Settings(), eps=1e-3))
    assert answer(dataclasses.replace(measured, output_variance=other.output_variance[::-1])) == "inconclusive"


def test_exponents_that_leave_out_the_middle_are_refused():
    with pytest.raises(ValueError, match="have 0 among them"):
        Settings(exponents=(1, 2))
    with pytest.raises(ValueError, match="rise"):
        Settings(exponents=(2, 0))
