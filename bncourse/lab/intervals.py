"""Estimates with 95 % intervals, from values that come seed by seed."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

CONFIDENCE = 0.95
RESAMPLES = 9999


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval.

    Attributes
    ----------
    estimate : of the quantity.
    low, high : ends of its interval.
    """

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.2f} [{self.low:.2f}, {self.high:.2f}]"


def mean_interval(values: Float[np.ndarray, "S"]) -> Interval:
    """Mean over seeds, with a bootstrap interval.

    Parameters
    ----------
    values : one for each seed.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.lab import mean_interval
    >>> interval = mean_interval(np.array([0.9, 1.1, 1.0, 1.2, 0.8]))
    >>> round(interval.estimate, 3), interval.low < 1 < interval.high
    (1.0, True)
    """
    return _bootstrap((values,), lambda sample: np.mean(sample, axis=-1))


def geometric_mean_interval(values: Float[np.ndarray, "S"]) -> Interval:
    """Geometric mean of positive values over seeds, with a bootstrap interval.

    Parameters
    ----------
    values : one for each seed.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.lab import geometric_mean_interval
    >>> round(geometric_mean_interval(np.array([1.0, 2.0, 4.0])).estimate, 3)
    2.0
    """
    return paired_interval(values, np.ones_like(values), ratio_of_geometric_means)


def paired_interval(
    first: Float[np.ndarray, "S"],
    second: Float[np.ndarray, "S"],
    statistic: Callable[[Float[np.ndarray, "... S"], Float[np.ndarray, "... S"]], Float[np.ndarray, "..."]],
) -> Interval:
    """A statistic of two arms that share their seeds, with an interval from resampling seeds, not values.

    What a seed has in common in both arms (its weights, its batches) cancels, as it should: drawing the arms
    independently would give wider intervals.

    Parameters
    ----------
    first, second : (S,) each; entry s of both comes from seed s.
    statistic : of two arrays whose last axis runs over seeds, such as the ratio of their means.

    Raises
    ------
    ValueError : if the two are not of one length.
    """
    if np.shape(first) != np.shape(second):
        raise ValueError(
            f"expected first and second to be paired, one value for each seed, "
            f"got shapes {np.shape(first)} and {np.shape(second)}"
        )
    return _bootstrap((first, second), statistic)


def ratio_of_means(first: Float[np.ndarray, "... S"], second: Float[np.ndarray, "... S"]) -> Float[np.ndarray, "..."]:
    r"""First mean by second, :math:`\sum_s a_s / \sum_s b_s` (equation ``eq-steps-ratio``).

    Parameters
    ----------
    first, second : a value for each of S seeds in the last axis, paired.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.lab import ratio_of_means
    >>> print(ratio_of_means(np.array([3.0, 5.0]), np.array([1.0, 3.0])))
    2.0
    """
    return np.asarray(first.mean(axis=-1) / second.mean(axis=-1))


def ratio_of_geometric_means(
    first: Float[np.ndarray, "... S"], second: Float[np.ndarray, "... S"]
) -> Float[np.ndarray, "..."]:
    r""":math:`\exp\left(\frac1S \sum_s \ln (a_s / b_s)\right)` (equation ``eq-rate-ratio``).

    Parameters
    ----------
    first, second : a value for each of S seeds in the last axis, paired.
    """
    return np.asarray(np.exp(np.log(first / second).mean(axis=-1)))


def difference_of_means(
    first: Float[np.ndarray, "... S"], second: Float[np.ndarray, "... S"]
) -> Float[np.ndarray, "..."]:
    """First mean less second.

    Parameters
    ----------
    first, second : a value for each of S seeds in the last axis, paired.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.lab import difference_of_means
    >>> print(difference_of_means(np.array([3.0, 5.0]), np.array([1.0, 2.0])))
    2.5
    """
    return np.asarray((first - second).mean(axis=-1))


def _bootstrap(
    samples: tuple[Float[np.ndarray, "S"], ...], statistic: Callable[..., Float[np.ndarray, "..."]]
) -> Interval:
    """BCa interval through SciPy; percentile where BCa is undefined (all seeds agree, for one)."""
    from scipy.stats import bootstrap

    arrays = tuple(np.asarray(sample, dtype=float) for sample in samples)
    if arrays[0].ndim != 1 or len(arrays[0]) < 2:
        raise ValueError(f"expected values of two seeds at least, in one dimension, got shape {arrays[0].shape}")

    def along(*resamples: Float[np.ndarray, "..."], axis: int) -> Float[np.ndarray, "..."]:
        return statistic(*(np.moveaxis(resample, axis, -1) for resample in resamples))

    for method in ("BCa", "percentile"):
        with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
            warnings.simplefilter("ignore")
            bounds = bootstrap(
                arrays,
                along,
                n_resamples=RESAMPLES,
                paired=True,
                vectorized=True,
                confidence_level=CONFIDENCE,
                method=method,
                random_state=np.random.default_rng(0),
            ).confidence_interval
        if np.isfinite([bounds.low, bounds.high]).all():
            break
    return Interval(float(statistic(*arrays)), float(bounds.low), float(bounds.high))
