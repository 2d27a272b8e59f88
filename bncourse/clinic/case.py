"""A patient of the clinic: what its author writes once, and what a learner calls."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bncourse.clinic.checking import Finding, verdict
from bncourse.clinic.recording import Measure, Watch, both_modes
from bncourse.exercises.display import Shown, execution_count, show, show_text
from bncourse.exercises.hints import show_hint
from bncourse.exercises.result import Result

WIDTH = 76
# What a run may use, and the line that imports it.
IMPORTS = {
    "copy": "import copy",
    "contextmanager": "from contextlib import contextmanager, nullcontext",
    "torch": "import torch",
    "nn": "from torch import nn",
    "functional": "from torch.nn import functional",
    "checkpoint": "from torch.utils.checkpoint import checkpoint",
    "DataLoader": "from torch.utils.data import DataLoader",
    "TensorDataset": "from torch.utils.data import TensorDataset",
    "mlp": "from bncourse.clinic import mlp",
    "run_ranks": "from bncourse.clinic import run_ranks",
    "SyncBatchNorm": "from bncourse.clinic import SyncBatchNorm",
}


@dataclass(frozen=True)
class Diagnosis:
    """One explanation to choose from.

    Parameters
    ----------
    text : the explanation.
    feedback : why it is right, or what speaks against it.
    right : whether it is.
    """

    text: str
    feedback: str
    right: bool = False

    @property
    def answer(self) -> str:
        """The feedback, with its verdict in front."""
        return f"**{'Right' if self.right else 'No'}.** {self.feedback}"


@dataclass(frozen=True)
class Case:
    """One broken run.

    A learner calls :meth:`show`, :meth:`check`, :meth:`hint`, :meth:`solution` and :meth:`starter`; the fields are its
    author's.

    Parameters
    ----------
    id : its name, by which it is imported from ``bncourse.clinic``.
    title : the name of the fault; it gives the diagnosis away.
    complaint : what a colleague writes who has the symptom and not the cause.
    known : where this has been met, in a sentence with its source.
    broken, fixed : ``train(task, record)``, a run with the fault and one without. It returns what it hands over.
    prepare : from a seed to the task, which holds no image that the examination uses.
    examine : from what was handed over, the seed and what was seen of the batches to the findings; all must be good.
    goal : what the examination asks, in a sentence.
    diagnoses : to choose from, one of them right.
    hints : from the gentlest to the most explicit.
    explanation : why the solution is right.
    measure : the curves, from what is handed over, the task and the number of steps.
    every : steps from one point of the curves to the next.
    curves : names of the quantities to draw, of those that ``measure`` returns, or the loss.
    """

    id: str
    title: str
    complaint: str
    known: str
    broken: Callable[..., Any]
    fixed: Callable[..., Any]
    prepare: Callable[[int], Any]
    examine: Callable[[Any, int, Watch], Sequence[Finding]]
    goal: str
    diagnoses: tuple[Diagnosis, ...]
    hints: tuple[str, ...]
    explanation: str
    measure: Measure = both_modes
    every: int = 5
    curves: tuple[str, ...] = ("training", "inference")
    _hint_level: list[int] = field(default_factory=lambda: [0], repr=False, compare=False)

    def __repr__(self) -> str:
        return f"<Case {self.id}>"

    def code(self, function: Callable[..., Any]) -> str:
        """The source of the broken or the fixed run, under the name that a learner's has."""
        source = textwrap.dedent(inspect.getsource(function)).rstrip()
        return source.replace(f"def {function.__name__}(", "def train(", 1)

    def starter(self) -> Shown:
        """Print the broken run: a cell to start from."""
        return show_text(self.code(self.broken))

    def show(self, train: Callable[..., Any] | None = None) -> None:
        """Print the complaint and draw the recorded curves; of a run of yours as well, where you give it.

        Raises
        ------
        ImportError : if matplotlib is not installed.
        """
        from bncourse.clinic.drawing import draw_case

        show_text("\n\n".join(textwrap.fill(part, WIDTH) for part in (self.complaint, f"Goal: {self.goal}")))
        draw_case(self, train)

    def check(self, train: Any) -> Result:
        """Train with your function on two fresh splits, examine what it hands over, show the verdict, and return it."""
        seeds = [int(seed) for seed in np.random.default_rng().integers(10**6, 10**9, size=2)]
        result = verdict(self, train, seeds)
        show(result.as_text(), result.as_html())
        return replace(result, shown_in=execution_count())

    def hint(self, level: int | None = None) -> Shown:
        """Print a hint: the one of that level, or the next after the last one shown.

        Raises
        ------
        ValueError : if there is no hint of that level.
        """
        return show_hint(self.id, self.hints, self._hint_level, level)

    def solution(self) -> Shown:
        """Print a run that is healthy, and why: code that runs as it stands."""
        why = textwrap.fill(self.explanation, WIDTH, initial_indent="# ", subsequent_indent="# ")
        code = self.code(self.fixed)
        imports = "\n".join(line for name, line in IMPORTS.items() if re.search(rf"\b{name}\b", code))
        return show_text(f"{imports}\n\n\n{code}\n\n\n{why}")
