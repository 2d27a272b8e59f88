"""No wrong function is accepted, and each known mistake is named, alone and in pairs."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from bncourse.exercises.attempt import Attempt
from bncourse.exercises.faults import compatible_sets
from bncourse.exercises.judge import judge
from tests.exercises import (
    axes_mistakes,
    backward_mistakes,
    branch_mistakes,
    comparison_mistakes,
    convention_mistakes,
    dropout_mistakes,
    fault_mistakes,
    fold_mistakes,
    forward_mistakes,
    ghost_mistakes,
    gradcheck_mistakes,
    group_mistakes,
    growth_mistakes,
    inference_mistakes,
    matching_mistakes,
    merge_mistakes,
    placement_mistakes,
    ranks_mistakes,
    running_mistakes,
    staged_mistakes,
    welford_mistakes,
)
from tests.exercises.bank import EXERCISES, SEEDS, name_of, verdict

pytestmark = pytest.mark.slow

MISTAKES = (
    forward_mistakes,
    backward_mistakes,
    running_mistakes,
    merge_mistakes,
    welford_mistakes,
    inference_mistakes,
    staged_mistakes,
    axes_mistakes,
    group_mistakes,
    gradcheck_mistakes,
    convention_mistakes,
    growth_mistakes,
    comparison_mistakes,
    matching_mistakes,
    ghost_mistakes,
    dropout_mistakes,
    branch_mistakes,
    placement_mistakes,
    ranks_mistakes,
    fold_mistakes,
    fault_mistakes,
)
if any(exercise.kernels for exercise in EXERCISES):
    from tests.exercises import (
        backward_kernel_mistakes,
        inference_kernel_mistakes,
        missing_mask_mistakes,
        split_reduction_mistakes,
    )

    MISTAKES += (
        inference_kernel_mistakes,
        missing_mask_mistakes,
        split_reduction_mistakes,
        backward_kernel_mistakes,
    )
BANK = dict(zip((exercise.id for exercise in EXERCISES), MISTAKES, strict=True))


def by_hand():
    for exercise in EXERCISES:
        for name, function in BANK[exercise.id].SINGLES.items():
            yield pytest.param(exercise, function, {name}, id=f"{exercise.id}-{name}")
        for function, faults in BANK[exercise.id].IN_PLACE:
            yield pytest.param(exercise, function, faults, id=f"{exercise.id}-{name_of(function)}")


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_every_fault_has_a_function_written_by_hand(exercise):
    assert set(BANK[exercise.id].SINGLES) == {fault.id for fault in exercise.faults}


@pytest.mark.parametrize(("exercise", "function", "faults"), list(by_hand()))
def test_a_mistake_written_by_hand_is_named(exercise, function, faults):
    for seed in SEEDS:
        result = verdict(exercise, function, seed)
        if faults == exercise.given_faults:
            assert (result.outcome, result.faults) == ("not attempted", ())
            continue
        assert (result.outcome, set(result.faults)) == ("failed", faults), result.as_text()
        told = {fault.message for fault in exercise.faults if fault.id in faults}
        assert {fault.message for fault in exercise.faults if fault.message in result.message} == told


@pytest.mark.parametrize(("exercise", "function", "faults"), list(by_hand()))
def test_a_mistake_in_float32_is_never_accepted(exercise, function, faults):
    """Catches a float32 tolerance so wide that it lets a mistake through."""
    if exercise.kernels:
        pytest.skip("its results are in float32 as they are")

    def in_float32(*arguments, **keyword):
        returned = function(*arguments, **keyword)
        if isinstance(returned, tuple):
            return tuple(np.asarray(value, np.float32) for value in returned)
        return returned.astype(np.float32)

    for seed in SEEDS:
        result = verdict(exercise, in_float32, seed)
        if faults == exercise.given_faults:
            assert (result.outcome, result.faults) == ("not attempted", ())
            continue
        assert (result.outcome, set(result.faults)) == ("failed", faults), result.as_text()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_every_compatible_set_is_named_or_is_a_declared_coincidence(exercise, seed):
    """The probes are the same for all sets, so that each faulty result is computed once."""
    probes = exercise.make_probes(np.random.default_rng(seed))
    computed = {}

    def reference(faults, arguments):
        key = faults, id(arguments)
        if key not in computed:
            # The arguments are kept as well, so that no others come to have their id.
            computed[key] = arguments, exercise.reference(faults, arguments)
        return computed[key][1]

    remembering = replace(exercise, reference=reference)
    same = {pair.same_as: pair.named for pair in exercise.coincidences}
    sets = [chosen for size in (1, 2) for chosen in compatible_sets(exercise.faults, size)]
    assert len(sets) > 30
    given = exercise.given_faults or frozenset()
    sets += [frozenset(left) for size in range(3, len(given) + 1) for left in combinations(given, size)]
    for chosen in sets:
        attempts = [Attempt("ran", "", reference(chosen, probe.arguments)) for probe in probes]
        with np.errstate(all="ignore"):
            result = judge(remembering, probes, attempts)
        named = same.get(chosen, chosen)
        if named == exercise.given_faults:
            assert result.outcome == "not attempted"
            continue
        assert (result.outcome, set(result.faults)) == ("failed", set(named)), (chosen, result.as_text())


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_declared_coincidences_coincide(exercise):
    """Catches a coincidence declared to hide two mistakes that the probes should tell apart."""
    for pair in exercise.coincidences:
        for seed in SEEDS:
            for probe in exercise.make_probes(np.random.default_rng(seed)):
                for one, other in zip(
                    exercise.reference(pair.named, probe.arguments),
                    exercise.reference(pair.same_as, probe.arguments),
                    strict=True,
                ):
                    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * abs(one).max(initial=0))
        assert pair.reason


def unnamed():
    for exercise in EXERCISES:
        for function in BANK[exercise.id].UNNAMED:
            yield pytest.param(exercise, function, id=f"{exercise.id}-{name_of(function)}")


@pytest.mark.parametrize(("exercise", "function"), list(unnamed()))
def test_an_unknown_mistake_is_rejected_and_not_guessed(exercise, function):
    for seed in SEEDS:
        result = verdict(exercise, function, seed)
        assert result.outcome == "failed"
        assert result.faults == ()
        assert "not one that this check knows by name" in result.message
        assert "probe: " in result.message


def message_of(exercise, function):
    return verdict(exercise, function, 0).message


def test_the_first_property_that_is_off_is_shown_with_both_values():
    forward, backward = EXERCISES[:2]
    assert "the mean of y over the batch, feature" in message_of(forward, forward_mistakes.zeros)
    assert "should be" in message_of(forward, forward_mistakes.zeros)
    assert "y[" in message_of(forward, forward_mistakes.right_moments_in_another_order)
    assert "the standard deviation of y" in message_of(forward, forward_mistakes.constant)
    assert "y holds NaN or infinity in 1 of its 36 values" in message_of(
        forward, forward_mistakes.one_value_not_a_number
    )
    assert "dbeta, feature" in message_of(backward, backward_mistakes.zeros)
    assert "the mean of dx over the batch, feature" in message_of(backward, backward_mistakes.dy_passed_through)
    assert "\ndx[" in message_of(backward, backward_mistakes.mean_0_and_orthogonal_only)
    assert "dbeta holds NaN" in message_of(backward, backward_mistakes.nan_in_dbeta)


def test_failing_far_from_zero_alone_is_put_down_to_the_arithmetic():
    """Catches a message that calls a right formula wrong."""
    for seed in SEEDS:
        result = verdict(EXERCISES[0], forward_mistakes.one_pass_in_float32, seed)
        assert "All other probes agree" in result.message
        assert "Subtract the mean before you square" in result.message


def test_a_right_formula_that_fails_on_empty_parts_is_told_so():
    merge = EXERCISES[3]
    message = message_of(merge, merge_mistakes.an_empty_part_empties_the_whole)
    assert "All other probes agree" in message
    assert "An empty part is (0, 0.0, 0.0) and must change nothing" in message

    def without_a_thought_of_empty_parts(a, b):
        count = a[0] + b[0]
        return count, (a[0] * a[1] + b[0] * b[1]) / count, a[2] + b[2] + (a[1] - b[1]) ** 2 * a[0] * b[0] / count

    result = verdict(merge, without_a_thought_of_empty_parts, 0)
    assert result.outcome == "error"
    assert "ZeroDivisionError" in result.message
    assert "It did run on: a is larger" in result.message


def test_how_empty_parts_are_handled_does_not_hide_a_mistake():
    """Catches a diagnosis that names a mistake in one style only: with an early return, or by the formula."""

    def early(a, b):
        return b if a[0] == 0 else a if b[0] == 0 else merge_mistakes.mean_unweighted(a, b)

    for function in (early, merge_mistakes.mean_unweighted):
        assert verdict(EXERCISES[3], function, 0).faults == ("mean_unweighted",)


def test_float32_on_the_way_to_a_float64_result_is_told():
    def half_way(x, gamma, beta, eps):
        x = x.astype(np.float32)
        return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta

    result = verdict(EXERCISES[0], half_way, 0)
    assert result.outcome == "failed"
    assert "computed in float32 on the way" in result.message


def test_two_sets_that_explain_the_same_result_are_not_guessed_between():
    """Catches a diagnosis that names the first match: undeclared coincidences must not be resolved by their order."""
    exercise = replace(EXERCISES[1], coincidences=())
    names = list(exercise.make_probes(np.random.default_rng(0))[0].arguments)

    def learner(*arrays, eps):
        return exercise.reference(
            frozenset({"gamma_missing", "statistics_over_everything"}),
            dict(zip(names, (*arrays, eps), strict=True)),
        )

    result = verdict(exercise, learner, 0)
    assert (result.outcome, result.faults) == ("failed", ())


def test_replacing_allclose_earns_nothing(monkeypatch):
    """Catches a comparison through a function that the learner's cell can replace."""
    for name in ("allclose", "isclose", "array_equal"):
        monkeypatch.setattr(np, name, lambda *arguments, **options: True)
    monkeypatch.setattr(np.testing, "assert_allclose", lambda *arguments, **options: None)
    for exercise in EXERCISES:
        assert exercise.check(BANK[exercise.id].zeros).outcome == "failed"


def test_the_learner_cannot_reach_the_probes_through_its_arguments():
    """Catches a check that computes the expected values from arguments that the learner has overwritten."""

    def makes_everything_zero(x, gamma, beta, eps):
        x[...], gamma[...], beta[...] = 0, 0, 0
        return x

    assert verdict(EXERCISES[0], makes_everything_zero, 0).outcome == "failed"


def test_an_output_overwritten_by_the_next_call_is_copied_in_time():
    """Catches a check that keeps the learner's own array: here one buffer is returned by every call of a shape."""
    buffers = {}

    def reuses_its_buffer(x, gamma, beta, eps):
        buffer = buffers.setdefault(x.size, np.empty(x.size)).reshape(x.shape)
        buffer[...] = gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta
        return buffer

    assert verdict(EXERCISES[0], reuses_its_buffer, 0).outcome == "passed"
    assert verdict(EXERCISES[0], reuses_its_buffer, 1).outcome == "passed"
