"""Estimates with 95 % intervals, from values that come seed by seed."""

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float

CONFIDENCE = 0.95
RESAMPLES = 9999


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval."""

    estimate: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """The three numbers by name, for a record."""
        return asdict(self)


def mean_interval(values: Float[np.ndarray, "S"]) -> Interval:
    """Mean over seeds, with a bootstrap interval."""
    return _bootstrap((values,), lambda sample: np.mean(sample, axis=-1))


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


def _bootstrap(
    samples: tuple[Float[np.ndarray, "S"], ...], statistic: Callable[..., Float[np.ndarray, "..."]]
) -> Interval:
    """BCa interval through SciPy; percentile where BCa is undefined (all seeds agree, for one)."""
    from scipy.stats import bootstrap

    arrays = tuple(np.asarray(sample, dtype=float) for sample in samples)
    if arrays[0].ndim != 1 or len(arrays[0]) < 2:
        raise ValueError(f"expected values of two seeds at least, in one dimension, got shape {arrays[0].shape}")
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
            warnings.simplefilter("ignore")
            bounds = bootstrap(
                arrays,
                statistic,
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
