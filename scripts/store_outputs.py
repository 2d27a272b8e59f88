"""Execute the notebooks of the book and store their outputs, in a form that two runs write alike.

    python scripts/store_outputs.py [notebook ...]

Without arguments every notebook that ``_toc.yml`` lists. A notebook is written only when it ran to its end
without an error, and then at once: it is written aside and moved into place.
"""

# mypy: disable-error-code="no-untyped-call, import-untyped"
import asyncio
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
SECONDS_A_CHAPTER = 60
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python"}
# One thread a process: a reader's sums then run in the order of ours, and chapters can run beside each other.
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")


class NotStorableError(Exception):
    """A notebook did not run, or its outputs are not fit to be stored."""


def main(arguments: list[str]) -> int:
    """Store the outputs of the notebooks named, or of all; return the number of those that failed."""
    notebooks = [Path(name).resolve() for name in arguments] or listed_notebooks(ROOT)
    failures = 0
    for path in notebooks:
        start = time.perf_counter()
        try:
            store(path)
        except NotStorableError as error:
            failures += 1
            print(f"{shown(path)}: not stored: {error}", file=sys.stderr)
        else:
            print(f"{shown(path)}: stored, {time.perf_counter() - start:.1f} s")
    return failures


def listed_notebooks(root: Path) -> list[Path]:
    """Return the notebooks among the pages of ``_toc.yml``, in the order of the book."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    pages = [toc["root"], *(page["file"] for part in toc["parts"] for page in part["chapters"])]
    candidates = [root / f"{page}.ipynb" for page in pages]
    return [path for path in candidates if path.exists()]


def store(path: Path) -> None:
    """Execute one notebook in its own folder and write it back with its outputs.

    Raises
    ------
    NotStorableError : if a cell fails, the time runs out, or an output cannot be kept as it is.
    """
    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, ValueError) as error:
        raise NotStorableError(str(error)) from error
    execute(notebook, path.parent)
    normalize(notebook)
    nbformat.validate(notebook)
    write_in_place(path, nbformat.writes(notebook, indent=1) + "\n")


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Run all cells in a fresh kernel of this interpreter, within the time that a chapter may take."""
    notebook.metadata.kernelspec = KERNELSPEC
    client = NotebookClient(
        notebook,
        timeout=SECONDS_A_CHAPTER,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=False,
        record_timing=False,
    )

    async def run(progress: str) -> None:
        # A reader's progress starts empty; the author's must not show in what is stored.
        variables = {**os.environ, **THREADS, "BNCOURSE_DATA": progress}
        await asyncio.wait_for(client.async_execute(env=variables), SECONDS_A_CHAPTER)

    try:
        with tempfile.TemporaryDirectory() as progress:
            asyncio.run(run(progress))
    except TimeoutError as error:
        raise NotStorableError(f"it ran longer than {SECONDS_A_CHAPTER} s") from error
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise NotStorableError(str(error)) from error


def normalize(notebook: NotebookNode) -> None:
    """Bring metadata, counts and outputs to the one form in which notebooks are committed.

    Raises
    ------
    NotStorableError : if an output is an error, an interactive widget, or shows the address of an object or a path
        of this machine: such an output differs at the next run.
    """
    notebook.metadata = NotebookNode(kernelspec=KERNELSPEC, language_info=LANGUAGE)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    count = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        for noise in ("execution", "ExecuteTime", "collapsed", "scrolled"):
            cell.metadata.pop(noise, None)
        cell.outputs = merged_streams(cell.outputs)
        for output in cell.outputs:
            refuse_unstable(output, cell.id)
            if output.output_type == "execute_result":
                output.execution_count = count
            if "metadata" in output:
                output.metadata = NotebookNode()


def merged_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Join neighbouring pieces of one stream, which the kernel cuts at moments of its own."""
    merged: list[NotebookNode] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last is not None and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            merged.append(output)
    return merged


def refuse_unstable(output: NotebookNode, cell_id: str) -> None:
    """Raise NotStorableError for an output that would not be the same on another machine."""
    if output.output_type == "error":
        raise NotStorableError(f"cell {cell_id!r} shows the error {output.ename}: {output.evalue}")
    data = output.get("data", {"text/plain": output.get("text", "")})
    if any("widget" in kind for kind in data):
        raise NotStorableError(f"cell {cell_id!r} shows a widget, which needs a running kernel")
    text = "\n".join(str(value) for kind, value in data.items() if kind.startswith("text/"))
    if address := ADDRESS.search(text):
        has_picture = any(kind.startswith("image/") for kind in data)
        hint = "end the cell with plt.show()" if has_picture else "print a value instead of an object"
        raise NotStorableError(f"cell {cell_id!r} prints an address ({address.group()}): {hint}")
    for folder in (str(ROOT), str(Path.home()) + os.sep, tempfile.gettempdir() + os.sep):
        if folder.strip(os.sep) and folder in text:
            raise NotStorableError(f"cell {cell_id!r} prints a path of this machine ({folder}…)")


def write_in_place(path: Path, text: str) -> None:
    """Write ``text`` beside ``path`` and move it there, so that no reader meets half a file."""
    aside = path.with_suffix(".ipynb.new")
    aside.write_text(text, encoding="utf-8", newline="\n")
    aside.replace(path)


def shown(path: Path) -> str:
    """Return the path as seen from the root of the repository, where it lies below it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
