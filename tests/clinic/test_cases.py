"""Every patient is ill as it comes and healthy when it is mended; wrong treatments fail, and right ones pass."""

import os

import pytest
import torch

from bncourse.clinic import list_cases
from bncourse.clinic.checking import run, verdict
from bncourse.clinic.ranks import RanksError
from tests.clinic.treatments import RIGHT, WRONG, treated

pytestmark = pytest.mark.slow

CASES = list_cases()
SEEDS = range(950, 950 + int(os.environ.get("BNCOURSE_TEST_SEEDS", "2")))
FIT = "running variances, against those of the images"
# What the examination finds wrong in the broken run, by its name there; no other finding is bad.
SYMPTOMS = {
    "folder_by_folder": {"held-out accuracy, class by class", "a single image"},
    "ported_network": {"held-out accuracy in inference mode", "weight of the last batch in the running means"},
    "dead_pixel": {"values in the buffers that are not finite", "held-out accuracy in inference mode", FIT},
    "moving_average": {"held-out accuracy in inference mode", FIT},
    "half_the_memory": {"accuracy on held-out raw images in half precision", FIT},
    "borrowed_backbone": {"features of old images, against before"},
    "two_scanners": {"held-out accuracy in inference mode, faint images"},
    "same_digit": {"pairs of held-out images judged right in inference mode"},
    "loss_spikes": {"calls of batch norm on a batch of (nearly) equal images"},
    "small_memory": {"held-out accuracy in inference mode"},
    "counter_runs_ahead": {"running means, against one update for each batch"},
    "split_archive": {"held-out accuracy of the worse rank, faint images", FIT},
}


def each(treatments):
    return [
        pytest.param(case, change, id=f"{case.id}-{name}")
        for case in CASES
        for name, change in treatments[case.id].items()
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_broken_run_has_its_symptom_and_no_other(case):
    """Catches a case that is ill only now and then, or for another reason than it says."""
    for seed in SEEDS:
        if case.id == "stops_at_the_epoch":
            with pytest.raises(RanksError, match="meet in different calls"):
                run(case, case.broken, seed)
        else:
            assert {each.what for each in run(case, case.broken, seed) if not each.good} == SYMPTOMS[case.id], seed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_mended_run_is_healthy(case):
    for seed in SEEDS:
        assert [each for each in run(case, case.fixed, seed) if not each.good] == [], seed


@pytest.mark.parametrize(("case", "change"), each(WRONG))
def test_a_wrong_treatment_does_not_pass(case, change):
    """Catches an examination that a lower rate passes, or a network without batch norm, or more memory."""
    result = verdict(case, treated(case, change), [961])
    assert result.outcome in ("failed", "error"), result.as_text()
    assert len(result.message.splitlines()) > 1 or result.table is not None


@pytest.mark.parametrize(("case", "change"), each(RIGHT))
def test_another_right_treatment_passes(case, change):
    result = verdict(case, treated(case, change), [962])
    assert result.outcome == "passed", result.as_text()


def test_every_case_has_treatments_of_both_kinds():
    names = [case.id for case in CASES]
    assert list(WRONG) == list(RIGHT) == names
    assert all(len(WRONG[name]) >= 2 and RIGHT[name] for name in names)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_task_holds_nothing_that_the_examination_uses(case):
    """Catches a held-out image among those to train on or to draw curves with."""
    from bncourse.clinic.task import draw

    split = draw(7)
    rows = {tuple(row) for row in split.held_out.x.tolist()}
    assert len(split.held_out) > 600
    assert not rows & {tuple(row) for part in (split.train, split.validation) for row in part.x.tolist()}
    assert len(rows) == len(split.held_out)
    torch.manual_seed(7)
    case.prepare(7)
