"""An exercise: what its author writes once, and what a learner calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bncourse.exercises import progress_file
from bncourse.exercises.attempt import attempt_all
from bncourse.exercises.display import Shown, execution_count, show, show_text
from bncourse.exercises.faults import Coincidence, Fault, FaultSet
from bncourse.exercises.hints import show_hint
from bncourse.exercises.judge import IN_FLOAT32, RELATIVE_TOLERANCE, Outputs, judge
from bncourse.exercises.probe import Probe
from bncourse.exercises.result import Result
from bncourse.exercises.source import solution_source, starter_source

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Property:
    """Something about an output that a learner can look at when the mistake is not recognized.

    Parameters
    ----------
    name : what it is, as the subject of a sentence.
    output : the output that it looks at; its size sets the scale of the tolerance.
    value : computes it from the output and the probe's arguments.
    counts : what the values stand for, one each, where there is one axis.
    """

    name: str
    output: str
    value: Callable[[np.ndarray, Arguments], np.ndarray]
    counts: str = "feature"

    def locate(self, index: tuple[np.intp, ...]) -> str:
        """Where in the property a value stands: its feature, or the like, or its place in a matrix."""
        if not index:
            return ""
        places = ", ".join(str(int(i)) for i in index)
        return f", {self.counts} {places}," if len(index) == 1 else f"[{places}]"


@dataclass(frozen=True)
class Exercise:
    """One graded exercise.

    A learner calls :meth:`check`, :meth:`hint`, :meth:`solution` and :meth:`starter`; the fields are its author's.

    Parameters
    ----------
    id : its name, by which it is imported from ``bncourse.exercises``.
    title : what the learner writes.
    chapter : number of the chapter that it belongs to.
    statement : the task, in Markdown.
    solution_function : the reference solution; its signature and docstring make the starter. A kernel stands here
        without its decorator, since nothing imports Triton before a kernel is checked.
    outputs : names of what the function returns.
    reference : ``reference(faults, arguments)`` gives the outputs of a function that makes these mistakes.
    faults : the mistakes that the diagnosis knows.
    coincidences : sets of faults that are the same function.
    make_probes : draws a fresh list of probes.
    properties : looked at in this order when no set of faults matches; the last ones are the outputs themselves.
    hints : from the gentlest to the most explicit.
    explanation : why the solution is right.
    passed_message : what a pass shows; it holds no number that changes from call to call.
    tolerance : relative tolerance by the size in bytes of the dtype that is returned. An exercise says its own where a
        right answer is no better in a wider dtype.
    nearly : said of an unknown mistake with which all values still agree to the precision of float32.
    further_functions : of the solution, where the learner writes more than one: kernels that are launched in turn.
    kernels : whether the functions are kernels. Then every probe says how they are launched, and the outputs are
        arguments that are :class:`~bncourse.exercises.probe.Empty`.
    given_function, given_faults : where the learner repairs a function, the one to start from and what is wrong with
        it: whoever hands in just these mistakes has not begun.
    read_free : where a right function may choose something, as the step of a difference, and a mistake's answer depends
        on it: reads it, for a set of faults, from what came back on all probes. It joins the reference's arguments.
    run : where many answers are right and a run decides: tries what came back on a probe, and says what happened if it
        fell short, in a sentence; an empty text if it reached its goal. Then the answer counts as the reference's.
    """

    id: str
    title: str
    chapter: str
    statement: str
    solution_function: Callable[..., object]
    outputs: tuple[str, ...]
    reference: Callable[[FaultSet, Arguments], tuple[np.ndarray, ...]]
    faults: tuple[Fault, ...]
    coincidences: tuple[Coincidence, ...]
    make_probes: Callable[[np.random.Generator], Sequence[Probe]]
    properties: tuple[Property, ...]
    hints: tuple[str, ...]
    explanation: str
    passed_message: str
    tolerance: Mapping[int, float] = field(default_factory=lambda: RELATIVE_TOLERANCE)
    nearly: str = IN_FLOAT32
    further_functions: tuple[Callable[..., object], ...] = ()
    kernels: bool = False
    given_function: Callable[..., object] | None = None
    given_faults: FaultSet | None = None
    read_free: Callable[[FaultSet, Sequence[Probe], Sequence[Outputs]], Arguments] | None = None
    run: Callable[[Outputs, Probe], str] | None = None
    _hint_level: list[int] = field(default_factory=lambda: [0], repr=False, compare=False)

    def __repr__(self) -> str:
        return f"<Exercise {self.id}: {self.title}>"

    @property
    def function_names(self) -> tuple[str, ...]:
        """What the functions are called that :meth:`check` takes, in its order."""
        return tuple(function.__name__ for function in (self.solution_function, *self.further_functions))

    def check(self, *functions: Any) -> Result:
        """Call your function on fresh probes, show the verdict, note the progress, and return the verdict.

        Whatever the function does, short of an interrupt from the keyboard, the answer is a :class:`Result`. Only an
        exercise that says so takes several.

        Parameters
        ----------
        functions : your function; your functions in the order of the starter, where the exercise asks for several.

        Examples
        --------
        >>> import numpy as np
        >>> from bncourse.exercises import bn_forward
        >>> def forward(x, gamma, beta, eps):
        ...     return gamma * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0, ddof=1) + eps) + beta
        >>> result = bn_forward.check(forward)  # doctest: +ELLIPSIS
        bn_forward: failed
        This is the unbiased variance: divide the sum of squares by m, the number of samples, not by m - 1 ...
        >>> result.outcome, result.faults
        ('failed', ('unbiased_variance',))
        """
        function = functions[0] if len(functions) == 1 else functions
        result = self.verdict(function, self.make_probes(np.random.default_rng()))
        progress_file.record(self.id, result.outcome)
        show(result.as_text(), result.as_html())
        return replace(result, shown_in=execution_count())

    def verdict(self, function: Any, probes: Sequence[Probe]) -> Result:
        """The verdict on ``function`` over ``probes``; shows and records nothing."""
        return judge(self, probes, attempt_all(function, probes, self.outputs))

    def hint(self, level: int | None = None) -> Shown:
        """Print a hint: the one of that level, or the next after the last one shown.

        Parameters
        ----------
        level : of the hint, 1 for the first; None for the one after the last one shown.

        Raises
        ------
        ValueError : if there is no hint of that level.
        """
        return show_hint(self.id, self.hints, self._hint_level, level)

    def solution(self) -> Shown:
        """Print the reference solution with its explanation: code that runs as it stands."""
        return show_text(solution_source(self))

    def starter(self) -> Shown:
        """Print the cell to start from: the function without its body."""
        return show_text(starter_source(self))
