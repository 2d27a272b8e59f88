"""Sphinx extension: the site carries the MathJax that typesets it.

MathJax comes from the pinned package ``sphinx-mathjax-offline``, of which a page needs one script, its fonts and
the TeX extensions that the script loads when a formula asks for one: 2 of 24 MB.
"""

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path, PurePosixPath
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

PACKAGE = "sphinx-mathjax-offline"
ROOT_IN_PACKAGE = PurePosixPath("sphinx-mathjax-offline/static/mathjax")
NEEDED = ("tex-mml-chtml.js", "output/chtml/fonts/woff-v2/", "input/tex/extensions/")


def copy_mathjax(app: Sphinx) -> None:
    """Copy what a page needs into the output's ``_static/mathjax``."""
    if app.builder.format != "html":
        return
    try:
        distributed = files(PACKAGE) or []
    except PackageNotFoundError as error:
        raise ExtensionError(f"the book's formulas need the package {PACKAGE}: pip install {PACKAGE}") from error
    target = Path(app.outdir) / "_static" / "mathjax"
    for file in distributed:
        if not file.is_relative_to(ROOT_IN_PACKAGE):
            continue
        inside = file.relative_to(ROOT_IN_PACKAGE)
        if not inside.as_posix().startswith(NEEDED):
            continue
        copy = target / inside
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_binary())
    if not (target / NEEDED[0]).exists():
        raise ExtensionError(f"{PACKAGE} holds no {NEEDED[0]}: its layout has changed, adapt {__name__}")


def setup(app: Sphinx) -> dict[str, Any]:
    """Copy at the start, so that pages are written with the checksum of the script that they load."""
    app.connect("builder-inited", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
