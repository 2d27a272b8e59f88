"""The command line: ``bncourse doctor``, ``exercises``, ``grade``, ``claims`` and ``bench``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bncourse import __version__, doctor

app = typer.Typer(
    help="A course on batch normalization: its tools.", no_args_is_help=True, pretty_exceptions_show_locals=False
)

bench = typer.Typer(help="Measure speed on this machine.", no_args_is_help=True)
app.add_typer(bench, name="bench")

claims = typer.Typer(help="What articles say about batch norm, and how each claim fares when it is tested.")
app.add_typer(claims, name="claims")

ClaimNames = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Claims such as C2; none: all.")]
Jobs = Annotated[int, typer.Option("--jobs", "-j", help="Number of processes; -1: one a core.")]


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
        Path | None,
        typer.Argument(exists=True, file_okay=False, help="The folder of notebooks; file names say whose they are."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="What to write. [grades.csv, or autograder.zip]")
    ] = None,
    exercise: Annotated[
        list[str] | None, typer.Option("--exercise", "-e", help="One to grade, or several. [all]")
    ] = None,
    time_limit: Annotated[float, typer.Option(min=1, help="Seconds that one submission may take.")] = 10,
    workers: Annotated[int, typer.Option(min=0, help="How many to grade at once. [0: one a core]")] = 0,
    export: Annotated[
        str | None, typer.Option(help="Grade nothing here: write the autograder for this platform (gradescope).")
    ] = None,
) -> None:
    """Grade a folder of notebooks in a sandbox. Run it again after an interruption, or when late work came in."""
    if sys.platform != "linux":
        typer.echo("bncourse grade: its sandbox exists on Linux only; grade on a Linux machine", err=True)
        raise typer.Exit(2)
    from bncourse.exercises.grading import command

    if export is not None and submissions is None:
        raise typer.Exit(command.export(export, output or Path("autograder.zip"), exercise or [], time_limit))
    if export is None and submissions is not None:
        raise typer.Exit(command.grade(submissions, output or Path("grades.csv"), exercise or [], time_limit, workers))
    typer.echo("bncourse grade: expected either a folder of SUBMISSIONS or --export, and not both", err=True)
    raise typer.Exit(2)


@claims.callback(invoke_without_command=True)
def list_claims(context: typer.Context) -> None:
    """List the claims of the ledger with their verdicts."""
    if context.invoked_subcommand is None:
        from bncourse.ledger import command

        raise typer.Exit(command.show_list())


@claims.command("run")
def run_claims(
    names: ClaimNames = None,
    seeds: Annotated[int | None, typer.Option(min=4, help="How many to compare, instead of the registered.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            file_okay=False,
            help="Folder of the records; none: the package's results, or claims with --seeds.",
        ),
    ] = None,
    jobs: Jobs = -1,
) -> None:
    """Run the experiments behind the claims and record their results. Run it again after an interruption."""
    from bncourse.ledger import command

    raise typer.Exit(command.run_claims(names or [], seeds, output, jobs))


@claims.command("check")
def check_claims(
    names: ClaimNames = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--records", exists=True, file_okay=False, help="Folder of the records; none: the package's results."
        ),
    ] = None,
    jobs: Jobs = -1,
) -> None:
    """Run the recorded claims again at reduced size; fail where that excludes a recorded effect."""
    from bncourse.ledger import command

    raise typer.Exit(command.check_claims(names or [], folder, jobs))


@bench.command("kernels")
def bench_kernels(
    shape: Annotated[
        list[str] | None, typer.Option(help="One shape or several, such as 32x64x56x56; none: the whole suite.")
    ] = None,
    dtype: Annotated[
        list[str] | None, typer.Option(help="bfloat16, float32 or float16, or several; none: all.")
    ] = None,
    peer: Annotated[
        list[str] | None, typer.Option(help="Who races beside bncourse: one or several; none: all.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Four shapes, bfloat16, fewer rounds.")] = False,
    minutes: Annotated[float | None, typer.Option(min=0, help="Begin no row that would end later.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The folder of kernels.json; none: the package's results.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the results that are there.")] = False,
    device: Annotated[str, typer.Option(help="Without a GPU: whose bound to print.")] = "H100 SXM",
) -> None:
    """Race the kernels against PyTorch, cuDNN, torch.compile and others on this GPU; without one, print the floor.

    Every row is written at once. Run it again after an interruption: it goes on with the rows that are not done.
    """
    from bncourse.kernels.bench.command import bench as run_bench

    raise typer.Exit(run_bench(shape, dtype, peer, quick, minutes, output, fresh, device))
