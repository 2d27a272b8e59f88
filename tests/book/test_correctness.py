"""The page on correctness counts what is there."""

import re
import sys
from pathlib import Path

import pytest

from bncourse.ledger import CLAIMS
from tests.book.chapters import ROOT, display_equations, page_name, pages

sys.path.insert(0, str(ROOT / "book" / "_ext"))

from correctness_page import KINDS, counts


@pytest.fixture(scope="module")
def numbers() -> dict[str, int]:
    return dict(counts(ROOT, {*map(page_name, pages())}))


def test_equations_are_as_many_as_a_parser_of_markdown_finds(numbers: dict[str, int]) -> None:
    """Catches a pattern that overlooks equations inside lists or directives."""
    equations = [equation for path in pages() for equation in display_equations(path)]
    labelled, steps = (next(number for what, number in numbers.items() if word in what) for word in ("label", "steps"))
    assert labelled == sum(equation.label is not None for equation in equations)
    assert steps == sum(equation.step_of is not None for equation in equations)


def test_test_functions_are_counted_by_folder(numbers: dict[str, int]) -> None:
    assert numbers["claims in the ledger"] == len(CLAIMS)
    this = Path(__file__).read_text(encoding="utf-8")
    assert numbers["test functions about the book"] > len(re.findall(r"^def test_", this, re.MULTILINE))
    assert all(numbers[f"test functions about {about}"] for about in KINDS.values())


def test_no_folder_of_tests_is_forgotten() -> None:
    folders = {path.parent.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").rglob("*/test_*.py")}
    assert folders - {"benchmarks"} == set(KINDS)


def test_the_page_shows_them(built_book: Path, numbers: dict[str, int]) -> None:
    page = (built_book / "book" / "appendix" / "correctness.html").read_text(encoding="utf-8")
    shown = re.findall(r"<td[^>]*><p>([^<]+)</p></td>\s*<td[^>]*><p>(\d+)</p></td>", page)
    # Tests may have been added since: what a test changes does not make the book out of date.
    kept = {what: number for what, number in numbers.items() if not what.startswith("test functions")}
    assert {what: int(number) for what, number in shown if what in kept} == kept
    assert {what for what, _ in shown} == set(numbers)
