"""The run: networks at initialization, rates tuned on seeds of their own, then training."""

from functools import partial

import numpy as np

from bncourse.experiments.depth.initial import gradient_norms, initial_cells
from bncourse.experiments.depth.outcome import Outcome
from bncourse.experiments.depth.settings import Case, Settings
from bncourse.experiments.depth.summary import Trained, summarize
from bncourse.experiments.depth.trained import TrainedCell, train_members
from bncourse.experiments.design import ARMS
from bncourse.experiments.ensembles import side_by_side
from bncourse.lab import run_all


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Measure at initialization, tune each arm of each case on the tuning seeds, and train on the test seeds."""
    spread_out = partial(run_all, jobs=jobs, cache=cache, progress=progress)
    cells = initial_cells(settings)
    gradients = {cell: found["gradient"] for cell, found in zip(cells, spread_out(gradient_norms, cells), strict=True)}

    arms = [(case, arm) for case in settings.cases() for arm in ARMS]
    tuning = [_cell(settings, case, arm, settings.rates, settings.tuning_seeds) for case, arm in arms]
    scores = [
        found["validation_accuracy"].reshape(len(settings.rates), -1).mean(axis=1)
        for found in spread_out(train_members, tuning)
    ]
    rates = [settings.rates[int(np.argmax(score))] for score in scores]
    final = [
        _cell(settings, case, arm, (rate,), settings.test_seeds, read_all=True)
        for (case, arm), rate in zip(arms, rates, strict=True)
    ]
    trained: dict[str, dict[str, Trained]] = {case.name: {} for case in settings.cases()}
    for (case, arm), rate, score, found in zip(arms, rates, scores, spread_out(train_members, final), strict=True):
        trained[case.name][arm] = Trained(rate, score, found)
    return summarize(settings, gradients, trained)


def _cell(
    settings: Settings, case: Case, arm: str, rates: tuple[float, ...], seeds: tuple[int, ...], read_all: bool = False
) -> TrainedCell:
    """Every seed at every rate, side by side."""
    each_rate, each_seed = side_by_side(rates, seeds)
    return TrainedCell(
        activation=case.activation,
        depth=case.depth,
        gain=case.gain,
        batch_norm=ARMS[arm],
        rates=each_rate,
        seeds=each_seed,
        width=settings.width,
        steps=settings.steps,
        batch_size=settings.batch_size,
        momentum=settings.momentum,
        read_all=read_all,
    )
