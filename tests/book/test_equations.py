"""Every display equation of the book has a test that evaluates it, or is a step of one that has."""

# mypy: disable-error-code="no-untyped-call"
from pathlib import Path

import nbformat
import pytest

from tests.book.chapters import ROOT, DisplayEquation, display_equations, equation_markers, equations_in, pages
from tests.book.sample import notebook

pytestmark = pytest.mark.slow

TESTS = ROOT / "tests"


def unproven(equations: list[DisplayEquation], markers: set[str]) -> list[str]:
    """Return what is wrong with the equations of the book: one line for each that no test answers for."""
    labels = {equation.label for equation in equations if equation.label}
    problems = []
    for equation in equations:
        start = f"{equation.place}: $${equation.body[:50]}…$$"
        if equation.label:
            if equation.label not in markers:
                problems.append(f'{start} has no test marked @pytest.mark.equation("{equation.label}")')
        elif equation.step_of is None:
            problems.append(f"{start} has no label, and is tagged as a step of none")
        elif equation.step_of not in labels:
            problems.append(f"{start} is tagged as a step of {equation.step_of!r}, which is no equation of the book")
    return problems


def test_every_display_equation_is_tested_or_a_step_of_one_that_is() -> None:
    equations = [equation for path in pages() for equation in display_equations(path)]
    assert unproven(equations, set(equation_markers(TESTS))) == []


def test_every_marker_names_an_equation_of_the_book() -> None:
    labels = {equation.label for path in pages() for equation in display_equations(path)}
    stray = {label: test for label, test in equation_markers(TESTS).items() if label not in labels}
    assert stray == {}


def test_no_two_equations_share_a_label() -> None:
    labels = [equation.label for path in pages() for equation in display_equations(path) if equation.label]
    assert len(labels) == len(set(labels))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("$$ x = 1 $$", "has no label"),
        ("text $$ x = 1 $$ text", "has no label"),
        ("```{note}\n$$\nx = 1\n$$\n```", "has no label"),
        (":::{dropdown} Answer\n$$ x = 1 $$\n:::", "has no label"),
        ("```{math}\nx = 1\n```", "has no label"),
        ("- item\n\n  $$ x = 1 $$", "has no label"),
        ("$$ x = 1 $$ (eq-untested)", "has no test"),
        ("<!-- step of eq-missing -->\n$$ x = 1 $$", "is no equation"),
        ("<!-- step of eq-tested -->\n\nText between.\n\n$$ x = 1 $$", "has no label"),
    ],
)
def test_an_equation_that_nothing_answers_for_is_found(text: str, problem: str, tmp_path: Path) -> None:
    """Catches a parser that overlooks equations inside directives, lists or text, or believes any comment."""
    path = tmp_path / "1_planted.ipynb"
    nbformat.write(notebook(["$$ y = 2 $$ (eq-tested)", text]), path)
    (found,) = unproven(display_equations(path), {"eq-tested"})
    assert problem in found
    assert "text-2" in found


def test_what_is_labelled_and_tested_or_a_step_passes() -> None:
    text = (
        "$$\ny = 2\n$$ (eq-tested)\n\n<!-- step of eq-tested -->\n$$ x = 1 $$\n\n```python\n$$ code $$\n```\n`$$ a $$`"
    )
    equations = list(equations_in(text, "here"))
    assert [(equation.label, equation.step_of) for equation in equations] == [("eq-tested", None), (None, "eq-tested")]
    assert unproven(equations, {"eq-tested"}) == []


def test_markers_are_read_from_functions_classes_and_calls_of_several(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(
        'import pytest\n@pytest.mark.equation("eq-a")\n@pytest.mark.equation("eq-b")\ndef test_f(): ...\n'
        '@pytest.mark.equation("eq-c")\nclass TestG: ...\n@pytest.mark.claim("eq-d")\ndef test_h(): ...\n'
    )
    assert set(equation_markers(tmp_path)) == {"eq-a", "eq-b", "eq-c"}
