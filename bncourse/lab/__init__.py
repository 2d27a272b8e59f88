"""The laboratory: real data, many networks trained at once, and intervals for what is measured on them.

Everything here takes seeds and gives arrays with one row per network, so that a comparison of two kinds of network
is paired seed by seed. :mod:`bncourse.experiments` builds the course's experiments from it.
"""

from bncourse.lab.data import Split, digits
from bncourse.lab.intervals import (
    Interval,
    difference_of_means,
    mean_interval,
    paired_interval,
    ratio_of_geometric_means,
    ratio_of_means,
)
from bncourse.lab.networks import MLPEnsemble
from bncourse.lab.outcomes import fast_rates, largest_rate, restricted_mean, steps_to_accuracy, steps_to_loss
from bncourse.lab.training import History, accuracy, train

__all__ = [
    "History",
    "Interval",
    "MLPEnsemble",
    "Split",
    "accuracy",
    "difference_of_means",
    "digits",
    "fast_rates",
    "largest_rate",
    "mean_interval",
    "paired_interval",
    "ratio_of_geometric_means",
    "ratio_of_means",
    "restricted_mean",
    "steps_to_accuracy",
    "steps_to_loss",
    "train",
]
