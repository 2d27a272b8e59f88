"""The run: every arm tuned on seeds of its own, the noise of the best ghost batches put back, and all scored."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from bncourse.experiments.regularization.outcome import Outcome
from bncourse.experiments.regularization.settings import FULL, NOISE_TASKS, NONE, TASKS, Arm, Choice, Settings
from bncourse.experiments.regularization.training import Cell, train_members
from bncourse.lab import Interval, difference_of_means, mean_interval, paired_interval, run_all

Place = tuple[str, Arm]
"""An arm on a data set."""


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Tune on the tuning seeds, and measure on the test seeds."""
    spread_out = partial(run_all, jobs=jobs, cache=cache, progress=progress)
    chosen = _tune(settings, spread_out, [(task, arm) for task in TASKS for arm in settings.arms(task)])
    sizes = {
        task: max(settings.sizes, key=lambda size: chosen[task, Arm("ghosts", size)].accuracy) for task in NOISE_TASKS
    }
    chosen |= _tune(settings, spread_out, [(task, Arm("noise", size)) for task, size in sizes.items()])

    cells = [
        Cell(*place, (choice.rate,), settings.test_seeds, "test", choice.steps, settings)
        for place, choice in chosen.items()
    ]
    found = dict(zip(chosen, spread_out(train_members, cells), strict=True))
    return _summary(settings, chosen, sizes, found)


def best(rates: Sequence[float], evaluated_at: Float[np.ndarray, "K"], accuracy: Float[np.ndarray, "R S K"]) -> Choice:
    """The rate and the number of steps with the best mean over seeds; of equals the smallest."""
    mean = accuracy.mean(axis=1)
    rate, stop = divmod(int(mean.argmax()), len(evaluated_at))
    return Choice(rates[rate], int(evaluated_at[stop]), float(mean[rate, stop]))


def _tune(
    settings: Settings, spread_out: Callable[..., list[dict[str, Any]]], places: Sequence[Place]
) -> dict[Place, Choice]:
    rates, seeds = settings.rates, settings.tuning_seeds
    cells = [Cell(*place, rates, seeds, "validation", settings.steps, settings) for place in places]
    return {
        place: best(rates, found["evaluated_at"], found["accuracy"])
        for place, found in zip(places, spread_out(train_members, cells), strict=True)
    }


def _summary(
    settings: Settings,
    chosen: Mapping[Place, Choice],
    sizes: Mapping[str, int],
    found: Mapping[Place, Mapping[str, Any]],
) -> Outcome:
    test = {place: np.round(values["accuracy"][0, :, 0], 6) for place, values in found.items()}
    train = {place: np.round(values["train_accuracy"][0], 6) for place, values in found.items()}
    gap = {place: train[place] - test[place] for place in test}

    def difference(values: Mapping[Place, Float[np.ndarray, "S"]], task: str, first: Arm, second: Arm) -> Interval:
        return paired_interval(values[task, first], values[task, second], difference_of_means)

    def by_task(values: Mapping[Place, Any]) -> dict[str, dict[str, Any]]:
        return {task: {arm.name: value for (its, arm), value in values.items() if its == task} for task in TASKS}

    return Outcome(
        seeds=len(settings.test_seeds),
        rates=list(settings.rates),
        sizes=list(settings.sizes),
        size=dict(sizes),
        tuned=by_task({place: [choice.rate, choice.steps] for place, choice in chosen.items()}),
        validation_accuracy=by_task({place: round(choice.accuracy, 6) for place, choice in chosen.items()}),
        test_accuracy=by_task({place: values.tolist() for place, values in test.items()}),
        train_accuracy=by_task({place: values.tolist() for place, values in train.items()}),
        mean_accuracy=by_task({place: mean_interval(values) for place, values in test.items()}),
        noise={
            task: {
                "batch": difference(test, task, settings.batch, FULL),
                "ghosts": difference(test, task, Arm("ghosts", size), FULL),
                "noise": difference(test, task, Arm("noise", size), FULL),
            }
            for task, size in sizes.items()
        },
        accuracy={task: difference(test, task, settings.batch, NONE) for task in TASKS},
        gap={task: difference(gap, task, settings.batch, NONE) for task in TASKS},
    )
