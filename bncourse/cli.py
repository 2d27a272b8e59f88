"""The command line: ``bncourse doctor``, ``bncourse exercises`` and ``bncourse grade``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bncourse import __version__, doctor

app = typer.Typer(
    help="A course on batch normalization: its tools.", no_args_is_help=True, pretty_exceptions_show_locals=False
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """A course on batch normalization: its tools."""


@app.command("doctor")
def run_doctor() -> None:
    """Show what this machine has of what the course can use, with a remedy for each thing missing."""
    if not doctor.report():
        raise typer.Exit(1)


@app.command("exercises")
def list_exercises() -> None:
    """List the exercises, and how far you are with each."""
    from bncourse.exercises import progress

    progress()


@app.command("grade")
def grade(
    submissions: Annotated[
        Path,
        typer.Argument(exists=True, file_okay=False, help="The folder of notebooks; file names say whose they are."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The table to write.")] = Path("grades.csv"),
    exercise: Annotated[
        list[str] | None, typer.Option("--exercise", "-e", help="One to grade, or several. [all]")
    ] = None,
    time_limit: Annotated[float, typer.Option(min=1, help="Seconds that one submission may take.")] = 10,
    workers: Annotated[int, typer.Option(min=0, help="How many to grade at once. [0: one a core]")] = 0,
) -> None:
    """Grade a folder of notebooks in a sandbox. Run it again after an interruption, or when late work came in."""
    if sys.platform != "linux":
        typer.echo("bncourse grade: its sandbox exists on Linux only; grade on a Linux machine", err=True)
        raise typer.Exit(2)
    from bncourse.exercises.grading import command

    raise typer.Exit(command.grade(submissions, output, exercise or [], time_limit, workers))
