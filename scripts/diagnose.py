"""Put wrong functions to every exercise's check and record what it makes of them: the diagnosis' confusion matrix.

    python scripts/diagnose.py             # all exercises, and record what came out
    python scripts/diagnose.py merge       # one exercise, or several; nothing is recorded

Four banks of wrong functions: every known fault alone, every pair of faults that can be made together, the mistakes
that the tests hold written by hand, and mutants of the reference solution, made by cosmic-ray, a mutation tool that
knows nothing of batch normalization. Where a function is accepted that is not listed below as equivalent, the command
fails and nothing is recorded.
"""

# mypy: disable-error-code="import-not-found, import-untyped"
import hashlib
import inspect
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bncourse import results  # noqa: E402
from bncourse.exercises import Exercise, list_exercises  # noqa: E402
from bncourse.exercises.faults import compatible_sets  # noqa: E402
from bncourse.exercises.source import HEADER  # noqa: E402

COMMAND = "python scripts/diagnose.py"
SEEDS = range(5)
BANKS = ("single faults", "pairs of faults", "written by hand", "mutants")
OUTCOMES = ("accepted", "named", "named partly", "named otherwise", "not named", "did not run", "equivalent")

ANY_NEGATIVE = "reshape takes any negative number for the length that is to be found"
# Mutants that pass because they compute the same, by exercise and changed line, each with the reason.
EQUIVALENT = {
    "merge": {"if count <= 0:": "a count is never negative"},
    "welford": {
        "count, mean, m2 = 0, 1.0, 0.0": "the first value replaces it",
        "count, mean, m2 = 0, -1.0, 0.0": "the first value replaces it",
    },
    "norm_axes": {
        'groups = num_groups if kind <= "group" else c': "batch norm keeps both axes of the split, so it may be split",
        "grouped = x.reshape(n, groups, c // groups, - 2)": ANY_NEGATIVE,
        "grouped = x.reshape(n, groups, c // groups, ~1)": ANY_NEGATIVE,
    },
    "group_norm_backward": {
        "by_group, by_channel = (n, num_groups, - 2), (n, c, -1)": ANY_NEGATIVE,
        "by_group, by_channel = (n, num_groups, -1), (n, c, - 2)": ANY_NEGATIVE,
        "by_group, by_channel = (n, num_groups, ~1), (n, c, -1)": ANY_NEGATIVE,
        "by_group, by_channel = (n, num_groups, -1), (n, c, ~1)": ANY_NEGATIVE,
    },
    "which_convention": {
        "return momentum, int(from_unbiased <= from_biased)": "the two are never equal: the variances differ",
    },
}


class Variant(NamedTuple):
    """A wrong function, what it is called, and the faults that it holds (None where nobody knows)."""

    name: str
    function: Callable[..., object]
    faults: frozenset[str] | None


def main(ids: list[str]) -> int:
    """Judge all variants of these exercises, or of all and record the matrix; say which wrong function was accepted."""
    start = time.perf_counter()
    exercises = list_exercises()
    if unknown := set(ids) - {exercise.id for exercise in exercises}:
        print(
            f"expected exercises among {[exercise.id for exercise in exercises]}, got {sorted(unknown)}",
            file=sys.stderr,
        )
        return 2
    matrices: dict[str, dict[str, dict[str, int]]] = {}
    equivalent: dict[str, dict[str, str]] = {}
    accepted = []
    for exercise in [exercise for exercise in exercises if not ids or exercise.id in ids]:
        matrix = {bank: dict.fromkeys(OUTCOMES, 0) for bank in BANKS}
        for bank, variants in banks(exercise):
            for variant in variants:
                outcome = judged(exercise, variant)
                reason = EQUIVALENT.get(exercise.id, {}).get(variant.name)
                if outcome == "accepted" and bank == "mutants" and reason:
                    outcome = "equivalent"
                    equivalent.setdefault(exercise.id, {})[variant.name] = reason
                elif outcome == "accepted":
                    accepted.append(f"{exercise.id}, {bank}: {variant.name}")
                matrix[bank][outcome] += 1
        matrices[exercise.id] = matrix
        print(exercise.id)
        for bank, row in matrix.items():
            print(f"  {bank}:", ", ".join(f"{count} {outcome}" for outcome, count in row.items() if count) or "none")
    if accepted:
        print("accepted, and not listed as equivalent:", *accepted, sep="\n  ", file=sys.stderr)
        return 1
    if ids:
        return 0
    findings = {
        "matrices": matrices,
        "equivalent": equivalent,
        "solutions": {exercise.id: fingerprint(exercise) for exercise in exercises},
    }
    settings = {"seeds": list(SEEDS), "banks": list(BANKS), "outcomes": list(OUTCOMES)}
    seconds = time.perf_counter() - start
    source = results.provenance(COMMAND, ["numpy", "cosmic-ray"], threads=1, seconds=seconds)
    results.save(results.Record("diagnosis", settings, source, findings))
    return 0


def fingerprint(exercise: Exercise) -> str:
    """A hash of the solution's text and of the faults: when either changes, the record is out of date."""
    text = inspect.getsource(exercise.solution_function) + repr(
        sorted((fault.id, fault.slots) for fault in exercise.faults)
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def banks(exercise: Exercise) -> Iterator[tuple[str, Iterator[Variant]]]:
    """The four banks of one exercise."""
    yield "single faults", faulty(exercise, 1)
    yield "pairs of faults", faulty(exercise, 2)
    yield "written by hand", by_hand(exercise)
    yield "mutants", mutants(exercise)


def faulty(exercise: Exercise, size: int) -> Iterator[Variant]:
    """The exercise's own reference, with every compatible set of that many faults."""
    names = list(exercise.make_probes(np.random.default_rng(0))[0].arguments)
    same = {pair.same_as: pair.named for pair in exercise.coincidences}
    for faults in compatible_sets(exercise.faults, size):

        def function(*positional: Any, faults: frozenset[str] = faults, **keyword: Any) -> object:
            arguments = dict(zip(names, positional, strict=False)) | keyword
            with np.errstate(all="ignore"):
                outputs = exercise.reference(faults, arguments)
            return outputs[0] if len(outputs) == 1 else outputs

        yield Variant(" + ".join(sorted(faults)), function, same.get(faults, faults))


def by_hand(exercise: Exercise) -> Iterator[Variant]:
    """The mistakes of the tests, which share no code with the reference."""
    from tests.exercises.test_mistakes import BANK

    if exercise.id not in BANK:
        return
    bank = BANK[exercise.id]
    for name, function in bank.SINGLES.items():
        yield Variant(name, function, frozenset({name}))
    for function, faults in bank.IN_PLACE:
        yield Variant(function.__name__, function, frozenset(faults))
    for function in bank.UNNAMED:
        yield Variant(function.__name__, function, None)


def mutants(exercise: Exercise) -> Iterator[Variant]:
    """The solution with one operator, comparison or number replaced; called by the line that changed."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    source = HEADER + inspect.getsource(exercise.solution_function)
    name = exercise.solution_function.__name__
    seen = {source}
    for operator in map(get_operator, sorted(operator_names())):
        if operator.arguments():
            continue  # it replaces variables that it must be told
        occurrence = 0
        while (mutated := mutate_code(source.encode(), operator(), occurrence)) is not None:
            occurrence += 1
            text = mutated if isinstance(mutated, str) else mutated.decode()
            if text in seen:
                continue
            seen.add(text)
            namespace: dict[str, Any] = {}
            try:
                exec(text, namespace)
            except Exception:
                continue  # it does not even define a function
            changed = set(text.splitlines()) - set(source.splitlines())
            yield Variant(" / ".join(line.strip() for line in sorted(changed)), namespace[name], None)


def judged(exercise: Exercise, variant: Variant) -> str:
    """What the check makes of a variant, over all seeds; accepted by one of them is accepted."""
    found = set()
    for seed in SEEDS:
        probes = exercise.make_probes(np.random.default_rng(seed))
        with np.errstate(all="ignore"):
            result = exercise.verdict(variant.function, probes)
        found.add((result.outcome, frozenset(result.faults)))
    outcomes = {outcome for outcome, _ in found}
    if "passed" in outcomes:
        return "accepted"
    if outcomes - {"failed"}:
        return "did not run"
    named = [faults for _, faults in found]
    if not all(named):
        return "not named"
    if variant.faults is None or all(faults == variant.faults for faults in named):
        return "named"
    return "named partly" if all(faults < variant.faults for faults in named) else "named otherwise"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
