"""Writes modules with numbers of the package beside the interactive figures that draw them."""

import json
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx


def write_module(app: Sphinx, name: str, tables: dict[str, Any]) -> None:
    """Write the module ``name.mjs`` of the figures, which exports ``TABLES``, into the output."""
    if app.builder.format != "html":
        return
    folder = Path(app.outdir) / "_static" / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    text = f"export const TABLES = {json.dumps(tables, separators=(',', ':'))};\n"
    (folder / f"{name}.mjs").write_text(text, encoding="utf-8")
