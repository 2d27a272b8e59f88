"""Launches a learner's kernels on a probe, in Triton's interpreter and on memory that sees every access.

As :mod:`bncourse.exercises.attempt`, which calls this, it knows no right answer. Triton is not imported here: a kernel
that somebody hands to a check has imported it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bncourse.exercises.kernel_memory import Memory
from bncourse.exercises.probe import Probe, Stray

NO_TRITON = (
    "This check runs your kernel in Triton's interpreter, and Triton is not installed here: `pip install "
    "'bncourse[kernels]'` brings it on Linux. Elsewhere, open the page in Colab or Binder."
)
NOT_INTERPRETED = (
    "Your kernel was made for a GPU: Triton was imported before its interpreter was switched on. Restart Python (in "
    'Jupyter, the kernel), and let `os.environ["TRITON_INTERPRET"] = "1"` run before anything imports Triton, as the '
    "first cell of the page does."
)


def wrong_kernels(kernels: Sequence[object], probe: Probe) -> tuple[str, str]:
    """Why these cannot be launched: the outcome and a sentence, or two empty strings."""
    wanted = 1 + max(launch.kernel for launch in probe.launches)
    if len(kernels) != wanted:
        return "wrong interface", f"`check` takes {_count(wanted, 'kernel')} here; it got {len(kernels)}."
    if sys.modules.get("triton") is None:
        try:
            import triton  # noqa: F401
        except ImportError:
            return "error", NO_TRITON
    from triton.runtime.interpreter import InterpretedFunction
    from triton.runtime.jit import JITFunction

    given = [
        next(launch for launch in probe.launches if launch.kernel == number).arguments or tuple(probe.arguments)
        for number in range(wanted)
    ]
    for kernel in kernels:
        if isinstance(kernel, JITFunction):
            return "error", NOT_INTERPRETED
        if not isinstance(kernel, InterpretedFunction):
            name = type(kernel).__name__
            what = f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
            if inspect.isfunction(kernel):
                what = f"the function `{kernel.__name__}`; put `@triton.jit` above its `def`"
            return (
                "wrong interface",
                f"`check` takes your kernel, a function under `@triton.jit`; it got {what}.",
            )
    taken = [tuple(inspect.signature(code_of(kernel)).parameters) for kernel in kernels]
    named = [tuple(name.removesuffix("_pointer") for name in names) for names in taken]
    if named != given and sorted(named) == sorted(given):
        right = ", ".join(code_of(kernels[named.index(names)]).__name__ for names in given)
        return "wrong interface", f"The kernels are launched in the order in which `check` gets them: check({right})."
    for kernel, names, parameters in zip(kernels, given, taken, strict=True):
        try:
            inspect.signature(code_of(kernel)).bind(*names)
        except TypeError:
            return "wrong interface", (
                f"`{code_of(kernel).__name__}` is launched with {len(names)} arguments, ({', '.join(names)}), "
                f"and takes {len(parameters)}, ({', '.join(parameters)})."
            )
    return "", ""


def launch_all(
    kernels: Sequence[Any], probe: Probe, results: tuple[str, ...]
) -> tuple[tuple[np.ndarray, ...], tuple[Stray, ...]]:
    """Make the probe's launches on fresh memory; and once more, if a load has left lanes undefined, with others there.

    The first time such lanes hold 0, as everywhere in the interpreter, so that other mistakes look as they always do.
    The second time they hold infinity, which gets through every sum, and through a product with 0.

    Returns
    -------
    The arrays of these names, in float32 or float64, and everything that must not happen and did.

    Raises
    ------
    Exception : whatever a kernel raises, as it raised it.
    """
    memory = _launched(kernels, probe, 0.0)
    strays = memory.strays(results)
    if memory.left_undefined:
        strays += memory.changed(_launched(kernels, probe, np.inf), results)
    return tuple(memory.read(name) for name in results), strays


def _launched(kernels: Sequence[Any], probe: Probe, undefined: float) -> Memory:
    """The memory after the probe's launches."""
    from triton.runtime.errors import InterpreterError

    memory = Memory(probe.arguments, undefined)
    for launch in probe.launches:
        names = launch.arguments or tuple(probe.arguments)
        arguments = [memory.argument(name, probe.arguments[name]) for name in names]
        try:
            with memory.launch(), np.errstate(all="ignore"):
                kernels[launch.kernel][launch.grid](*arguments)
        except InterpreterError as error:
            raise _cause(error, InterpreterError) from None
    return memory


def code_of(kernel: Any) -> Callable[..., object]:
    """The Python function under ``@triton.jit``."""
    function: Callable[..., object] = kernel.fn
    return function


def _cause(error: BaseException, wrapping: type[BaseException]) -> BaseException:
    """What the kernel raised, below what the interpreter made of it."""
    while isinstance(error, wrapping) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _count(number: int, noun: str) -> str:
    return f"one {noun}" if number == 1 else f"{number} {noun}s"
