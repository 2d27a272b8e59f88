"""Sphinx extension: the interactive figure of gradients through depth draws the recorded profiles, written for it.

The module ``gradient_profiles.mjs`` in the output is made from ``bncourse/results/gradient_profiles.json`` at each
build.
"""

import json
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from bncourse import results


def tables() -> dict[str, Any]:
    """Return what ``gradients.mjs`` draws: the choices, and for each of them mean, low and high by layer."""
    outcome = results.load("gradient_profiles").outcome
    profiles = outcome["profiles"]
    kinds = {_kind(profile): [profile["network"], profile["norm"]] for profile in profiles}
    return {
        "seeds": outcome["seeds"],
        "networks": kinds,
        "activations": list(dict.fromkeys(profile["activation"] for profile in profiles)),
        "depths": list(dict.fromkeys(profile["depth"] for profile in profiles)),
        "profiles": {
            f"{_kind(profile)}/{profile['activation']}/{profile['depth']}": {
                name: profile[name] for name in ("mean", "low", "high")
            }
            for profile in profiles
        },
    }


def _kind(profile: dict[str, Any]) -> str:
    return f"{profile['network']}, {profile['norm']}"


def write_tables(app: Sphinx) -> None:
    """Write the module beside those that import it."""
    if app.builder.format != "html":
        return
    folder = Path(app.outdir) / "_static" / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    text = f"export const TABLES = {json.dumps(tables(), separators=(',', ':'))};\n"
    (folder / "gradient_profiles.mjs").write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", write_tables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
