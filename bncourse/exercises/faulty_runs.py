"""What becomes of a training run in which mistakes are made: the reference of the exercise
:mod:`find_the_fault <bncourse.exercises.tasks.find_the_fault>`.

Some right functions use other batches than others do. What they choose joins the arguments, and is read from what comes
back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from bncourse.exercises.exercise import Arguments
from bncourse.exercises.faults import FaultSet
from bncourse.exercises.judge import RELATIVE_TOLERANCE, Outputs, values_agree
from bncourse.exercises.probe import Probe

OUTPUTS = ("w", "running_mean", "running_var", "logits")
# How a right function may go about it: the least number of examples that are a batch of their own at the end of an
# epoch, None for a full batch; whether the batch before takes fewer than these, or nobody; and what is left out if an
# example is NaN.
LAST_BATCHES = tuple({"alone": alone, "joined": joined} for alone in (2, None) for joined in (False, True))
LEFT_OUT = tuple({"left_out": what} for what in ("batch", "example", "example before batching"))
# A batch of one has a variance only if somebody took care of the 0 it is divided by.
UNDEFINED = {"undefined": True}


class _Call:
    """The arguments of a call, told from others by what they hold."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.arguments = arguments
        self._key = tuple(value.tobytes() if isinstance(value, np.ndarray) else value for value in arguments.values())
        self._hash = hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Call) and self._key == other._key


def faulty_training(faults: FaultSet, arguments: Arguments) -> Outputs:
    """What the training of someone comes to who makes the mistakes in ``faults``; with none, it is right."""
    return _trained(faults, _Call({**LAST_BATCHES[0], **LEFT_OUT[0], "undefined": False, **arguments}))


# A run that was there before is not repeated: for each set of faults, a choice is read from what came back.
@lru_cache(maxsize=8192)
@np.errstate(all="ignore")
def _trained(faults: FaultSet, call: _Call) -> Outputs:
    a = call.arguments
    w, v, rate, eps = (a[name] for name in ("w", "v", "rate", "eps"))
    features, classes = v.shape
    gamma, beta, running = np.ones(features), np.zeros(features), (np.zeros(features), np.ones(features))
    for x, labels in list(_batches(faults, a)) * a["epochs"]:
        n = len(x)
        statistics = _Statistics(faults, x @ w, a)
        usable = bool(np.isfinite(x).all())
        if n == 1 and "one_trained" in faults:
            pass
        elif usable or faults & {"nan_in_statistics", "nan_trained"}:
            running = statistics.averaged(running)
        if (n == 1 and "one_in_statistics" in faults) or not (usable or "nan_trained" in faults):
            continue
        inv_std = 1 / np.sqrt(statistics.normalizing + eps)
        z_hat = (x @ w - statistics.mean) * inv_std
        h = np.tanh(gamma * z_hat + beta)
        exponentials = np.exp(h @ v)
        error = exponentials / exponentials.sum(axis=1, keepdims=True) - (labels[:, None] == np.arange(classes))
        error /= a["batch"] if "divided_by_batch" in faults else 1 if "gradient_summed" in faults else n
        dy = (error @ v.T) * (1 - h**2)
        dz = dy * gamma * inv_std
        if "statistics_constant" not in faults:
            dz = dz - dz.mean(axis=0) - z_hat * (dz * z_hat).mean(axis=0)
        w, v = w - rate * (x.T @ dz), v - rate * (h.T @ error)
        gamma, beta = gamma - rate * (dy * z_hat).sum(axis=0), beta - rate * dy.sum(axis=0)

    test = _Statistics(faults, a["x_test"] @ w, a)
    mean, var = running
    if "evaluated_on_last_batch" in faults:
        mean, var = statistics.mean, statistics.normalizing
    if faults & {"evaluated_on_batch", "test_mean_of_batch"}:
        mean = test.mean
    if faults & {"evaluated_on_batch", "test_var_of_batch"}:
        var = test.var
    logits = np.tanh(gamma * (a["x_test"] @ w - mean) / np.sqrt(var + eps) + beta) @ v
    return w, *running, logits


class _Statistics:
    """Mean and variance of a batch as somebody takes them who makes these mistakes."""

    def __init__(self, faults: FaultSet, z: np.ndarray, arguments: Arguments) -> None:
        self._faults, self._momentum = faults, arguments["momentum"]
        self.mean, self.var = z.mean(axis=0), z.var(axis=0)
        n, nominal = len(z), arguments["batch"]
        correction = np.divide(n, n - 1) if n > 1 else np.nan if arguments["undefined"] else 1.0
        power = 0 if "biased_kept" in faults else 2 if "corrected_twice" in faults else 1
        self.kept = self.var * (nominal / (nominal - 1) if "kept_by_batch" in faults else correction**power)
        self.normalizing = self.var * correction if "unbiased_normalizes" in faults else self.var

    def averaged(self, running: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The running statistics after this batch."""
        if "never_updated" in self._faults:
            return running
        for _ in range(2 if "updated_twice" in self._faults else 1):
            weights = (
                1 - self._momentum if self._faults & {"momentum_flipped", flipped} else self._momentum
                for flipped in ("mean_flipped", "var_flipped")
            )
            old_mean, old_var = running
            of_mean, of_var = weights
            running = old_mean + of_mean * (self.mean - old_mean), old_var + of_var * (self.kept - old_var)
        return running


def _batches(faults: FaultSet, a: Arguments) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches of an epoch."""
    x, labels, batch = a["x"], a["labels"], a["batch"]
    readable = np.isfinite(x).all(axis=1)
    left_out = a["left_out"] if not faults & {"nan_in_statistics", "nan_trained", "nan_as_zeros"} else ""
    if "nan_as_zeros" in faults:
        x, readable = np.where(readable[:, None], x, 0.0), np.ones_like(readable)
    if left_out == "example before batching":
        x, labels, readable = x[readable], labels[readable], readable[readable]
    alone = 1 if faults & {"batch_of_one", "one_trained", "one_in_statistics"} else a["alone"] or batch
    edges = list(range(0, len(x), batch))
    whole = len(x)
    if len(x) - edges[-1] < alone:
        last = edges.pop()
        whole = len(x) if a["joined"] else last
    for first, end in zip(edges, [*edges[1:], whole], strict=True):
        rows = np.arange(first, end)
        if left_out == "example":
            rows = rows[readable[first:end]]
        yield x[rows], labels[rows]


def read_choices(faults: FaultSet, probes: Sequence[Probe], outputs: Sequence[Outputs]) -> Arguments:
    """Which batches someone used who makes these mistakes: on the probes where it matters, one choice after another."""
    even: list[tuple[Probe, Outputs]] = []
    uneven: list[tuple[Probe, Outputs]] = []
    unread: list[tuple[Probe, Outputs]] = []
    for probe, returned in zip(probes, outputs, strict=True):
        x = probe.arguments["x"]
        kind = unread if np.isnan(x).any() else uneven if len(x) % probe.arguments["batch"] else even
        kind.append((probe, returned))
    # Where all batches are alike no choice has an effect: who differs there does not make these mistakes.
    if not all(agrees(faults, *pair, {}) for pair in even):
        return {}
    guards: tuple[Arguments, ...] = ({}, UNDEFINED) if faults & {"batch_of_one", "one_in_statistics"} else ({},)
    chosen: Arguments = {}
    for choices, seen in (
        ([{**last, **guard} for last, guard in product(LAST_BATCHES, guards)], uneven),
        (LEFT_OUT, unread),
    ):
        for choice in choices:
            if all(agrees(faults, *pair, {**chosen, **choice}) for pair in seen):
                chosen = {**chosen, **choice}
                break
        else:
            return {}
    return chosen


def agrees(faults: FaultSet, probe: Probe, outputs: Outputs, choice: Arguments) -> bool:
    """Whether someone who makes these mistakes and this choice gets this."""
    return not any(_off(faults, probe, outputs, choice))


def off(probe: Probe, outputs: Outputs, choice: Arguments) -> list[str]:
    """The outputs that are not those of someone who makes no mistake and this choice."""
    return list(_off(frozenset(), probe, outputs, choice))


def _off(faults: FaultSet, probe: Probe, outputs: Outputs, choice: Arguments) -> Iterator[str]:
    tolerance = RELATIVE_TOLERANCE[min(min(output.dtype.itemsize for output in outputs), 8)]
    wanted = faulty_training(faults, {**probe.arguments, **choice})
    for name, got, right in zip(OUTPUTS, outputs, wanted, strict=True):
        if not values_agree(got, right, tolerance, nan=True):
            yield name
