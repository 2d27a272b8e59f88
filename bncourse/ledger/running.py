"""Runs the experiments behind the claims, and compares a smaller run with what is recorded."""

import importlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bncourse import results
from bncourse.ledger.claim import Claim
from bncourse.results.verdicts import NORMAL_95, Effect, recorded_verdicts

if TYPE_CHECKING:
    from bncourse.experiments.shared import Experiment

CHECK_CONFIDENCE = 0.999
AGREEMENT = 1e-6


@dataclass(frozen=True)
class Comparison:
    """What a reduced run says about a recorded effect.

    Attributes
    ----------
    claim : whose effect it is.
    recorded, reduced : the effect then and now; ``reduced`` is None if the experiment no longer has it.
    agrees : whether they can be the same effect.
    """

    claim: str
    recorded: Effect
    reduced: Effect | None

    @property
    def agrees(self) -> bool:
        return self.reduced is not None and agree(self.reduced, self.recorded)


def run(claims: Iterable[Claim], folder: Path, seeds: int | None = None, jobs: int = -1, progress: bool = True) -> None:
    """Run the experiments of these claims and write their records; what a claim shares with another runs once.

    What was computed before an interruption comes out of the laboratory's cache.

    Parameters
    ----------
    folder : to write the records into.
    seeds : how many to compare, instead of the registered number.
    jobs : number of processes, as for :func:`bncourse.lab.run_all`.
    progress : whether to show bars.
    """
    from joblib import effective_n_jobs

    from bncourse.experiments.shared import record_run

    folder.mkdir(parents=True, exist_ok=True)
    for name in experiments(claims):
        module = load(name)
        settings = module.Settings()
        if seeds is not None:
            settings = module.with_seeds(settings, seeds)
        spread = partial(module.run, jobs=jobs, cache=True, progress=progress)
        record_run(name, settings, spread, module.verdicts, ["--output", str(folder)], processes=effective_n_jobs(jobs))


def check(claims: Iterable[Claim], folder: Path, jobs: int = -1, progress: bool = True) -> Iterator[Comparison]:
    """Run what is recorded again at reduced size, and compare every recorded effect.

    Raises
    ------
    ValueError : if a record was made with other settings than those of the code.
    """
    claims = list(claims)
    wanted = {claim.id for claim in claims}
    recorded = {path.stem for path in folder.glob("*.json")}
    for name in experiments(claims):
        if name not in recorded:
            continue
        module, record = load(name), results.load(name, folder)
        if record.settings != json.loads(json.dumps(asdict(module.Settings()))):
            raise ValueError(f"the record of {name} was made with other settings than those of its code: run it again")
        outcome = module.run(module.REDUCED, jobs=jobs, cache=False, progress=progress)
        reduced = {
            (verdict.claim, place): effect
            for verdict in module.verdicts(outcome)
            for place, effect in enumerate(verdict.effects)
        }
        for verdict in recorded_verdicts(record):
            if verdict.claim in wanted:
                for place, effect in enumerate(verdict.effects):
                    yield Comparison(verdict.claim, effect, reduced.get((verdict.claim, place)))


def agree(reduced: Effect, recorded: Effect) -> bool:
    """Whether a reduced run's interval leaves room for the recorded effect, its own interval included.

    The reduced interval is first stretched to what so few seeds allow: from 95 % to 99.9 % confidence, by Student's
    distribution instead of the normal one, and by the step in which the effect can move. So fewer seeds alone do not
    make a check fail. Where chance has no part, the numbers must agree to a millionth.
    """
    if not recorded.seeds:
        pairs = zip(_bounds(reduced), _bounds(recorded), strict=True)
        return all(abs(now - then) <= AGREEMENT * max(abs(now), abs(then)) for now, then in pairs)
    low, high = _stretched(reduced)
    return low <= recorded.scale(recorded.high) and recorded.scale(recorded.low) <= high


def _stretched(effect: Effect) -> tuple[float, float]:
    from scipy.stats import t

    low, middle, high = (effect.scale(value) for value in _bounds(effect))
    factor = float(t.ppf((1 + CHECK_CONFIDENCE) / 2, effect.seeds - 1)) / NORMAL_95
    step = effect.scale(effect.resolution) if effect.resolution else 0.0
    return middle - factor * (middle - low) - step, middle + factor * (high - middle) + step


def _bounds(effect: Effect) -> tuple[float, float, float]:
    return effect.low, effect.estimate, effect.high


def experiments(claims: Iterable[Claim]) -> list[str]:
    """The experiments of these claims, each once, in the order of the claims."""
    return list(dict.fromkeys(claim.experiment for claim in claims))


def load(name: str) -> "Experiment":
    """The module of an experiment; this is what loads torch."""
    return cast("Experiment", importlib.import_module(f"bncourse.experiments.{name}"))
