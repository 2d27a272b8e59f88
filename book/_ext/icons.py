"""Sphinx extension: the site serves the icons that its pages show, out of the two thousand that its theme brings.

The theme draws icons by a script of 1.5 MB. After each build it is written anew from the theme's own file, with the
icons that any page or script of the site names. All pages are read, not only those just built, so that an icon is never
missing after a build of one page.

The theme's style sheet has a rule for each icon as well, by which a browser fetches two fonts, 270 kB, and shows their
letters until the script has run and draws over them. These rules are left out: the buttons that icons stand on need
scripts anyway.
"""

import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

SCRIPT, STYLES = "scripts/fontawesome.js", "styles/pydata-sphinx-theme.css"
FAMILIES = {
    "fa": "fas", "fas": "fas", "fa-solid": "fas", "far": "far", "fa-regular": "far", "fab": "fab", "fa-brands": "fab",
}  # fmt: skip

# name:[width,height,[other names],"code point","path"], as the script has them, one family after the other.
ICON = re.compile(
    r'(?P<name>"[\w-]+"|\w+):\[\d+,\d+,\[(?P<others>[^\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\](?:,|(?=\}))'
)
PACK = re.compile(rf'var p=\{{(?P<icons>(?:{ICON.pattern.replace("?P<name>", "?:").replace("?P<others>", "?:")})+)\}}'
                  r'(?P<end>;.{,300}?function\(\)\{d\("(?P<family>fa[brs])")')  # fmt: skip
# The class of an icon, and the letter of the theme's font that shows it.
RULE = re.compile(r'(?P<names>\.fa-[\w-]+:before(?:,\.fa-[\w-]+:before)*)\{content:"[^"]*"\}')
SOURCE_MAP = re.compile(r"\n//# sourceMappingURL=\S+\s*$")

# A list of classes, in a page's attribute or as a script's string.
CLASSES = re.compile(r"""(["'])((?:[\w-]+\s+)*fa-[\w-]+(?:\s+[\w-]+)*)\s*\1""")

Icon = tuple[str, str]  # family and name


def theme_file(name: str) -> str:
    """Return a static file of the installed theme."""
    path = files("pydata_sphinx_theme") / "theme/pydata_sphinx_theme/static" / name
    return path.read_text(encoding="utf-8")


def named(texts: Iterable[str], styles: str) -> set[Icon]:
    """Return the icons that pages and scripts name; a class that makes one larger or turns it is none."""
    shown = {name for rule in RULE.finditer(styles) for name in re.findall(r"\.fa-([\w-]+):before", rule["names"])}
    changed = set(re.findall(r"\.fa-([\w-]+)", styles)) - shown
    lists = {match[2] for text in texts for match in CLASSES.finditer(text)}
    found: set[Icon] = set()
    for classes in map(str.split, lists):
        family = next((FAMILIES[name] for name in classes if name in FAMILIES), "fas")
        names = (name.removeprefix("fa-") for name in classes if name.startswith("fa-") and name not in FAMILIES)
        found |= {(family, name) for name in names if name not in changed}
    return found


def only(script: str, icons: set[Icon]) -> str:
    """Return the script with these icons alone.

    Raises
    ------
    ExtensionError : if the script has one of them not, or is not laid out as expected.
    """
    missing = set(icons)

    def pack(match: re.Match[str]) -> str:
        kept = []
        for icon in ICON.finditer(match["icons"]):
            names = {icon["name"].strip('"'), *re.findall(r'"([\w-]+)"', icon["others"])}
            if wanted := {(match["family"], name) for name in names} & icons:
                missing.difference_update(wanted)
                kept.append(icon.group().rstrip(","))
        return f"var p={{{','.join(kept)}}}{match['end']}"

    text, packs = PACK.subn(pack, script)
    if packs != 3:
        raise ExtensionError(
            f"expected three families of icons in the theme's {SCRIPT}, found {packs}: adapt {__name__}"
        )
    if missing:
        names = ", ".join(f"{family} fa-{name}" for family, name in sorted(missing))
        raise ExtensionError(f"the book uses icons that its theme does not have: {names}")
    return SOURCE_MAP.sub("\n", text)


def without_letters(styles: str) -> str:
    """Return the style sheet without the rules that show icons as letters of a font."""
    return RULE.sub("", styles)


def write_used(app: Sphinx, error: Exception | None) -> None:
    """Write the script with what the finished site uses, and the styles."""
    static = Path(app.outdir) / "_static"
    if error or not (static / SCRIPT).exists():
        return
    styles = theme_file(STYLES)
    pages = (path for path in Path(app.outdir).rglob("*.html") if static not in path.parents)
    scripts = (path for path in static.rglob("*.*js") if path != static / SCRIPT and "mathjax" not in path.parts)
    used = named((path.read_text(encoding="utf-8") for path in (*pages, *scripts)), styles)
    (static / SCRIPT).write_text(only(theme_file(SCRIPT), used), encoding="utf-8")
    (static / STYLES).write_text(without_letters(styles), encoding="utf-8")
    (static / f"{SCRIPT}.map").unlink(missing_ok=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Run when Sphinx has copied the theme's files, which it does at the end of every build."""
    app.connect("build-finished", write_used)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
