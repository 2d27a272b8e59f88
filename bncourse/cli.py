"""The command line: ``bncourse doctor`` and ``bncourse exercises``."""

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
