"""A small book that uses every construct a chapter may use, for the tests of the machinery.

It has the real book's configuration and extensions, and pages of its own.
"""

# mypy: disable-error-code="no-untyped-call"
import base64
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

Cell = str | tuple[str, str]

ROOT = Path(__file__).resolve().parents[2]
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

TOC = """\
format: jb-book
root: book/intro
parts:
  - caption: 1 · One
    chapters:
      - file: book/1_one/2_first
      - file: book/1_one/exercises
  - caption: Appendix
    chapters:
      - file: book/appendix/glossary
      - file: book/appendix/bibliography
"""

INTRO = """\
(ch-intro)=
# A sample

Begin with {ref}`ch-first`; its result is {eq}`eq-mean`.
"""

GLOSSARY = """\
(app-glossary)=
# Glossary

```{glossary}
feature axis
  The axis that statistics are kept apart for.
```
"""

BIBLIOGRAPHY = """\
(app-bibliography)=
# Bibliography

```{bibliography}
```
"""

REFERENCES = """\
@inproceedings{one2015,
  author = {One, Ann and Two, Bo}, title = {A first work}, booktitle = {Proceedings}, year = {2015}
}
@inproceedings{three2018,
  author = {Three, Cy and Four, Di and Five, Ed}, title = {A second work}, booktitle = {Proceedings}, year = {2018}
}
"""

FIRST: list[Cell] = [
    """\
(ch-first)=
# 1.2 The first chapter

After {doc}`/book/intro` and {doc}`the exercises <exercises>`, by {cite:t}`one2015` and others
{cite:p}`one2015,three2018`. A {term}`feature axis` has many {term}`feature axes <feature axis>`, and `{ref}` is a
role that code may name. A price in $ and one in math: $x < y$.""",
    """\
(sec-mean)=
## The mean

$$
\\bar{x} = \\frac{1}{m} \\sum_i x_i
$$ (eq-mean)

From {eq}`eq-mean` follows

<!-- step of eq-mean -->
$$ m \\bar{x} = \\sum_i x_i $$

and, with two lines,

$$
\\begin{aligned}
a &= b \\\\
c &= d
\\end{aligned}
$$ (eq-two)""",
    """\
```{note}
A note with {ref}`a reference <sec-mean>` and

$$
1 + 1 = 2
$$ (eq-sum)
```

:::{admonition} Guess first
How many?

- one
- two
:::

````{warning}
```python
print("code inside")
```
````

::::{dropdown} The answer
Two, by {eq}`eq-sum`; see {numref}`fig-dot` and {numref}`picture %s <fig-dot>`.

:::{tip}
Nested.
:::
::::""",
    ("draw()\nplt.show()", "picture"),
    """\
:::{interactive} transform
What the figure shows, by {eq}`eq-sum`.

With a second paragraph.
:::""",
    "```text\n{ref}`left alone`\n$$ x $$\n```",
]

EXERCISES: list[Cell] = ["(ch-exercises)=\n# Exercises\n\nBack to {ref}`ch-first`.", ("print(1)", "1\n")]


def png(width: int = 8, height: int = 8) -> str:
    """Return a white picture, base64-coded as a notebook stores it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\xff" * 3 * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    raw = signature + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return base64.b64encode(raw).decode()


def notebook(cells: list[Cell]) -> NotebookNode:
    """Return a notebook of Markdown cells (text) and code cells (source and what it prints, or "picture")."""
    made = []
    for place, cell in enumerate(cells, start=1):
        if isinstance(cell, str):
            made.append(new_markdown_cell(cell, id=f"text-{place}"))
            continue
        source, printed = cell
        code = new_code_cell(source, id=f"code-{place}", execution_count=place)
        if printed == "picture":
            code.metadata["mystnb"] = {
                "image": {"alt": "a white square"},
                "figure": {"caption": "A square.", "name": "fig-dot"},
            }
            code.outputs = [
                new_output("stream", name="stdout", text="a square\n"),
                new_output("display_data", data={"image/png": png(), "text/plain": "<Figure>"}),
            ]
        else:
            code.outputs = [new_output("stream", name="stdout", text=printed)]
        made.append(code)
    made_notebook: NotebookNode = new_notebook(cells=made, metadata=METADATA)
    return made_notebook


def write_sample(folder: Path) -> Path:
    """Write the sample book's sources below ``folder`` and return it."""
    (folder / "book" / "1_one").mkdir(parents=True)
    (folder / "book" / "appendix").mkdir()
    shutil.copy(ROOT / "_config.yml", folder)
    for name in ("_ext", "_static"):
        shutil.copytree(ROOT / "book" / name, folder / "book" / name, ignore=shutil.ignore_patterns("__pycache__"))
    texts = {
        "_toc.yml": TOC,
        "references.bib": REFERENCES,
        "book/intro.md": INTRO,
        "book/appendix/glossary.md": GLOSSARY,
        "book/appendix/bibliography.md": BIBLIOGRAPHY,
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    nbformat.write(notebook(FIRST), folder / "book/1_one/2_first.ipynb")
    nbformat.write(notebook(EXERCISES), folder / "book/1_one/exercises.ipynb")
    return folder


def build(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Build the book in ``folder`` as ``make book`` does, warnings as errors, with these variables besides PATH."""
    program = str(Path(sys.executable).parent / "jupyter-book")
    command = [program, "build", "-W", "--keep-going", "--all", str(folder)]
    variables = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", str(folder)), **environment}
    return subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
