"""The laboratory: real data, many networks trained at once, and intervals for what is measured on them.

Everything here takes seeds and gives arrays with one row per network, so that a comparison of two kinds of network
is paired seed by seed. :mod:`bncourse.experiments` builds the course's experiments from it.
"""

from bncourse.lab.cache import cache_folder
from bncourse.lab.corruptions import corrupted_digits
from bncourse.lab.data import Split, clusters, digits, with_noisy_labels
from bncourse.lab.download import DownloadError
from bncourse.lab.history import History, Trace
from bncourse.lab.images import cifar10, fashion_mnist, mnist
from bncourse.lab.intervals import (
    Interval,
    difference_of_means,
    geometric_mean_interval,
    mean_interval,
    paired_interval,
    ratio_of_geometric_means,
    ratio_of_means,
)
from bncourse.lab.landscape import Curvature, Landscape
from bncourse.lab.measuring import Probe, measure
from bncourse.lab.networks import ConvEnsemble, MLPEnsemble
from bncourse.lab.noise import Perturbation
from bncourse.lab.norms import Norm
from bncourse.lab.objective import Step
from bncourse.lab.outcomes import fast_rates, largest_rate, restricted_mean, steps_to_accuracy, steps_to_loss
from bncourse.lab.probes import Activations, CovariateShift, Gradients, Weights
from bncourse.lab.recurrent import RecurrentEnsemble
from bncourse.lab.runs import RunError, run_all
from bncourse.lab.stacked import Normalization
from bncourse.lab.statistics import take_statistics
from bncourse.lab.stream import Stream
from bncourse.lab.training import accuracy, mean_loss, train
from bncourse.lab.transformer import TransformerEnsemble

__all__ = [
    "Activations",
    "ConvEnsemble",
    "CovariateShift",
    "Curvature",
    "DownloadError",
    "Gradients",
    "History",
    "Interval",
    "Landscape",
    "MLPEnsemble",
    "Norm",
    "Normalization",
    "Perturbation",
    "Probe",
    "RecurrentEnsemble",
    "RunError",
    "Split",
    "Step",
    "Stream",
    "Trace",
    "TransformerEnsemble",
    "Weights",
    "accuracy",
    "cache_folder",
    "cifar10",
    "clusters",
    "corrupted_digits",
    "difference_of_means",
    "digits",
    "fashion_mnist",
    "fast_rates",
    "geometric_mean_interval",
    "largest_rate",
    "mean_interval",
    "mean_loss",
    "measure",
    "mnist",
    "paired_interval",
    "ratio_of_geometric_means",
    "ratio_of_means",
    "restricted_mean",
    "run_all",
    "steps_to_accuracy",
    "steps_to_loss",
    "take_statistics",
    "train",
    "with_noisy_labels",
]
