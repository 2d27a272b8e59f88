"""The command line: ``bncourse doctor``."""

import typer
from rich.console import Console
from rich.table import Table

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
    table = Table(title="bncourse doctor")
    for heading in ("", "state", "found", "remedy"):
        table.add_column(heading, overflow="fold")
    findings = doctor.examine()
    for finding in findings:
        table.add_row(finding.subject, finding.state, finding.found, finding.remedy)
    Console().print(table)
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(1)
