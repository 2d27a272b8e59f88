"""The security page names every attack of the bank, once, and only tests that exist."""

import re
from pathlib import Path

from tests.exercises.grading.hostile import HOSTILE, THROUGH_A_FUNCTION

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "book" / "appendix" / "security.md").read_text(encoding="utf-8")


def test_every_attack_has_its_row_and_every_row_its_attack():
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
    attacks = [attack for attack, _ in rows if attack != "what it tries"]
    assert len(attacks) == len(set(attacks))
    assert set(attacks) == set(HOSTILE) | set(THROUGH_A_FUNCTION)


def test_every_test_that_it_names_exists():
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) >= 12
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert named <= set(re.findall(r"^def (test_\w+)\(", sources, re.MULTILINE))


def test_the_limits_that_it_states_are_those_of_the_grader():
    source = {
        name: (ROOT / "bncourse" / "exercises" / "grading" / f"{name}.py").read_text(encoding="utf-8")
        for name in ("sandbox", "confine", "child")
    }
    assert "16 MiB" in PAGE
    assert "SCRATCH = 2**24" in source["sandbox"]
    assert "2 GiB of address space" in PAGE
    assert "MEMORY = 2**31" in source["sandbox"]
    assert "1 MiB a file, 64 open files" in PAGE
    assert "RLIMIT_FSIZE, 2**20" in source["confine"]
    assert "RLIMIT_NOFILE, 64" in source["confine"]
    assert "two fifths" in PAGE
    assert "SHARE = 0.4" in source["child"]
