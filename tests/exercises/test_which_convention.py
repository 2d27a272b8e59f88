"""The exercise recognizes real layers, and its probes leave no shortcut."""

import numpy as np
import pytest

from bncourse.exercises import which_convention
from bncourse.reference import RunningStatistics
from tests.exercises import convention_mistakes
from tests.exercises.bank import SEEDS, verdict


def identify(x, before, after):
    momentum, ddof = which_convention.solution_function(x, *before, *after)
    return round(float(momentum), 3), ddof


def batch(m=6):
    return np.random.default_rng(0).normal(3, 2, (m, 4))


def test_it_recognizes_pytorch():
    torch = pytest.importorskip("torch")
    for settings, found in (({}, (0.1, 1)), ({"momentum": 0.99}, (0.99, 1))):
        layer = torch.nn.BatchNorm1d(4, dtype=torch.float64, **settings)
        layer(torch.tensor(batch()) - 5)
        before = layer.running_mean.numpy().copy(), layer.running_var.numpy().copy()
        layer(torch.tensor(batch()))
        assert identify(batch(), before, (layer.running_mean.numpy(), layer.running_var.numpy())) == found


def test_it_recognizes_this_package_and_the_formula_of_the_others():
    statistics = RunningStatistics(4)
    before = statistics.mean.copy(), statistics.var.copy()
    statistics.update(batch())
    assert identify(batch(), before, (statistics.mean, statistics.var)) == (0.1, 1)
    flax = tuple(0.99 * old + 0.01 * new for old, new in zip(before, (batch().mean(0), batch().var(0)), strict=True))
    assert identify(batch(), before, flax) == (0.01, 0)


def test_in_float32_a_batch_of_a_million_does_not_say_which_variance_it_was():
    """As the page has it: with the weight 0.01 the two differ in the eighth digit, and with two samples by far."""
    before = np.zeros(1, np.float32), np.ones(1, np.float32)
    for m, differ in ((10**6, False), (2, True)):
        var = batch(m)[:, 0].var()
        kept = [np.float32(0.99 * before[1][0] + 0.01 * var * factor) for factor in (1, m / (m - 1))]
        assert (kept[0] != kept[1]) == differ


@pytest.mark.parametrize("name", ["first_feature_only", "averages_a_ratio_of_nothing"])
def test_a_right_formula_that_fails_where_a_mean_stands_still_is_told_so(name):
    function = getattr(convention_mistakes, name)
    for seed in SEEDS:
        result = verdict(which_convention, function, seed)
        assert "All other probes agree. So the formula is right" in result.message
        assert "0 over 0" in result.message


@pytest.mark.parametrize(("ddof", "fault"), [(0, "always_unbiased"), (1, "always_biased")])
def test_whoever_asks_for_equality_is_told_to_take_the_nearer(ddof, fault):
    """Catches updates that one way of writing the formula gives to the last digit, so that equality passes at times."""

    def equal(x, old_mean, old_var, new_mean, new_var):
        momentum, _ = which_convention.solution_function(x, old_mean, old_var, new_mean, new_var)
        var = x.var(0, ddof=ddof)
        for predicted in ((1 - momentum) * old_var + momentum * var, old_var + momentum * (var - old_var)):
            if (predicted == new_var).all():
                return momentum, ddof
        return momentum, 1 - ddof

    for seed in range(100):
        result = verdict(which_convention, equal, seed)
        assert result.faults == (fault,)
    assert "take the nearer one" in result.message


def test_a_truth_value_is_asked_to_be_a_number():
    def answers_yes_or_no(x, *statistics):
        momentum, ddof = which_convention.solution_function(x, *statistics)
        return momentum, ddof == 1

    result = verdict(which_convention, answers_yes_or_no, 0)
    assert result.outcome == "wrong interface"
    assert "ddof is a bool of dtype bool: return a number." in result.message


def test_both_variances_come_and_their_order_tells_nothing():
    """Catches probes that a list of zeros and ones answers by heart."""
    seen = set()
    for seed in range(30):
        probes = which_convention.make_probes(np.random.default_rng(seed))
        answers = [which_convention.reference(frozenset(), probe.arguments) for probe in probes]
        ddofs = tuple(int(ddof) for _, ddof in answers)
        assert {0, 1} <= set(ddofs[:6])
        seen.add(ddofs)
        momenta = np.array([momentum for momentum, _ in answers])
        assert abs(momenta - 0.1).min() > 0.04
        assert min(momenta) < 0.03
        assert max(momenta) > 0.85
    assert len(seen) > 15
