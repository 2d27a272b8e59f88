"""The laboratory: real data, many networks trained at once, and intervals for what is measured on them.

Everything here takes seeds and gives arrays with one row per network, so that a comparison of two kinds of network
is paired seed by seed. :mod:`bncourse.experiments` builds the course's experiments from it.
"""

from bncourse.lab.data import Split, digits
from bncourse.lab.intervals import Interval, mean_interval, paired_interval
from bncourse.lab.networks import MLPEnsemble
from bncourse.lab.training import History, accuracy, restricted_mean, steps_to_accuracy, steps_to_loss, train

__all__ = [
    "History",
    "Interval",
    "MLPEnsemble",
    "Split",
    "accuracy",
    "digits",
    "mean_interval",
    "paired_interval",
    "restricted_mean",
    "steps_to_accuracy",
    "steps_to_loss",
    "train",
]
