"""What ``bncourse claims`` prints, and its exit statuses."""

import shutil
import textwrap
from pathlib import Path

import typer

from bncourse import results
from bncourse.ledger.registry import CLAIMS, select
from bncourse.ledger.running import check, run
from bncourse.ledger.state import NOT_RUN, State, states

OWN_RUNS = Path("claims")


def show_list() -> int:
    """Print every claim with its verdict, and with the verdict that stands after Holm's correction."""
    listed = states()
    width = max(60, min(shutil.get_terminal_size((100, 24)).columns, 110))
    for state in listed:
        typer.echo(_row(state, width))
    done = sum(state.verdict is not None for state in listed)
    typer.echo(f"\n{done} of {len(listed)} claims have a recorded verdict. In brackets: the verdict that stands after")
    typer.echo("Holm's correction over all of them, where it is another. More: bncourse claims run --help")
    return 0


def _row(state: State, width: int) -> str:
    answer = state.answer
    if state.corrected_answer != answer:
        answer += f" [{state.corrected_answer}]"
    head, tail = f"{state.claim.id:4}", f"  {answer:13} {state.claim.chapter}"
    first, *more = textwrap.wrap(state.claim.statement, width - len(head) - len(tail)) or [""]
    lines = [f"{head}{first:{width - len(head) - len(tail)}}{tail}", *(" " * len(head) + line for line in more)]
    if state.verdict:
        lines += [f"{' ' * len(head)}{effect}: {effect.name}" for effect in state.verdict.effects]
    return "\n".join(lines)


def run_claims(names: list[str], seeds: int | None, output: Path | None, jobs: int) -> int:
    """Run claims and print their verdicts; 2 for a name that is none, 130 after an interruption."""
    try:
        claims = select(names)
    except LookupError as error:
        return _complain(error)
    # A run with another number of seeds is the reader's own, and never replaces the registered one.
    folder = output or (results.FOLDER if seeds is None else OWN_RUNS)
    try:
        run(claims, folder, seeds, jobs)
    except KeyboardInterrupt:
        typer.echo("\nStopped. Run the same command again: it goes on with what is not done.", err=True)
        return 130
    return 0


def check_claims(names: list[str], folder: Path | None, jobs: int) -> int:
    """Compare reduced runs with the records and print each comparison; 1 if one disagrees or nothing was compared."""
    try:
        comparisons = []
        for each in check(select(names), folder or results.FOLDER, jobs):
            comparisons.append(each)
            now = "gone" if each.reduced is None else str(each.reduced)
            mark = "ok  " if each.agrees else "FAIL"
            typer.echo(f"{mark} {each.claim:4} recorded {each.recorded}, reduced {now}: {each.recorded.name}")
    except (LookupError, ValueError) as error:
        return _complain(error)
    failed = sorted({each.claim for each in comparisons if not each.agrees}, key=lambda name: int(name[1:]))
    if failed:
        typer.echo(f"The reduced run excludes the recorded effect of {', '.join(failed)}.", err=True)
    if not comparisons:
        asked = ", ".join(names) or f"{CLAIMS[0].id} to {CLAIMS[-1].id}"
        typer.echo(f"Nothing is recorded for {asked}: {NOT_RUN}.", err=True)
    return 0 if comparisons and not failed else 1


def _complain(error: Exception) -> int:
    typer.echo(f"bncourse claims: {error}", err=True)
    return 2
