"""Probes: the inputs on which a learner's function is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from operator import length_hint
from typing import Any

import numpy as np

from bncourse.exercises.functions import NamedFunction

PASSED_BY_KEYWORD = frozenset({"eps", "momentum"})


@dataclass(frozen=True)
class Probe:
    """One call of the learner's function.

    Parameters
    ----------
    name : what is special about the input; fixed from call to call, unlike the values.
    arguments : the arguments by name, in the order of the signature.
    condition : by how much the input amplifies rounding: the largest ratio of a feature's mean to its standard
        deviation. A correct function in precision u errs by a few ``u * condition``, and the tolerance grows
        with it.
    alone : what it means when the function is wrong on this probe, or on those that say the same, and right on all
        others.
    diagnosed : whether the answer here takes part in naming the mistake. It does not where correct functions
        come to the answer in different ways, so that the same mistake gives different wrong answers.
    """

    name: str
    arguments: Mapping[str, Any]
    condition: float = 1.0
    alone: str = field(default="")
    diagnosed: bool = True

    def fresh(self) -> dict[str, Any]:
        """A copy of the arguments that the caller may overwrite."""
        return deepcopy(dict(self.arguments))

    @property
    def shapes(self) -> str:
        """The sizes of the arguments, for a message: ``x (9, 4), gamma (4,)``; ``a of 9`` for parts and streams.

        Whole numbers and text are shown as they are, ``num_groups 2``, and functions by their name: they choose what is
        to be done with the arrays.
        """
        sizes = []
        for name, value in self.arguments.items():
            if isinstance(value, np.ndarray):
                sizes.append(f"{name} {value.shape}")
            elif isinstance(value, tuple):
                sizes.append(f"{name} of {value[0]}")
            elif isinstance(value, Iterator):
                sizes.append(f"{name} of {length_hint(value)}")
            elif isinstance(value, NamedFunction):
                sizes.append(f"{name} {value.name}")
            elif isinstance(value, int | str):
                sizes.append(f"{name} {value!r}")
        return ", ".join(sizes)


def split_call(arguments: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments of the call: ``eps`` and ``momentum`` go by keyword, the others by place."""
    positional = [value for name, value in arguments.items() if name not in PASSED_BY_KEYWORD]
    keyword = {name: value for name, value in arguments.items() if name in PASSED_BY_KEYWORD}
    return positional, keyword
