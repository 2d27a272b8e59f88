"""Seeds of the recorded runs are fresh: none was tried before the rules were written, none is tuned and compared on."""

import dataclasses
import importlib
from types import ModuleType

import pytest

from bncourse.ledger import CLAIMS, running
from tests.experiments.common import name_of

PILOTS = set(range(900, 1000))


def seeded() -> list[ModuleType]:
    """Every experiment of the ledger that is repeated over seeds."""
    experiments = [importlib.import_module(f"bncourse.experiments.{name}") for name in running.experiments(CLAIMS)]
    return [experiment for experiment in experiments if hasattr(experiment.Settings(), "tuning_seeds")]


def seeds(settings) -> set[int]:
    return {*settings.tuning_seeds, *settings.test_seeds}


@pytest.mark.parametrize("experiment", seeded(), ids=name_of)
def test_seeds_are_fresh_and_apart(experiment):
    full, reduced = experiment.Settings(), experiment.REDUCED
    assert len(full.test_seeds) >= 24
    assert not seeds(full) & PILOTS
    assert not seeds(reduced) & (PILOTS | seeds(full))
    for settings in (full, reduced):
        with pytest.raises(ValueError, match="tuning_seeds and test_seeds to have none in common"):
            dataclasses.replace(settings, tuning_seeds=settings.test_seeds[:1])


@pytest.mark.parametrize("experiment", seeded(), ids=name_of)
def test_another_number_of_seeds_leaves_the_first_of_them(experiment):
    """Catches seeds that are counted from nought, which may be those of the tuning."""
    full = experiment.Settings()
    more = experiment.with_seeds(full, 40)
    assert more.test_seeds == tuple(range(full.test_seeds[0], full.test_seeds[0] + 40))
    assert dataclasses.replace(more, test_seeds=full.test_seeds) == full
