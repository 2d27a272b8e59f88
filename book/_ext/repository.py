"""The one place that knows where the book's repository and its site are.

The address comes from the environment of the publishing workflow, or else from the git remote ``origin``; a fork's
copy of the book thus points at the fork. Where neither says, it is unknown, and nothing is pointed anywhere.
Only GitHub is known: Colab and Binder open notebooks from there.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

GITHUB = "https://github.com"
SOURCE_BRANCH = "main"
# The publishing workflow pushes the exported notebooks to this branch (scripts/export_notebooks.py).
NOTEBOOKS_BRANCH = "notebooks"
# In .github/ISSUE_TEMPLATE.
ERRORS_FORM = "error-in-the-book.yml"

REMOTE = re.compile(
    r"(?:(?:https?://(?:[^@/\s]+@)?|git://|ssh://(?:git@)?)(?:www\.)?github\.com(?::\d+)?/|(?:git@)?github\.com:/?)"
    r"(?P<owner>[\w.-]+)/(?P<name>[\w.-]+?)(?:\.git)?/?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Repository:
    """A repository on GitHub, and the addresses that follow from it."""

    owner: str
    name: str
    site: str

    @property
    def url(self) -> str:
        return f"{GITHUB}/{self.owner}/{self.name}"

    def colab(self, notebook: str) -> str:
        """Return the address at which Colab opens an exported notebook."""
        place = f"{self.owner}/{self.name}/blob/{NOTEBOOKS_BRANCH}/{quote(notebook)}"
        return f"https://colab.research.google.com/github/{place}"

    def binder(self, notebook: str) -> str:
        """Return the address at which Binder opens an exported notebook in JupyterLab."""
        place = f"{self.owner}/{self.name}/{NOTEBOOKS_BRANCH}"
        return f"https://mybinder.org/v2/gh/{place}?urlpath={quote(f'lab/tree/{notebook}', safe='')}"

    def exported(self, file: str) -> str:
        """Return the address of a file of the export, as it is (not GitHub's page about it)."""
        return f"https://raw.githubusercontent.com/{self.owner}/{self.name}/{NOTEBOOKS_BRANCH}/{quote(file)}"

    def source(self, file: str) -> str:
        return f"{self.url}/blob/{SOURCE_BRANCH}/{quote(file)}"

    def edit(self, file: str) -> str:
        return f"{self.url}/edit/{SOURCE_BRANCH}/{quote(file)}"

    def new_issue(self, page: str) -> str:
        """Return the address of the form for errors, with the page filled in by the name of its field."""
        fields = {"template": ERRORS_FORM, "title": f"On the page {page}: ", "page": page}
        return f"{self.url}/issues/new?{urlencode(fields, quote_via=quote)}"

    def page(self, page: str, anchor: str = "") -> str:
        """Return the address of a page of the site, given by its name without a suffix."""
        return f"{self.site}/{quote(page)}.html{'#' + quote(anchor) if anchor else ''}"


def find_repository(root: Path, environment: Mapping[str, str] | None = None) -> Repository | None:
    """Return the repository that this copy of the book belongs to, or None where that is unknown.

    Parameters
    ----------
    root : folder whose git remote is asked.
    environment : variables to read instead of the process's: GITHUB_SERVER_URL and GITHUB_REPOSITORY as a workflow
        sets them, and BOOK_URL, the site's address as the publishing step reports it.
    """
    variables = os.environ if environment is None else environment
    full_name = variables.get("GITHUB_REPOSITORY")
    address = f"{variables.get('GITHUB_SERVER_URL') or GITHUB}/{full_name}" if full_name else remote_of(root)
    parts = REMOTE.fullmatch(address.strip())
    if parts is None:
        return None
    owner, name = parts["owner"], parts["name"]
    return Repository(owner, name, variables.get("BOOK_URL", "").rstrip("/") or pages_site(owner, name))


def pages_site(owner: str, name: str) -> str:
    """Return where GitHub Pages serves a repository that has no domain of its own."""
    host = f"{owner.lower()}.github.io"
    return f"https://{host}" if name.lower() == host else f"https://{host}/{name}"


def remote_of(root: Path) -> str:
    """Return the address of ``origin``, empty where there is no git, no repository at ``root``, or no such remote."""
    command = ["git", "-C", str(root), "remote", "get-url", "origin"]
    try:
        # A folder inside somebody else's repository (an unpacked archive, say) is not that repository's copy.
        if not (root / ".git").exists():
            return ""
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
