"""Exercise: a numerical gradient, the other half of every gradient check."""

# mypy: disable-error-code="no-untyped-def"
# The solution is shown to learners, in a cell that imports NumPy alone.

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Fault, FaultSet
from bncourse.exercises.functions import NamedFunction
from bncourse.exercises.judge import Outputs
from bncourse.exercises.probe import Probe

# Central differences reach it in float64 with every step from 1e-7 to 1e-4, and differences to one side with none.
TOLERANCE = 1e-6
VALLEY, CUBIC = "in a narrow valley", "a cubic"
COPY_ALONE = (
    "So the differences are right. This function uses the array that it gets: it overwrites it, or returns a view of "
    "it that changes with it. Hand it a fresh copy at each call."
)
VALLEY_ALONE = (
    "So the error is one that the curvature makes, which is large here against the slope: that points to a difference "
    "that is not taken to both sides by the same step."
)
FLOAT32_ALONE = (
    "So the differences are right. x comes in float32 here, where a step of 1e-5 has lost most of its digits: begin "
    "with `x.astype(np.float64)`."
)


def numerical_gradient(function, x, dy):
    """Gradient of L(x) = sum(function(x) * dy), by central differences.

    gradient[i] = (L(x + h e_i) - L(x - h e_i)) / (2 h)

    e_i is 1 in entry i of x and 0 in all others.

    Parameters
    ----------
    function : takes an array and returns another one, of any shape, or a
        number. It may overwrite the array that it gets, or return a view
        of it.
    x : array of any shape, in float32 or float64. The differences are
        taken in float64.
    dy : array of the shape of function(x).

    Returns
    -------
    gradient : array of the shape of x, right to six digits.
    """
    x = x.astype(np.float64)
    gradient = np.empty_like(x)
    h = 1e-5
    for index in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[index] = x[index] + h
        below[index] = x[index] - h
        difference = function(above) - function(below)
        gradient[index] = (difference * dy).sum() / (2 * h)
    return gradient


FAULTS = (
    Fault(
        "one_sided",
        "The difference is taken to one side: its error shrinks with h only, that of `L(x + h e_i) - L(x - h e_i)` "
        "with h squared. Move the entry both ways.",
        ("points", "step"),
    ),
    Fault(
        "not_restored",
        "An entry that was moved is not put back before the next one is: the differences are taken further and further "
        "from x. Start from a copy of x for every entry.",
        ("points", "step", "entries"),
    ),
    Fault(
        "piled_up",
        "Entries that were moved stay moved, and each difference is from the unmoved x: it holds the sum of all "
        "entries so far. Start from a copy of x for every entry.",
        ("points", "step", "entries"),
    ),
    Fault(
        "step_too_large",
        "The step is too large: the error is that of a central difference, and it grows with h squared. In float64, "
        "1e-5 is a good step.",
        ("step",),
    ),
    Fault(
        "doubled",
        "The result is twice what it should be: divide by the distance between the two points, which is 2 h from "
        "x - h e_i to x + h e_i.",
        ("divisor",),
    ),
    Fault(
        "halved",
        "The result is half of what it should be: divide by the distance between the two points, which is h from x to "
        "x + h e_i, and 2 h from x - h e_i.",
        ("divisor",),
    ),
    Fault(
        "not_divided",
        "The result is the right one times a small number: the difference is not divided by the distance between the "
        "two points, 2 h. Divide by `(2 * h)` with its parentheses: `/ 2 * h` divides by 2 and multiplies by h.",
        ("divisor", "points", "step"),
    ),
    Fault(
        "sign_flipped",
        "The sign is wrong: subtract the value at x - h e_i from the one at x + h e_i.",
        ("sign",),
    ),
    Fault(
        "dy_ignored",
        "dy is not used: the outputs count with the weights dy, as in `(function(x) * dy).sum()`.",
        ("dy",),
    ),
    Fault(
        "averaged",
        "The outputs are averaged: L is their sum with the weights dy, not their mean.",
        ("sum",),
    ),
    Fault(
        "row_at_a_time",
        "A whole row is moved at once, as `x[i] += h` does: its entries all get the sum of their gradients. Move one "
        "entry at a time; `np.ndindex(x.shape)` goes through all of them.",
        ("entries",),
    ),
    Fault(
        "all_at_once",
        "All entries are moved at once, as `x + h` does: each of them gets the sum of all gradients. Move one at a "
        "time; `np.ndindex(x.shape)` goes through them.",
        ("entries",),
    ),
    Fault(
        "first_only",
        "Only the first entry has its gradient, and the others are zero: return after the loop, not in it.",
        ("entries",),
    ),
    Fault(
        "last_only",
        "Only the last entry has its gradient, and the others are zero: make the array for the result before the loop, "
        "not in it.",
        ("entries",),
    ),
)
# The steps with which the mistakes below are made unless one is given: in the reference, h is an argument.
STEPS = {"one_sided": 1e-6, "not_restored": 1e-5, "piled_up": 1e-6, "step_too_large": 0.1, "not_divided": 1e-5}
# The steps between which such a mistake is told from others: a smaller one is lost in the rounding, and a result that
# is not divided by a larger one is no more than a multiple of the right one. Where h multiplies, as in / 2 * h, the
# result is that of a difference with the step h * h / 2 that is not divided.
TOLD = {"step_too_large": (4e-3, 1.0), "not_divided": (1e-17, 1e-2)}
TOLD_ON_EITHER_SIDE = (1e-9, 1.0)


def faulty_gradient(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray]:
    """The gradient as someone computes it who makes the mistakes in ``faults``; with none, it is right.

    Where no difference is wrong in itself, the slope comes from a step in the imaginary direction, which is exact: what
    a learner may be off by is judged, not what we are. A mistake whose answer depends on the step takes ``step`` from
    the arguments, or its own; at the step 0 it gives what the others alone give.
    """
    function, dy = arguments["function"], arguments["dy"]
    x = arguments["x"].astype(np.float64)
    weights = np.ones_like(dy) if "dy_ignored" in faults else dy
    scale = -1.0 if "sign_flipped" in faults else 1.0
    scale *= 2.0 if "doubled" in faults else 0.5 if "halved" in faults else 1.0
    scale /= dy.size if "averaged" in faults else 1
    (stepped,) = faults & STEPS.keys() or {""}
    step = arguments.get("step", STEPS.get(stepped, 0.0))
    scale *= 2 * step if stepped == "not_divided" else 1.0

    def loss(moved: np.ndarray) -> Any:
        return (function(moved) * weights).sum()

    def slope(direction: np.ndarray, before: np.ndarray) -> Any:
        if stepped in ("", "not_divided") or step == 0:
            return loss(x + 1e-30j * direction).imag / 1e-30
        if stepped in ("one_sided", "piled_up"):
            return (loss(x + step * direction) - loss(x.copy())) / step
        at = x - step * before if stepped == "not_restored" else x
        return (loss(at + step * direction) - loss(at - step * direction)) / (2 * step)

    gradient = np.zeros_like(x)
    before = np.zeros_like(x)
    indices = list(np.ndindex(x.shape))
    for index in indices:
        direction = np.zeros_like(x)
        direction[index] = 1
        if "row_at_a_time" in faults:
            direction[index[0]] = 1
        if "all_at_once" in faults:
            direction[...] = 1
        if "piled_up" in faults:
            direction += before
        kept = {"first_only": indices[0], "last_only": indices[-1]}
        if all(index == kept[fault] for fault in faults & kept.keys()):
            gradient[index] = scale * slope(direction, before)
        before[index] = 1
    return (gradient,)


def read_step(faults: FaultSet, probes: Sequence[Probe], outputs: Sequence[Outputs]) -> Arguments:
    """The step with which these mistakes were made, from what came back: everybody chooses another.

    In the narrow valley L is a polynomial of second degree, and each of these mistakes makes the answer a straight line
    in h; a large step shows on the cubic, in h squared. So h can be read from one probe, and the others say whether it
    was these mistakes at all.
    """
    stepped = faults & STEPS.keys()
    if not stepped:
        return {}
    (fault,) = stepped
    name, power = (CUBIC, 2) if fault == "step_too_large" else (VALLEY, 1)
    probe, (got,) = next((probe, got) for probe, got in zip(probes, outputs, strict=True) if probe.name == name)
    start, end = (faulty_gradient(faults, {**probe.arguments, "step": step})[0] for step in (0.0, 2.0**-7))
    line = (end - start) / 2.0 ** (-7 * power)
    value = ((got - start) * line).sum() / (line**2).sum()
    step = float(np.sqrt(value) if power == 2 else value)
    low, high = TOLD.get(fault, TOLD_ON_EITHER_SIDE)
    size = step if fault in TOLD else abs(step)
    return {"step": step if low <= size <= high else np.nan}


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """Functions that differ in how they bend, in what they return and in how they treat their input."""

    def signed(low: float, high: float, *shape: int) -> np.ndarray:
        values: np.ndarray = rng.uniform(low, high, shape) * rng.choice([-1.0, 1.0], shape)
        return values

    def product() -> NamedFunction:
        return NamedFunction("tanh_product", {"weights": signed(0.5, 1.5, 3, 2)})

    def cubic() -> NamedFunction:
        return NamedFunction("cubic", {"weights": signed(0.5, 1.5, 6)})

    def valley() -> NamedFunction:
        settings = {"centre": signed(0.5, 1.5, 2, 3), "mixing": signed(0.5, 1.5, 6, 5)}
        return NamedFunction("narrow_valley", {**settings, "steepness": 1e5, "offset": 10.0})

    def probe(
        name: str,
        make_function: Callable[[], NamedFunction],
        *shape: int,
        alone: str = "",
        diagnosed: bool = True,
        dtype: type[np.floating] = np.float64,
    ) -> Probe:
        while True:
            function = make_function()
            x = signed(0.4, 1.2, *shape)
            if "centre" in function.settings:
                x = function.settings["centre"] + 1e-5 * x
            # No weight near 0, nor near 1, where dy could be left out.
            dy = signed(1.3, 2.5, *np.shape(function(x.copy())))
            dy = dy * np.where(rng.random(dy.shape) < 0.5, 0.3, 1.0)
            arguments = {"function": function, "x": x.astype(dtype), "dy": np.array(dy, dtype)}
            if _every_entry_counts(arguments):
                return Probe(name, arguments, 1.0, alone, diagnosed)

    return [
        probe("another shape", product, 4, 3),
        probe("three axes", partial(NamedFunction, "saturating"), 2, 3, 2),
        probe("a square", partial(NamedFunction, "gram"), 5, 2),
        probe("a number", partial(NamedFunction, "one_number"), 3, 2),
        probe(CUBIC, cubic, 6),
        probe(VALLEY, valley, 2, 3, alone=VALLEY_ALONE),
        probe("returns a view", partial(NamedFunction, "transposed"), 2, 4, alone=COPY_ALONE, diagnosed=False),
        probe("overwrites its input", partial(NamedFunction, "overwriting"), 3, 4, alone=COPY_ALONE, diagnosed=False),
        probe("in float32", product, 2, 3, alone=FLOAT32_ALONE, diagnosed=False, dtype=np.float32),
    ]


def _every_entry_counts(arguments: Arguments) -> bool:
    """Whether neither an entry of the gradient nor the sum of some is near zero, with dy and without.

    Where one is, mistakes that leave only that one are alike, and rounding is all that a difference shows.
    """
    for faults in (frozenset[str](), frozenset({"dy_ignored"})):
        (gradient,) = faulty_gradient(faults, arguments)
        sums = [gradient.sum(), *gradient.reshape(len(gradient), -1).sum(axis=1), *gradient.ravel()]
        if min(map(abs, sums)) < 0.02 * abs(gradient).max():
            return False
    return True


EXERCISE = Exercise(
    id="gradient_check",
    title="A numerical gradient",
    chapter="2.3",
    statement=(
        "Write the function with which chapter 2.3 checks a gradient: the numerical gradient of "
        "`sum(function(x) * dy)` with respect to `x`, right to six digits. `function` is given and you know nothing of "
        "it: not the shape that it returns, and not whether it leaves its input as it was. Take central differences in "
        "float64, also where `x` comes in float32, and choose the step yourself. Leave `x` and `dy` unchanged."
    ),
    solution_function=numerical_gradient,
    outputs=("gradient",),
    reference=faulty_gradient,
    faults=FAULTS,
    coincidences=(),
    make_probes=make_probes,
    properties=(Property("gradient", "gradient", lambda gradient, arguments: gradient),),
    hints=(
        "Which entries of function(x) does entry i of x reach? You need not know: weigh all outputs with dy, add them "
        "up, and you have one number L. Move one entry of x and see by how much L changes.",
        "Go through the entries with np.ndindex(x.shape), which works for any number of axes. For each, make two fresh "
        "copies of x in float64, with that entry moved by h up in one and down in the other. How far are the two "
        "points apart?",
        "gradient[index] = ((function(above) - function(below)) * dy).sum() / (2 * h), with h near the cube root of "
        "the rounding unit of float64, about 1e-5.",
    ),
    explanation="""
    Moving one entry both ways cancels the second derivative, so that the error shrinks with h squared. A difference to
    one side keeps it: in a narrow valley, where the slope is small and the curvature is not, its answer is wrong in
    the first digit.

    The step is a compromise: a larger one sees more of the curve, a smaller one loses the digits of L that do not
    change. 1e-5 is near the cube root of the rounding unit, where the two meet for functions of the size of 1.

    The copies are not waste. A function may return a view of what it was given, or use it as scratch space; then the
    point that you think you evaluated is not the one that you did.
    """,
    passed_message=(
        "Your function agrees with the exact gradients of nine functions with fresh numbers, to six digits: with "
        "outputs of another shape and with a single number, with one axis, two and three, with a strong third "
        "derivative, with a curvature that is large against the slope, returning a view, overwriting its input, and "
        "with x in float32. Your inputs came back unchanged."
    ),
    tolerance={4: TOLERANCE, 8: TOLERANCE},
    nearly=(
        "The values agree to three digits and not to six: the formula may well be right. Errors of this size come "
        "from a step that is too small or too large, from a difference to one side, and from arithmetic in float32."
    ),
    read_free=read_step,
)
