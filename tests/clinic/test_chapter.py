"""Chapter 7.5 holds what the cases say, and its checks grade what a learner writes into its cells."""

import copy
import re

import pytest
from nbclient import NotebookClient

from bncourse.clinic import list_cases
from bncourse.clinic.recorded import ARMS, Settings, recorded
from tests.book.chapters import ROOT, read

pytestmark = pytest.mark.slow

CHAPTER = ROOT / "book" / "7_practice" / "5_failure_clinic.ipynb"
CASES = list_cases()


def cells(case):
    name = case.id.replace("_", "-")
    return {cell.id.removeprefix(name): cell for cell in read(CHAPTER).cells if cell.id.startswith(name)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_chapter_holds_complaint_starter_and_diagnoses(case, capsys):
    """Catches a text that was changed in one place only."""
    found = cells(case)
    assert f"> {case.complaint}\n\n**Goal.** {case.goal}" in found[""].source
    assert found["-starter"].source == case.starter()
    assert found["-check"].source == f"clinic.{case.id}.check(train);"
    assert "not attempted" in str(found["-check"].outputs)
    for diagnosis in case.diagnoses:
        assert f":::{{dropdown}} {diagnosis.text}\n{diagnosis.answer}\n:::" in found["-diagnoses"].source
    assert case.known[1:] in found["-diagnoses"].source
    capsys.readouterr()


def test_the_chapter_gives_no_fault_away():
    """Catches the name of a fault in a patient's complaint."""
    for case in CASES:
        assert case.title.lower() not in cells(case)[""].source.lower()


def test_the_order_of_the_patients_is_that_of_the_package():
    headings = re.findall(r"^### Patient (\d+): (\w+)$", "\n".join(cell.source for cell in read(CHAPTER).cells), re.M)
    assert headings == [(str(number), case.id) for number, case in enumerate(CASES, 1)]


def test_a_mended_cell_passes_in_the_notebook(tmp_path, capsys):
    """Catches a check that does not see the learner's cell, and an import that the chapter lacks."""
    notebook = copy.deepcopy(read(CHAPTER))
    for case in CASES:
        name = case.id.replace("_", "-")
        for cell in notebook.cells:
            if cell.id == f"{name}-starter":
                cell.source = case.code(case.fixed)
    keep = {"figure", *(f"{case.id.replace('_', '-')}-{part}" for case in CASES for part in ("starter", "check"))}
    notebook.cells = [cell for cell in notebook.cells if cell.id in keep]
    header = next(cell for cell in notebook.cells if cell.id == "figure")
    header.source = (
        header.source.partition("plots.use_style()")[0] + "from contextlib import contextmanager, nullcontext"
    )
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for cell in notebook.cells:
        if cell.id.endswith("-check"):
            assert ": passed" in str(cell.outputs), (cell.id, cell.outputs)
    capsys.readouterr()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_record_separates_the_broken_run_from_the_mended(case):
    outcome = recorded(case.id)
    assert outcome.healthy == {"broken": 0, "fixed": len(Settings().seeds)}
    for arm in ARMS:
        assert set(case.curves) == set(outcome.curves[arm]) <= set(outcome.final[arm])
        for curve in outcome.curves[arm].values():
            assert len(curve.steps) == len(curve.mean) == len(curve.lowest) == len(curve.highest)
            assert all(
                low <= mean <= high for low, mean, high in zip(curve.lowest, curve.mean, curve.highest, strict=True)
            )
