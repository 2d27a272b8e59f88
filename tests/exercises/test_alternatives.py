"""Correct functions pass, however they are written, on every seed."""

import numpy as np
import pytest

from bncourse.exercises import (
    bn_backward,
    bn_backward_inference,
    bn_backward_staged,
    bn_forward,
    choose_placement,
    dropout_order,
    fair_comparison,
    find_the_fault,
    fold_norm,
    ghost_batch_norm,
    gradient_check,
    gradient_growth,
    group_norm_backward,
    matching_rate,
    merge,
    merge_ranks,
    norm_axes,
    residual_branch,
    running_statistics,
    welford,
    which_convention,
)
from bncourse.reference import RunningStatistics, batch_norm, batch_norm_backward
from tests.exercises.alternatives import BACKWARD, FORWARD, INFERENCE, MERGE, RUNNING, STAGED, WELFORD
from tests.exercises.bank import EXERCISES, SEEDS, defined, name_of, solved, verdict
from tests.exercises.branch_alternatives import BRANCH
from tests.exercises.comparison_alternatives import COMPARISON
from tests.exercises.convention_alternatives import CONVENTION
from tests.exercises.dropout_alternatives import DROPOUT
from tests.exercises.fault_alternatives import FAULT
from tests.exercises.fold_alternatives import FOLD
from tests.exercises.ghost_alternatives import GHOST
from tests.exercises.gradcheck_alternatives import GRADCHECK
from tests.exercises.growth_alternatives import GROWTH
from tests.exercises.matching_alternatives import MATCHING
from tests.exercises.norm_alternatives import AXES, GROUPS
from tests.exercises.placement_alternatives import PLACEMENT
from tests.exercises.ranks_alternatives import RANKS

pytestmark = pytest.mark.slow

ALTERNATIVES = {
    bn_forward.id: FORWARD,
    bn_backward.id: BACKWARD,
    running_statistics.id: RUNNING,
    merge.id: MERGE,
    welford.id: WELFORD,
    bn_backward_inference.id: INFERENCE,
    bn_backward_staged.id: STAGED,
    norm_axes.id: AXES,
    group_norm_backward.id: GROUPS,
    gradient_check.id: GRADCHECK,
    which_convention.id: CONVENTION,
    gradient_growth.id: GROWTH,
    fair_comparison.id: COMPARISON,
    matching_rate.id: MATCHING,
    ghost_batch_norm.id: GHOST,
    dropout_order.id: DROPOUT,
    residual_branch.id: BRANCH,
    choose_placement.id: PLACEMENT,
    merge_ranks.id: RANKS,
    fold_norm.id: FOLD,
    find_the_fault.id: FAULT,
}
if any(exercise.kernels for exercise in EXERCISES):
    from tests.exercises.kernel_alternatives import KERNELS
    from tests.exercises.kernel_pair_alternatives import KERNEL_PAIRS

    ALTERNATIVES |= KERNELS | KERNEL_PAIRS
PAIRS = [(exercise, function) for exercise in EXERCISES for function in ALTERNATIVES[exercise.id]]


@pytest.mark.parametrize(
    ("exercise", "function"), PAIRS, ids=[f"{exercise.id}-{name_of(function)}" for exercise, function in PAIRS]
)
def test_a_correct_function_passes(exercise, function):
    code = getattr(function, "__code__", None)
    if code is not None and "torch" in {*code.co_names, *code.co_varnames}:
        pytest.importorskip("torch")
    for seed in SEEDS:
        result = verdict(exercise, function, seed)
        assert result.outcome == "passed", result.as_text()
        assert result.faults == ()


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_the_solution_passes(exercise):
    for seed in SEEDS:
        assert verdict(exercise, solved(exercise), seed).outcome == "passed"


def test_the_packages_own_functions_pass():
    """Catches an exercise whose reference drifted from the package's."""
    for seed in SEEDS:
        forward = verdict(bn_forward, lambda x, gamma, beta, eps: batch_norm(x, gamma, beta, eps)[0], seed)
        assert forward.outcome == "passed"

        def backward(dy, x, gamma, eps):
            _, cache = batch_norm(x, gamma, np.zeros_like(gamma), eps)
            return batch_norm_backward(dy, cache)

        assert verdict(bn_backward, backward, seed).outcome == "passed"

        def update(x, running_mean, running_var, momentum):
            statistics = RunningStatistics(len(running_mean), momentum)
            statistics.mean, statistics.var = running_mean, running_var
            statistics.update(x)
            return statistics.mean, statistics.var

        assert verdict(running_statistics, update, seed).outcome == "passed"


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_the_printed_solution_runs_and_passes(exercise):
    assert exercise.check(defined(exercise.solution(), *exercise.function_names)).outcome == "passed"
