"""What the tests of every exercise share."""

import os

import numpy as np

from bncourse.exercises import bn_backward, bn_backward_inference, bn_forward, merge, running_statistics, welford

EXERCISES = [bn_forward, bn_backward, running_statistics, merge, welford, bn_backward_inference]
SEEDS = range(int(os.environ.get("BNCOURSE_TEST_SEEDS", "5")))


def verdict(exercise, function, seed):
    """The verdict on probes that are the same for the same seed."""
    return exercise.verdict(function, exercise.make_probes(np.random.default_rng(seed)))
