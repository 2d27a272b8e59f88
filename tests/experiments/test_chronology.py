"""The comparison of years of C20: its rule, and that the years are the bibliography's."""

import dataclasses
import re
from pathlib import Path

import pytest

from bncourse import results
from bncourse.experiments import chronology
from bncourse.experiments.chronology import Settings, verdicts
from tests.experiments.common import read_again

ROOT = Path(__file__).resolve().parents[2]


def answer(*years: int) -> str:
    papers = tuple((f"paper{number}", year) for number, year in enumerate(years))
    (verdict,) = verdicts(chronology.run(Settings(rectified=papers)))
    assert verdict.claim == "C20"
    assert verdict.p is None
    return verdict.answer


@pytest.mark.parametrize(
    ("years", "expected"),
    [
        ((2010, 2011, 2014), "contradicted"),
        ((2010, 2015, 2016), "qualified"),
        ((2015, 2016, 2017), "inconclusive"),
    ],
)
def test_a_cause_does_not_come_after_its_effect(years, expected):
    assert answer(*years) == expected


def test_years_are_those_of_the_bibliography():
    """Catches a year that was mistyped here or there, and a paper that the book does not list."""
    entries = dict(re.findall(r"^@\w+\{(\w+),(.*?)^\}", (ROOT / "references.bib").read_text("utf-8"), re.M | re.S))
    settings = Settings()
    for key, year in (settings.batch_norm, *settings.rectified):
        assert re.search(r"\byear\s*=\s*\{(\d+)\}", entries[key])[1] == str(year), key


def test_the_effect_is_the_range_of_the_differences():
    (verdict,) = verdicts(chronology.run(Settings()))
    (effect,) = verdict.effects
    assert (effect.low, effect.estimate, effect.high) == (3, 4, 5)


def test_what_c6_found_is_told_and_decides_nothing():
    outcome = chronology.run(Settings())
    gain = results.load("depth").outcome["estimates"]["sigmoid_accuracy_difference"]
    assert outcome.sigmoid_gain.estimate == gain["estimate"]
    without = dataclasses.replace(outcome, vanishing="contradicted")
    assert verdicts(without)[0].answer == verdicts(outcome)[0].answer
    assert "C6 (contradicted)" in verdicts(without)[0].reason


def test_a_run_survives_its_record(tmp_path):
    outcome = chronology.run(Settings())
    assert read_again(chronology, Settings(), outcome, tmp_path) == outcome
