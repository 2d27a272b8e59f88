"""What a page loads asks for nothing elsewhere: styles by ``url(…)`` and ``@import``, modules by ``import``."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ELSEWHERE = r"(?:https?:)?//[\w.-]+\.\w"
REQUESTS = {
    ".css": re.compile(rf"""(?:url\(\s*["']?|@import\s+["'])(?P<address>{ELSEWHERE}[^"')\s]*)"""),
    ".js": re.compile(
        rf"""\b(?:from|import|(?:import|importScripts|fetch)\()\s*["'`](?P<address>{ELSEWHERE}[^"'`]*)"""
    ),
}
REQUESTS[".mjs"] = REQUESTS[".js"]


def asked_for(site: Path) -> Iterator[str]:
    """Yield every address elsewhere that a style or a module of the site asks for."""
    for path in sorted(site.rglob("*.*")):
        pattern = REQUESTS.get(path.suffix)
        for match in pattern.finditer(path.read_text(encoding="utf-8", errors="ignore")) if pattern else ():
            yield f"{path.relative_to(site).as_posix()}: {match['address']}"


def test_no_style_or_module_asks_for_anything_elsewhere(built_book: Path) -> None:
    assert list(asked_for(built_book)) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.css", "@font-face { src: url(https://example.org/a.woff2) }"),
        ("a.css", '@import "//example.org/a.css";'),
        ("a.css", "@import url('https://example.org/a.css');"),
        ("a.mjs", 'import { a } from "https://example.org/a.mjs";'),
        ("a.mjs", 'import "https://example.org/a.mjs";'),
        ("a.js", "import('https://example.org/a.mjs')"),
        ("a.js", "fetch(`https://example.org/a.json`)"),
    ],
)
def test_a_request_from_a_style_or_module_is_found(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "good.css").write_text(
        "a { background: url(data:image/png;base64,AA//bb.c) } b { src: url(../b.woff2) }"
    )
    (tmp_path / "good.mjs").write_text('import { a } from "./a.mjs"; const svg = "http://www.w3.org/2000/svg";')
    (tmp_path / name).write_text(text)
    assert len(list(asked_for(tmp_path))) == 1
