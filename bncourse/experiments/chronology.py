"""Did batch norm shift practice from sigmoid and tanh to ReLU? Claim C20.

A cause does not come after its effect. So the years are compared in which papers that use rectified units, and the one
that proposed batch norm, appeared at their conferences. Chance has no part in it, and the years were known before the
rule was written: what the rule fixes is how they are read. The three papers are those that are usually named for the
change: rectified units in restricted Boltzmann machines (2010), in deep classifiers (2011), and in the network that won
the ImageNet competition of 2012. Batch norm's preprint is of the same year as the conference where it appeared.

Estimand, for each of the three: years from it to batch norm's paper.

Rule (smallest effect of interest: one year). Contradicted if all three precede batch norm's paper by a year or more,
qualified if some do, else inconclusive: dates can refute that batch norm caused the change, and cannot show that it
did. Nor do they say whether batch norm hastened a change that was under way.

Beside it, and in no rule, stands what the record of claim C6 says of the claim's other half. If sigmoids had to go
because their gradients vanish, and batch norm makes deep sigmoid networks trainable, then it takes away a reason for
the change: it does not give one.
"""

from dataclasses import dataclass

import numpy as np

from bncourse import results
from bncourse.experiments.shared import Answer, Effect, Verdict, record_run, revive
from bncourse.lab import Interval
from bncourse.results.verdicts import recorded_verdicts

SMALLEST = 1


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on: keys of the bibliography, and years of publication.

    Attributes
    ----------
    batch_norm : the paper that proposed it.
    rectified : papers that use rectified units.
    sigmoid_record : the experiment whose record says whether batch norm makes sigmoids trainable.
    """

    batch_norm: tuple[str, int] = ("ioffe2015batch", 2015)
    rectified: tuple[tuple[str, int], ...] = (
        ("nair2010rectified", 2010),
        ("glorot2011deep", 2011),
        ("krizhevsky2012imagenet", 2012),
    )
    sigmoid_record: str = "depth"


@dataclass(frozen=True)
class Outcome:
    """Years, and C6's finding.

    Attributes
    ----------
    batch_norm : year of the paper that proposed it.
    rectified : {key: year}, of papers that use rectified units.
    years_before : {key: years from it to batch norm's}.
    sigmoid_depth : hidden layers of the sigmoid networks of C6.
    sigmoid_gain : their test accuracy with batch norm - without.
    vanishing : C6's answer.
    """

    batch_norm: int
    rectified: dict[str, int]
    years_before: dict[str, int]
    sigmoid_depth: int
    sigmoid_gain: Interval
    vanishing: Answer


REDUCED = Settings()


def with_seeds(settings: Settings, count: int) -> Settings:
    """The same settings: there are no seeds to have more of."""
    return settings


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Subtract the years and look C6 up; too little work to spread or to keep."""
    record = results.load(settings.sigmoid_record)
    (vanishing,) = (verdict for verdict in recorded_verdicts(record) if verdict.claim == "C6")
    year = settings.batch_norm[1]
    return Outcome(
        batch_norm=year,
        rectified=dict(settings.rectified),
        years_before={key: year - its_year for key, its_year in settings.rectified},
        sigmoid_depth=record.outcome["depth"],
        sigmoid_gain=revive(record.outcome)["estimates"]["sigmoid_accuracy_difference"],
        vanishing=vanishing.answer,
    )


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Apply the rule of the module's docstring."""
    years = np.array(list(outcome.years_before.values()))
    early = years >= SMALLEST
    answer: Answer = "contradicted" if early.all() else "qualified" if early.any() else "inconclusive"
    dated = ", ".join(str(year) for year in sorted(outcome.rectified.values()))
    reason = (
        f"papers with rectified units are of {dated}, batch norm's is of {outcome.batch_norm}: {early.sum()} of "
        f"{len(years)} precede it by a year or more; and C6 ({outcome.vanishing}) finds that batch norm adds "
        f"{outcome.sigmoid_gain} to the test accuracy of sigmoid networks of {outcome.sigmoid_depth} layers"
    )
    effect = Effect.of(
        "years from papers with rectified units to batch norm's, median and range",
        Interval(float(np.median(years)), float(years.min()), float(years.max())),
        no_effect=0,
        smallest=SMALLEST,
        seeds=0,
    )
    return [Verdict("C20", "batch norm shifted practice from sigmoid and tanh to ReLU", answer, reason, (effect,))]


def recorded() -> Outcome:
    """The outcome of the recorded run, as shown in chapter 6.1."""
    return Outcome(**revive(results.load("chronology").outcome))


if __name__ == "__main__":
    record_run("chronology", Settings(), run, verdicts)
