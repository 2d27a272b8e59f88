"""Sphinx extension: the interactive figure of gradients through depth draws the recorded profiles, written for it.

The module ``gradient_profiles.mjs`` in the output is made from ``bncourse/results/gradient_profiles.json`` at each
build.
"""

from typing import Any

from figure_modules import write_module
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
    write_module(app, "gradient_profiles", tables())


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", write_tables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
