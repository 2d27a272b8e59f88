"""The run: every arm tuned and the noise matched on seeds of their own, then measured on others."""

from functools import partial
from typing import Any

import numpy as np

from bncourse.experiments.covariate_shift.outcome import Outcome, Values
from bncourse.experiments.covariate_shift.settings import BATCH_NORM, NONE, SHARED, Arm, Case, Settings
from bncourse.experiments.covariate_shift.summary import summarize
from bncourse.experiments.covariate_shift.training import Cell, train_members
from bncourse.experiments.ensembles import side_by_side
from bncourse.lab import restricted_mean, run_all

Drifts = dict[str, dict[int, float]]


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Tune each arm of each case and choose the noise's sizes on the tuning seeds, then train on the test seeds."""
    spread_out = partial(run_all, jobs=jobs, cache=cache, progress=progress)
    searched = [(case, arm) for case in settings.cases for arm in case.arms() if case.choices > 1]
    tuning = spread_out(
        train_members, [_cell(settings, case, arm, case.rates, settings.tuning_seeds) for case, arm in searched]
    )
    scores: Values = {case.name: {} for case in settings.cases}
    tuned = {case.name: {arm.name: case.rates[0] for arm in case.arms()} for case in settings.cases}
    moved: dict[str, Drifts] = {case.name: {} for case in settings.cases}
    for (case, arm), found in zip(searched, tuning, strict=True):
        by_rate = {name: values.reshape(len(case.rates), -1) for name, values in found.items()}
        score = restricted_mean(by_rate["steps"], case.steps)
        best = int(np.argmin(score))
        scores[case.name][arm.name], tuned[case.name][arm.name] = score, case.rates[best]
        moved[case.name][arm.name] = {lag: float(by_rate[f"drift {lag}"][best].mean()) for lag in settings.lags}
    matched = {case.name: match(case, moved[case.name], settings) for case in settings.cases}

    compared = [(case, arm.name, arm, tuned[case.name][arm.name]) for case in settings.cases for arm in case.arms()]
    for case in settings.cases:
        tuned[case.name][SHARED] = tuned[case.name][NONE.name]
        compared.append((case, SHARED, BATCH_NORM, tuned[case.name][SHARED]))
    cells = [
        _cell(settings, case, arm, (rate,), settings.test_seeds, read_curve=True, read_change=arm.noise is None)
        for case, _, arm, rate in compared
    ]
    test: Values = {case.name: {} for case in settings.cases}
    for (case, name, _, _), found in zip(compared, spread_out(train_members, cells), strict=True):
        test[case.name][name] = found
    return summarize(settings, scores, tuned, matched, test)


def match(case: Case, moved: Drifts, settings: Settings) -> dict[str, float]:
    """The smallest size of each noise whose drift exceeds that without batch norm by the margin, or the largest.

    Jumping noise, which does not add up, is matched over one step; swinging noise over every lag.

    Parameters
    ----------
    moved : {arm: {lag: drift}}, each at its tuned rate; not needed where a noise has but one size.
    """

    def exceeds(arm: Arm, lags: tuple[int, ...]) -> bool:
        return all(moved[arm.name][lag] >= settings.margin * moved[NONE.name][lag] for lag in lags)

    found = {}
    for kind, lags in (("jumping", settings.lags[:1]), ("swinging", settings.lags)):
        *smaller, largest = case.noisy(kind)
        found[kind] = next((arm.size for arm in smaller if exceeds(arm, lags)), largest.size)
    return found


def _cell(
    settings: Settings,
    case: Case,
    arm: Arm,
    rates: tuple[float, ...],
    seeds: tuple[int, ...],
    read_curve: bool = False,
    read_change: bool = False,
) -> Cell:
    """Every seed at every rate, side by side."""
    each_rate, each_seed = side_by_side(rates, seeds)
    shared: dict[str, Any] = {
        name: getattr(settings, name)
        for name in (
            *("width", "period", "batch_size", "momentum", "target_loss", "lags", "images"),
            *("probe_every", "curve_steps", "curve_every"),
        )
    }
    return Cell(
        activation=case.activation,
        depth=case.depth,
        steps=case.steps,
        arm=arm,
        rates=each_rate,
        seeds=each_seed,
        read_curve=read_curve,
        read_change=read_change,
        **shared,
    )
