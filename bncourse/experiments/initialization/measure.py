"""The run: both arms tuned on seeds of their own, then scored over gains, and over initializations at one gain."""

from functools import partial

from bncourse.experiments.initialization.gains import sweep_gains
from bncourse.experiments.initialization.outcome import Outcome
from bncourse.experiments.initialization.settings import Settings
from bncourse.experiments.initialization.spread import spread_over_initializations
from bncourse.experiments.initialization.training import final_accuracies
from bncourse.lab import run_all


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Tune on the tuning seeds and measure on the test seeds."""
    score = partial(final_accuracies, settings, partial(run_all, jobs=jobs, cache=cache, progress=progress))
    gains, spread = sweep_gains(settings, score), spread_over_initializations(settings, score)
    estimates = gains.pop("estimates") | spread.pop("estimates")
    return Outcome(seeds=len(settings.test_seeds), **gains, **spread, estimates=estimates)
