"""The run: both arms tuned in every setting on seeds of their own, then compared on others."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from bncourse.experiments.benefit.outcome import Outcome
from bncourse.experiments.benefit.settings import Setting, Settings
from bncourse.experiments.benefit.summary import summarize
from bncourse.experiments.benefit.training import Cell, train_members
from bncourse.experiments.design import ARMS
from bncourse.experiments.ensembles import side_by_side
from bncourse.lab import restricted_mean, run_all

Place = tuple[Setting, str]


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Tune each arm in each setting on the tuning seeds, and measure it on the test seeds."""
    spread_out = partial(run_all, jobs=jobs, cache=cache, progress=progress)
    everywhere = dict.fromkeys(((setting, arm) for setting in settings.all() for arm in ARMS), settings.rates)
    curves = _train(settings, spread_out, everywhere, settings.tuning_seeds, "validation")
    final = {place: accuracy[..., -1].mean(axis=1) for place, (_, accuracy) in curves.items()}
    ends = {setting: float(final[setting, "none"].max()) for setting in settings.all()}
    to_target = {
        place: restricted_mean(steps_to(*curve, settings.target_share * ends[place[0]]), settings.steps)
        for place, curve in curves.items()
    }
    tuned = {
        "steps": {place: settings.rates[int(np.argmin(steps))] for place, steps in to_target.items()},
        "accuracy": {place: settings.rates[int(np.argmax(scores))] for place, scores in final.items()},
    }

    seeds = settings.test_seeds
    timed = _train(settings, spread_out, _alone(tuned["steps"]), seeds, "validation")
    steps = {
        share: {place: steps_to(*curve, share * ends[place[0]])[0] for place, curve in timed.items()}
        for share in (settings.target_share, *settings.other_shares)
    }
    scored = _train(settings, spread_out, _alone(tuned["accuracy"]), seeds, "test")
    test_accuracy = {place: accuracy[0, :, -1] for place, (_, accuracy) in scored.items()}
    return summarize(settings, ends, tuned, steps, test_accuracy)


def steps_to(
    evaluated_at: Float[np.ndarray, "K"], accuracy: Float[np.ndarray, "... K"], target: float
) -> Float[np.ndarray, "..."]:
    """Steps until accuracy first reaches a target; infinite where it never does."""
    reached = accuracy >= target
    return np.where(reached.any(axis=-1), evaluated_at[reached.argmax(axis=-1)], np.inf)


def _alone(rates: Mapping[Place, float]) -> dict[Place, tuple[float, ...]]:
    return {place: (rate,) for place, rate in rates.items()}


def _train(
    settings: Settings,
    spread_out: Callable[..., list[dict[str, Any]]],
    rates: Mapping[Place, tuple[float, ...]],
    seeds: tuple[int, ...],
    part: str,
) -> dict[Place, tuple[Float[np.ndarray, "K"], Float[np.ndarray, "R S K"]]]:
    """Every place's accuracy at its rates with all seeds, and after which steps."""
    cells = [
        Cell(
            setting=setting,
            arm=arm,
            rates=each_rate,
            seeds=each_seed,
            part=part,
            steps=settings.steps,
            batch_size=settings.batch_size,
            momentum=settings.momentum,
            evaluate_every=settings.evaluate_every,
        )
        for (setting, arm), grid in rates.items()
        for each_rate, each_seed in [side_by_side(grid, seeds)]
    ]
    return {
        place: (found["evaluated_at"], found["accuracy"].reshape(len(grid), len(seeds), -1))
        for (place, grid), found in zip(rates.items(), spread_out(train_members, cells), strict=True)
    }
