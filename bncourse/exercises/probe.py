"""Probes: the inputs on which a learner's function is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from operator import length_hint
from typing import Any, NamedTuple

import numpy as np

from bncourse.exercises.functions import NamedFunction

PASSED_BY_KEYWORD = frozenset({"eps", "momentum"})


class Empty(NamedTuple):
    """An argument that a kernel writes: an array of this shape, which holds NaN before the launch.

    An exercise's outputs are such arguments; others are room for results on the way.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"


class Launch(NamedTuple):
    """One launch of a kernel.

    Attributes
    ----------
    grid : how many programs there are along each of one to three axes.
    arguments : the names of the probe's arguments that the kernel gets, in its order; none: all of them.
    kernel : which of the learner's kernels, by its place in the call of the check.
    """

    grid: tuple[int, ...]
    arguments: tuple[str, ...] = ()
    kernel: int = 0


class Stray(NamedTuple):
    """What a kernel did to an array that it must not do; or left undone.

    Attributes
    ----------
    kind : one of the keys of :data:`bncourse.exercises.judge.STRAYS`.
    array : the argument's name.
    times : how often it did, or how many values are concerned.
    place : the first of them, counted from the beginning of the array.
    """

    kind: str
    array: str
    times: int
    place: int


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
        come to the answer in different ways, so that the same mistake gives different wrong answers; nor where an
        output is empty.
    launches : how kernels are launched, one after the other; none where the learner writes a function.
    seed : of the run that decides about the answer, where the exercise has one; the learner's function does not see it.
    shown : names of the arguments whose sizes say what is special; empty: all of them.
    """

    name: str
    arguments: Mapping[str, Any]
    condition: float = 1.0
    alone: str = field(default="")
    diagnosed: bool = True
    launches: tuple[Launch, ...] = ()
    seed: int = 0
    shown: tuple[str, ...] = ()

    def fresh(self) -> dict[str, Any]:
        """A copy of the arguments that the caller may overwrite."""
        return deepcopy(dict(self.arguments))

    @property
    def shapes(self) -> str:
        """The sizes of the arguments, for a message: ``x (9, 4), gamma (4,)``; ``a of 9`` for parts and streams.

        Whole numbers and text are shown as they are, ``num_groups 2``, a tuple of words as ``layers linear relu``, and
        functions by their name: they choose what is to be done with the arrays. What a kernel is told of their lengths,
        N and C, stands in their shapes already.
        """
        sizes = []
        for name, value in self.arguments.items():
            if self.shown and name not in self.shown:
                continue
            if isinstance(value, np.ndarray):
                sizes.append(f"{name} {value.shape}")
            elif isinstance(value, Empty):
                continue
            elif isinstance(value, tuple):
                words = all(isinstance(item, str) for item in value)
                sizes.append(f"{name} {' '.join(value)}" if words else f"{name} of {value[0]}")
            elif isinstance(value, Iterator):
                sizes.append(f"{name} of {length_hint(value)}")
            elif isinstance(value, NamedFunction):
                sizes.append(name if name == value.name else f"{name} {value.name}")
            elif isinstance(value, int | str) and not (self.launches and len(name) == 1):
                sizes.append(f"{name} {value!r}")
        return ", ".join(sizes)


def split_call(arguments: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments of the call: ``eps`` and ``momentum`` go by keyword, the others by place."""
    positional = [value for name, value in arguments.items() if name not in PASSED_BY_KEYWORD]
    keyword = {name: value for name, value in arguments.items() if name in PASSED_BY_KEYWORD}
    return positional, keyword
