"""The run: rates tuned on seeds of their own, then training on the test seeds, then a look at what has stalled."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from bncourse.experiments.design import ARMS
from bncourse.experiments.ensembles import side_by_side
from bncourse.experiments.landscape.along import along_cells, measure_along
from bncourse.experiments.landscape.outcome import Outcome
from bncourse.experiments.landscape.places import Examination, train_and_examine
from bncourse.experiments.landscape.settings import EXAMINED, Case, Settings
from bncourse.experiments.landscape.stalls import CLASSES, Training, final_losses, has_stalled
from bncourse.experiments.landscape.summary import Examined, Stalls, summarize
from bncourse.lab import run_all

GUESSING = math.log(CLASSES)
"""The loss of a network that gives every class the same probability."""


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Tune each arm of each case on the tuning seeds, train on the test seeds, examine, and measure along steps."""
    spread_out = partial(run_all, jobs=jobs, cache=cache, progress=progress)
    arms = [(case, arm) for case in settings.cases for arm in ARMS]
    tuning = {
        (case, arm): _cell(settings, case, arm, case.rates, settings.tuning_seeds)
        for case, arm in arms
        if len(case.rates) > 1
    }
    found = dict(zip(tuning, spread_out(final_losses, tuning.values()), strict=True))
    scores = [_scores(found[key]["loss"], key[0]) if key in found else np.zeros(1) for key in arms]
    rates = [case.rates[int(np.argmin(score))] for (case, _), score in zip(arms, scores, strict=True)]
    final = {
        (case, arm): _cell(settings, case, arm, (rate,), settings.test_seeds)
        for (case, arm), rate in zip(arms, rates, strict=True)
    }
    looks = [
        Examination(
            training=final.pop((settings.case(name), "none")),
            target_loss=settings.target_loss,
            examined=settings.examined,
            rates=settings.case(name).rates,
            batch_norm_rate=rates[arms.index((settings.case(name), "batch_norm"))],
            iterations=settings.iterations,
        )
        for name in EXAMINED
    ]
    seen = dict(zip(EXAMINED, spread_out(train_and_examine, looks), strict=True))
    others = dict(zip(final, spread_out(final_losses, final.values()), strict=True))
    stalls: dict[str, dict[str, Stalls]] = {case.name: {} for case in settings.cases}
    for (case, arm), rate, score in zip(arms, rates, scores, strict=True):
        loss = (others[case, arm] if (case, arm) in others else seen[case.name])["loss"]
        stalls[case.name][arm] = Stalls(rate, score, loss, has_stalled(loss, settings.target_loss))

    examined = {
        name: Examined(min(settings.examined, int(stalls[name]["none"].stalled.sum())), seen[name]) for name in EXAMINED
    }
    cells = along_cells(settings)
    along: dict[str, dict[str, Mapping[str, Any]]] = {activation: {} for activation in settings.along.activations}
    for cell, result in zip(cells, spread_out(measure_along, cells), strict=True):
        along[cell.activation][cell.variant.name] = result
    return summarize(settings, stalls, examined, along)


def _scores(loss: Float[np.ndarray, "..."], case: Case) -> Float[np.ndarray, "R"]:
    """Mean final loss at each rate; a run that is worse than guessing counts as guessing."""
    held = np.where(loss < GUESSING, loss, GUESSING)
    return np.asarray(held.reshape(len(case.rates), -1).mean(axis=1))


def _cell(settings: Settings, case: Case, arm: str, rates: tuple[float, ...], seeds: tuple[int, ...]) -> Training:
    """Every seed at every rate, side by side."""
    each_rate, each_seed = side_by_side(rates, seeds)
    return Training(
        activation=case.activation,
        depth=case.depth,
        width=case.width,
        gain=case.gain,
        batch_norm=ARMS[arm],
        rates=each_rate,
        seeds=each_seed,
        steps=settings.steps,
        batch_size=settings.batch_size,
        momentum=settings.momentum,
    )
