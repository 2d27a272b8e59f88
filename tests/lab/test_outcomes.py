"""One number for each seed: when a target was reached, and which rates work."""

import numpy as np
import pytest

from bncourse.lab import History, fast_rates, largest_rate, restricted_mean, steps_to_accuracy, steps_to_loss


def history(batch_loss, validation_accuracy, evaluated_at) -> History:
    return History(np.array(batch_loss), np.array(evaluated_at), np.array(validation_accuracy))


def test_steps_to_accuracy_is_the_first_evaluation_at_the_target_even_if_it_is_lost_again():
    seen = history([[0.0] * 8] * 3, [[0.5, 0.9, 0.2, 0.95], [0.1, 0.2, 0.3, 0.89], [0.9, 0, 0, 0]], [2, 4, 6, 8])
    assert steps_to_accuracy(seen, 0.9).tolist() == [4, np.inf, 2]


def test_steps_to_loss_counts_the_updates_that_the_window_has_seen():
    seen = history([[4, 2, 1, 1, 0], [4, 4, 4, 4, 4], [1, np.nan, 0, 0, 0]], [[0.0]] * 3, [5])
    assert steps_to_loss(seen, 1.5, window=2).tolist() == [3, np.inf, 4]


@pytest.mark.parametrize("horizon", [30, 100])
def test_the_restricted_mean_counts_what_never_arrives_as_the_horizon(horizon):
    """Catches the mean over the runs that arrive, which rewards an arm for losing its slow ones."""
    steps = np.array([[10, 20, np.inf, 60], [5, 5, 5, 5]])
    expected = {30: [(10 + 20 + 30 + 30) / 4, 5], 100: [(10 + 20 + 100 + 60) / 4, 5]}[horizon]
    assert restricted_mean(steps, horizon).tolist() == expected


def test_the_largest_rate_that_works_may_lie_beyond_one_that_does_not():
    works = np.array([[True, False, False], [False, False, True], [True, False, False]])
    assert largest_rate([0.1, 0.2, 0.4], works).tolist() == [0.4, 0.1, 0.2]


def test_a_fast_rate_is_within_twice_the_seeds_own_best():
    steps = np.array([[40.0, np.inf], [20, np.inf], [41, np.inf], [np.inf, np.inf]])
    assert fast_rates(steps)[:, 0].tolist() == [True, True, False, False]
    assert not fast_rates(steps)[:, 1].any()
