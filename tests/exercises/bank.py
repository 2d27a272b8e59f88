"""What the tests of every exercise share."""

import os

import numpy as np

from bncourse.exercises import (
    bn_backward,
    bn_backward_inference,
    bn_backward_staged,
    bn_forward,
    gradient_check,
    group_norm_backward,
    merge,
    norm_axes,
    running_statistics,
    welford,
    which_convention,
)

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
]
SEEDS = range(int(os.environ.get("BNCOURSE_TEST_SEEDS", "5")))


def verdict(exercise, function, seed):
    """The verdict on probes that are the same for the same seed."""
    return exercise.verdict(function, exercise.make_probes(np.random.default_rng(seed)))
