"""What a decision rule says of a recorded run: its answer, and the numbers that it rests on, as the record keeps them.

This module loads nothing heavy, so that the verdicts can be listed where no experiment can be run.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from bncourse.results import Record

Answer = Literal["supported", "qualified", "contradicted", "inconclusive"]
NORMAL_95 = 1.959964


class Bounds(Protocol):
    """Anything with an estimate and the ends of its interval."""

    @property
    def estimate(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


@dataclass(frozen=True)
class Effect:
    """A number that a verdict rests on.

    Attributes
    ----------
    name : what was measured, with its unit.
    estimate, low, high : with a 95 % interval over seeds, or, without seeds, the range over a sweep.
    no_effect : the value at which nothing happens; without seeds, the value that is claimed.
    smallest : the smallest effect of interest, which the rule compares with.
    ratio : whether it is a factor, so that its scale is logarithmic.
    seeds : how many the interval rests on; 0 where chance has no part.
    resolution : the step in which one seed's value can move, such as that of a grid; a factor if ``ratio``, 0 for none.
    """

    name: str
    estimate: float
    low: float
    high: float
    no_effect: float
    smallest: float
    ratio: bool
    seeds: int
    resolution: float = 0.0

    @classmethod
    def of(
        cls,
        name: str,
        bounds: Bounds,
        *,
        no_effect: float,
        smallest: float,
        ratio: bool = False,
        seeds: int,
        resolution: float = 0.0,
    ) -> "Effect":
        """An effect from an interval."""
        return cls(name, bounds.estimate, bounds.low, bounds.high, no_effect, smallest, ratio, seeds, resolution)

    def scale(self, value: float) -> float:
        """A value on the effect's own scale, where equal steps mean equal changes.

        Parameters
        ----------
        value : on the effect's own scale.
        """
        return math.log(value) if self.ratio else value

    def p_value(self) -> float:
        r"""Two-sided p-value of the hypothesis that the effect is the smallest one of interest.

        .. math:: p = \operatorname{erfc}\left(\frac{|z|}{\sqrt 2}\right), \qquad
                  z = 1.96 \, \frac{e - t}{e - b}

        where e is the estimate, t the smallest effect of interest and b the interval's end on the side of t, all as
        logarithms for a ratio: the p-value that belongs to a 95 % interval [Altman and Bland, 2011], with the standard
        error of that side. It is below 0.05 exactly where the interval excludes t.

        Raises
        ------
        ValueError : if the effect has no seeds, so that chance has no part in it.
        """
        if not self.seeds:
            raise ValueError(f"expected an effect that was measured over seeds, got {self.name!r}")
        distance = self.scale(self.estimate) - self.scale(self.smallest)
        end = self.low if distance > 0 else self.high
        half_width = abs(self.scale(self.estimate) - self.scale(end))
        if half_width == 0:
            return 0.0 if distance else 1.0
        return math.erfc(NORMAL_95 * abs(distance) / half_width / math.sqrt(2))

    def __str__(self) -> str:
        if not self.seeds:
            return f"{self.estimate:.3g}, from {self.low:.3g} to {self.high:.3g}"
        return f"{self.estimate:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class Verdict:
    """The answer of a claim's decision rule.

    Attributes
    ----------
    claim : identifier in the ledger, such as ``C2``.
    statement : what articles say, in our words.
    answer : what the rule makes of the numbers.
    reason : the numbers that decided, in words.
    effects : these numbers.
    p : how likely comparisons as clear as those that decided would be if every effect were the smallest one of
        interest; 1 where nothing could be decided, None where chance has no part.
    """

    claim: str
    statement: str
    answer: Answer
    reason: str
    effects: tuple[Effect, ...] = ()
    p: float | None = None

    def __str__(self) -> str:
        return f"{self.claim} ({self.statement}): {self.answer}\n   {self.reason}"


def recorded_verdicts(record: "Record") -> list[Verdict]:
    """The verdicts that a record holds.

    Parameters
    ----------
    record : of an experiment.
    """
    return [
        Verdict(**{**content, "effects": tuple(Effect(**effect) for effect in content["effects"])})
        for content in record.verdicts
    ]
