"""From what training showed to one number for each seed."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from bncourse.lab.history import History


def steps_to_accuracy(history: History, target: float) -> Float[np.ndarray, "S"]:
    """Updates until the validation accuracy first reaches ``target``; infinite where it never does.

    Parameters
    ----------
    history : of a training.
    target : a share between 0 and 1.
    """
    return _first(history.validation_accuracy >= target, history.evaluated_at)


def steps_to_loss(history: History, target: float, window: int = 10) -> Float[np.ndarray, "S"]:
    """Updates until the mean loss of the last ``window`` batches first falls to ``target``, or infinity.

    Parameters
    ----------
    history : of a training.
    target : loss to reach.
    window : number of batches that a mean is taken over.
    """
    windows = np.lib.stride_tricks.sliding_window_view(history.batch_loss, window, axis=1)
    return _first(windows.mean(axis=-1) <= target, np.arange(window, history.batch_loss.shape[1] + 1))


def _first(reached: Bool[np.ndarray, "S K"], at: Int[np.ndarray, "K"]) -> Float[np.ndarray, "S"]:
    return np.where(reached.any(axis=1), at[np.argmax(reached, axis=1)].astype(float), np.inf)


def restricted_mean(steps: Float[np.ndarray, "... S"], horizon: float) -> Float[np.ndarray, "..."]:
    r"""Mean number of steps within a horizon, defined also where some runs never reach the target.

    .. math:: \bar T_H = \frac1S \sum_{s=1}^S \min(T_s, H)

    (equation ``eq-restricted-mean``). It is the mean of what an observer saw who watched each run for H steps,
    and a lower bound of the mean of T.

    Parameters
    ----------
    steps : (..., S), the members on the last axis; infinite where the target was not reached.
    horizon : H, in steps.
    """
    return np.asarray(np.minimum(steps, horizon).mean(axis=-1))


def largest_rate(rates: Sequence[float], works: Bool[np.ndarray, "R S"]) -> Float[np.ndarray, "S"]:
    """The largest rate at which each seed works; the smallest of all rates for a seed at which none does.

    Parameters
    ----------
    rates : R of them.
    works : of each rate and seed.
    """
    grid = np.asarray(rates, dtype=float)[:, None]
    return np.asarray(np.where(works, grid, grid.min()).max(axis=0))


def fast_rates(steps: Float[np.ndarray, "R S"]) -> Bool[np.ndarray, "R S"]:
    """Rates at which a seed reaches the target in at most twice the steps of its own best rate.

    Parameters
    ----------
    steps : to the target, of R rates and S seeds; infinite where it was not reached.
    """
    return np.asarray(np.isfinite(steps) & (steps <= 2 * steps.min(axis=0)))
