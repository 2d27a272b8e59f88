"""Intervals for shares, which stay honest where all seeds agree and a bootstrap has nothing to vary."""

import math

import numpy as np
from jaxtyping import Bool

from bncourse.lab import Interval
from bncourse.results.verdicts import NORMAL_95


def share(of: Bool[np.ndarray, "S"]) -> Interval:
    """Share of trues, with Clopper and Pearson's exact interval; of none at all, nothing is known."""
    from scipy.stats import binomtest

    if not len(of):
        return Interval(0.5, 0.0, 1.0)
    bounds = binomtest(int(of.sum()), len(of)).proportion_ci(method="exact")
    return Interval(float(of.mean()), float(bounds.low), float(bounds.high))


def difference_of_shares(first: Bool[np.ndarray, "S"], second: Bool[np.ndarray, "S"]) -> Interval:
    r"""First share less second, of the same seeds.

    Wald's interval after half a seed has been added to each of the four combinations that a seed can show,

    .. math:: \frac{b - c}{n + 2} \pm \frac{1.96}{n + 2} \sqrt{b + c + 1 - \frac{(b - c)^2}{n + 2}}

    where b seeds show the first alone and c the second alone, cut off at 1 and -1 [Agresti and Min, 2005].
    """
    alone, other = int((first & ~second).sum()), int((second & ~first).sum())
    count = len(first) + 2
    middle = (alone - other) / count
    half = NORMAL_95 * math.sqrt(alone + other + 1 - (alone - other) ** 2 / count) / count
    return Interval((alone - other) / len(first), max(-1.0, middle - half), min(1.0, middle + half))
