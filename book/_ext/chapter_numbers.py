"""Sphinx extension: equations and figures are numbered by chapter, as the chapters' titles number themselves.

In the chapter titled "2.2 The closed form" the equations are (2.2.1), (2.2.2), … and so are the figures. A chapter
that comes later does not move the numbers of another. Pages without a number in the title count from 1.
"""

import copy
import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

NUMBER = re.compile(r"\s*(\d+(?:\.\d+)*)\s")

# Where the environment keeps Sphinx's own numbers from build to build.
RUNNING = "running_fignumbers"


def chapter_number(title: str) -> tuple[int, ...]:
    """Return the number at the head of a title: ``(2, 2)`` of "2.2 The closed form", ``()`` where there is none."""
    match = NUMBER.match(title)
    return tuple(int(part) for part in match.group(1).split(".")) if match else ()


def take_back(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Show Sphinx the running numbers of the build before, with which it compares those that it now gives out.

    Where they differ it writes the page again: compared with our numbers, that would be every page at every build.
    """
    env.toc_fignumbers = getattr(env, RUNNING, env.toc_fignumbers)
    return []


def number_by_chapter(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Replace the running numbers that Sphinx has given out; the order within a chapter stays."""
    setattr(env, RUNNING, copy.deepcopy(env.toc_fignumbers))
    for page, kinds in env.toc_fignumbers.items():
        chapter = chapter_number(env.titles[page].astext())
        for numbers in kinds.values():
            in_order = sorted(numbers, key=lambda anchor: numbers[anchor])
            numbers.update({anchor: (*chapter, place) for place, anchor in enumerate(in_order, start=1)})
    return []


def setup(app: Sphinx) -> dict[str, Any]:
    """Run before and after Sphinx's own numbering, which listens to the same event."""
    app.connect("env-get-updated", take_back, priority=100)
    app.connect("env-get-updated", number_by_chapter, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
