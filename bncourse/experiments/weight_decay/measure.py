"""The run: both arms tuned on seeds of their own and scored, then networks with batch norm followed step by step."""

from functools import partial

from bncourse.experiments.weight_decay.dynamics import measure_dynamics
from bncourse.experiments.weight_decay.gains import measure_gains
from bncourse.experiments.weight_decay.outcome import Outcome
from bncourse.experiments.weight_decay.settings import Settings
from bncourse.lab import run_all


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Tune on the tuning seeds and measure on the test seeds."""
    spread = partial(run_all, jobs=jobs, cache=cache, progress=progress)
    gains, dynamics = measure_gains(settings, spread), measure_dynamics(settings, spread)
    return Outcome(seeds=len(settings.test_seeds), **gains, **dynamics)
