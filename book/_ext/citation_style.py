"""Sphinx extension: citations by author and year in round brackets, several of them apart by semicolons.

The style is ``author_year_round``: One and Two (2015); (One and Two, 2015; Three et al., 2018).
"""

from dataclasses import dataclass, field
from typing import Any

from pybtex import plugin  # type: ignore[import-untyped]
from sphinx.application import Sphinx
from sphinxcontrib.bibtex.plugin import register_plugin
from sphinxcontrib.bibtex.style.referencing import BracketStyle
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle


def parenthetical() -> BracketStyle:
    return BracketStyle(left="(", right=")", sep="; ")


def textual() -> BracketStyle:
    return BracketStyle(left="(", right=")", sep=", ")


@dataclass
class AuthorYearRound(AuthorYearReferenceStyle):
    """Author and year with round brackets."""

    bracket_parenthetical: BracketStyle = field(default_factory=parenthetical)
    bracket_textual: BracketStyle = field(default_factory=textual)
    bracket_author: BracketStyle = field(default_factory=parenthetical)
    bracket_label: BracketStyle = field(default_factory=parenthetical)
    bracket_year: BracketStyle = field(default_factory=parenthetical)


def setup(app: Sphinx) -> dict[str, Any]:
    register_plugin("sphinxcontrib.bibtex.style.referencing", "author_year_round", AuthorYearRound)
    # Citations and previews ask for this each time, and pybtex would search all installed packages for it each time.
    plaintext = plugin.find_plugin("pybtex.backends", "plaintext")
    for name in ("plaintext", "text"):
        plugin.register_plugin("pybtex.backends", name, plaintext, force=True)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
