"""Where each claim stands: its entry, and the verdict and provenance of its record, if there is one."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bncourse import results
from bncourse.ledger.claim import Claim
from bncourse.ledger.holm import holm
from bncourse.ledger.registry import CLAIMS
from bncourse.results.verdicts import Verdict, recorded_verdicts

LEVEL = 0.05
NOT_RUN = "not yet run"


@dataclass(frozen=True)
class State:
    """A claim and what is known about it.

    Attributes
    ----------
    claim : its entry.
    verdict : of the recorded run; None if there is none.
    provenance : of that run.
    corrected_p : the verdict's p-value after Holm's correction over the ledger; None where the verdict has none.
    """

    claim: Claim
    verdict: Verdict | None = None
    provenance: results.Provenance | None = None
    corrected_p: float | None = None

    @property
    def answer(self) -> str:
        """The plain verdict."""
        return self.verdict.answer if self.verdict else NOT_RUN

    @property
    def corrected_answer(self) -> str:
        """The verdict that stands after Holm's correction: the plain one, or none."""
        if self.corrected_p is not None and self.corrected_p > LEVEL:
            return "inconclusive"
        return self.answer


def states(folder: Path = results.FOLDER) -> list[State]:
    """Every claim of the ledger, in order, with what is recorded about it.

    Chance has no part in the claims without a p-value. They are counted as tests that are passed with certainty, which
    leaves the correction of the others as if they were not there.

    Parameters
    ----------
    folder : of the records.

    Examples
    --------
    >>> from bncourse.ledger import states
    >>> state = states()[20]
    >>> print(state.claim.id, state.claim.statement)
    C21 the layer's output has exactly zero mean and unit variance
    >>> state.answer in {"supported", "contradicted", "qualified", "inconclusive", "not yet run"}
    True
    """
    found = _recorded(CLAIMS, folder)
    p_values = {name: 0.0 if verdict.p is None else verdict.p for name, (verdict, _) in found.items()}
    corrected = holm(p_values, tests=len(CLAIMS))
    listed = []
    for claim in CLAIMS:
        if claim.id not in found:
            listed.append(State(claim))
            continue
        verdict, provenance = found[claim.id]
        listed.append(State(claim, verdict, provenance, None if verdict.p is None else corrected[claim.id]))
    return listed


def _recorded(claims: Iterable[Claim], folder: Path) -> dict[str, tuple[Verdict, results.Provenance]]:
    recorded = {path.stem for path in folder.glob("*.json")}
    found = {}
    for experiment in sorted({claim.experiment for claim in claims} & recorded):
        record = results.load(experiment, folder)
        for verdict in recorded_verdicts(record):
            found[verdict.claim] = verdict, record.provenance
    return found
