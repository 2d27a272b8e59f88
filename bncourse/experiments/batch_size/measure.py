"""The run: rates on the tuning seeds, accuracies on the test seeds, and the noise of networks so trained."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from bncourse.experiments.batch_size.noise import KINDS
from bncourse.experiments.batch_size.outcome import Outcome
from bncourse.experiments.batch_size.settings import LARGE, SMALL, Budget, Settings
from bncourse.experiments.batch_size.training import Cell, NoiseCell, ScoredCell, noises, scores
from bncourse.experiments.ensembles import side_by_side
from bncourse.lab import difference_of_means, geometric_mean_interval, mean_interval, paired_interval, run_all

Place = tuple[Budget, str, int]
"""A budget, an arm and a batch size."""

RunAll = Callable[..., list[dict[str, Any]]]


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Tune on the tuning seeds, and measure on the test seeds."""
    spread = partial(run_all, jobs=jobs, cache=cache, progress=progress)
    places = [(b, arm, size) for b in settings.budgets for arm in settings.arms for size in settings.batch_sizes]
    noisy = (settings.noise_budget, "batch_norm", settings.noise_batch_size)
    grid = dict.fromkeys([*places, noisy], settings.rates)
    found = _score(settings, spread, grid, settings.tuning_seeds, "validation")
    tuned = {place: settings.rates[int(accuracy.mean(axis=1).argmax())] for place, accuracy in found.items()}
    alone = {place: (tuned[place],) for place in places}
    accuracies = _score(settings, spread, alone, settings.test_seeds, "test")
    trained = _cell(settings, noisy, (tuned[noisy],), settings.test_seeds)
    (noise,) = spread(noises, [NoiseCell(trained, settings.batch_sizes, settings.draws)])
    return Outcome(
        seeds=len(settings.test_seeds),
        batch_sizes=list(settings.batch_sizes),
        rates=list(settings.rates),
        **_accuracies(settings, tuned, {place: of[0] for place, of in accuracies.items()}),
        **_noises(settings, noise),
    )


def _score(
    settings: Settings,
    spread: RunAll,
    rates: Mapping[Place, tuple[float, ...]],
    seeds: tuple[int, ...],
    part: str,
) -> dict[Place, Float[np.ndarray, "R S"]]:
    """Every place's accuracy at its rates with all seeds, when its budget is spent."""
    cells = [ScoredCell(_cell(settings, place, grid, seeds), part) for place, grid in rates.items()]
    found = spread(scores, cells)
    return {place: each["accuracy"].reshape(-1, len(seeds)) for place, each in zip(rates, found, strict=True)}


def _cell(settings: Settings, place: Place, rates: tuple[float, ...], seeds: tuple[int, ...]) -> Cell:
    """Every seed at every rate, side by side."""
    budget, arm, size = place
    each_rate, each_seed = side_by_side(rates, seeds)
    return Cell(
        arm=arm,
        batch_size=size,
        steps=budget.steps(size),
        rates=each_rate,
        seeds=each_seed,
        hidden=settings.hidden,
        momentum=settings.momentum,
    )


def _accuracies(
    settings: Settings, tuned: Mapping[Place, float], accuracies: Mapping[Place, Float[np.ndarray, "S"]]
) -> dict[str, Any]:
    """The parts of the outcome that are about accuracy."""

    def of_places(value: Callable[[Place], Any]) -> dict[str, dict[str, dict[str, Any]]]:
        return {
            budget.name: {
                arm: {str(size): value((budget, arm, size)) for size in settings.batch_sizes} for arm in settings.arms
            }
            for budget in settings.budgets
        }

    gains = {
        (budget, arm): accuracies[budget, arm, SMALL] - accuracies[budget, arm, LARGE]
        for budget in settings.budgets
        for arm in settings.arms
    }
    return {
        "tuned": of_places(lambda place: tuned[place]),
        "test_accuracy": of_places(lambda place: accuracies[place].round(5).tolist()),
        "mean_accuracy": of_places(lambda place: mean_interval(accuracies[place])),
        "difference": {
            budget.name: {arm: mean_interval(gains[budget, arm]) for arm in settings.arms}
            for budget in settings.budgets
        },
        "own_part": {
            budget.name: paired_interval(gains[budget, "batch_norm"], gains[budget, "none"], difference_of_means)
            for budget in settings.budgets
            if "none" in settings.arms
        },
    }


def _noises(settings: Settings, noise: Mapping[str, Float[np.ndarray, "B S L"]]) -> dict[str, Any]:
    """The parts of the outcome that are about noise."""
    small, large = (settings.batch_sizes.index(size) for size in (SMALL, LARGE))
    return {
        "noise": {
            kind: {
                str(size): [mean_interval(layer) for layer in of_size.T]
                for size, of_size in zip(settings.batch_sizes, noise[kind], strict=True)
            }
            for kind in KINDS
        },
        "noise_ratio": {
            kind: geometric_mean_interval(np.exp(np.log(noise[kind][small] / noise[kind][large]).mean(axis=1)))
            for kind in KINDS
        },
    }
