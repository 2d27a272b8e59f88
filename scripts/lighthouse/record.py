"""Write what run.mjs measured, on its standard input, into the package's recorded results."""

import json
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bncourse import results

COMMAND = "node scripts/lighthouse/run.mjs"
THEMES = ["sphinx-book-theme", "pydata-sphinx-theme"]


def main() -> None:
    """Add the versions and the machine to it, and save it."""
    measured = json.load(sys.stdin)
    source = results.provenance(COMMAND, THEMES, threads=1, seconds=measured["seconds"])
    source = replace(source, versions=source.versions | measured["versions"])
    print(results.save(results.Record("lighthouse", measured["settings"], source, measured["outcome"])))


if __name__ == "__main__":
    main()
