"""What the tests of every exercise share."""

import linecache
import os
from itertools import count

import numpy as np

from bncourse.exercises import (
    backward_kernel,
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
    inference_kernel,
    matching_rate,
    merge,
    merge_ranks,
    missing_mask,
    norm_axes,
    residual_branch,
    running_statistics,
    split_reduction,
    welford,
    which_convention,
)
from bncourse.exercises.source import solution_source

EXERCISES = [
    bn_forward,
    bn_backward,
    running_statistics,
    merge,
    welford,
    bn_backward_inference,
    bn_backward_staged,
    norm_axes,
    group_norm_backward,
    gradient_check,
    which_convention,
    gradient_growth,
    fair_comparison,
    matching_rate,
    ghost_batch_norm,
    dropout_order,
    residual_branch,
    choose_placement,
    merge_ranks,
    fold_norm,
    find_the_fault,
]
# Kernels are checked in processes of their own, which test_kernels.py starts: Triton decides when it is imported
# whether it interprets them, and other tests want it to compile.
if os.environ.get("BNCOURSE_TEST_KERNELS"):
    EXERCISES += [inference_kernel, missing_mask, split_reduction, backward_kernel]
CELLS = count()
SEEDS = range(int(os.environ.get("BNCOURSE_TEST_SEEDS", "5")))


def verdict(exercise, function, seed):
    """The verdict on probes that are the same for the same seed."""
    return exercise.verdict(function, exercise.make_probes(np.random.default_rng(seed)))


def name_of(function):
    """What a function is called; of several kernels that are handed in together, their names."""
    return "+".join(each.__name__ for each in (function if isinstance(function, tuple) else (function,)))


def defined(source, *names):
    """What a cell with this source defines under these names; its text is found, as in a notebook."""
    filename = f"<cell {next(CELLS)}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace = {"__name__": "__main__"}
    exec(compile(source, filename, "exec"), namespace)
    found = tuple(namespace[name] for name in names)
    return found[0] if len(found) == 1 else found


def solved(exercise):
    """What a learner hands in who copies the solution."""
    return defined(solution_source(exercise), *exercise.function_names)
