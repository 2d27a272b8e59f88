"""Put wrong functions to every exercise's check and record what it makes of them: the diagnosis' confusion matrix.

    python scripts/diagnose.py             # all exercises, and record what came out
    python scripts/diagnose.py merge       # one exercise, or several; nothing is recorded

Four banks of wrong functions: every known fault alone, every pair of faults that can be made together, the mistakes
that the tests hold written by hand, and mutants of the reference solution, made by cosmic-ray, a mutation tool that
knows nothing of batch normalization. Where a function is accepted that is not listed below as equivalent, the command
fails and nothing is recorded.
"""

# mypy: disable-error-code="import-not-found, import-untyped, no-untyped-call"
import ast
import hashlib
import inspect
import linecache
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bncourse import results  # noqa: E402
from bncourse.exercises import Exercise, list_exercises  # noqa: E402
from bncourse.exercises.attempt import Attempt, attempt_all  # noqa: E402
from bncourse.exercises.faults import compatible_sets  # noqa: E402
from bncourse.exercises.judge import judge  # noqa: E402
from bncourse.exercises.probe import Probe  # noqa: E402
from bncourse.exercises.source import solution_code  # noqa: E402

COMMAND = "python scripts/diagnose.py"
SEEDS = range(5)
BANKS = ("single faults", "pairs of faults", "written by hand", "mutants")
OUTCOMES = ("accepted", "named", "named partly", "named otherwise", "not named", "did not run", "equivalent")

NOT_STORED = "what is computed in a lane beyond the end is not stored"
NOT_ADDED = "what a lane beyond the end holds is replaced before the sum"
ALIGNED = "a block begins at a multiple of its length, which is a power of two"
NO_GRADIENT = "in a lane beyond the end dy is 0, whatever it is multiplied by"
ONE_AXIS = "a block of one axis is summed along its last as along its first"
BOTH = "of two conditions, the product is the conjunction"
ANY_NEGATIVE = "reshape takes any negative number for the length that is to be found"
FINITE_ONLY = "of the loss it matters only whether it is finite"
BATCHES = "the given networks have batches of 2 and of 50"
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
    "inference_kernel": {
        "x = tl.load(x_pointer + row * S + s, mask=s < S, other= 1.0)": NOT_STORED,
        "x = tl.load(x_pointer + row * S + s, mask=s < S, other= -1.0)": NOT_STORED,
        "s = first | tl.arange(0, BLOCK)": ALIGNED,
        "s = first ^ tl.arange(0, BLOCK)": ALIGNED,
    },
    "missing_mask": {
        "x = tl.load(x_pointer + place, mask=inside, other= 1.0).to(tl.float32) (the second)": NOT_ADDED,
        "x = tl.load(x_pointer + place, mask=inside, other= -1.0).to(tl.float32) (the second)": NOT_ADDED,
        "c = tl.program_id(0) * BLOCK_C | tl.arange(0, BLOCK_C)": ALIGNED,
        "c = tl.program_id(0) * BLOCK_C ^ tl.arange(0, BLOCK_C)": ALIGNED,
        "n = first | tl.arange(0, BLOCK_N)": ALIGNED,
        "n = first | tl.arange(0, BLOCK_N) (the second)": ALIGNED,
        "n = first ^ tl.arange(0, BLOCK_N)": ALIGNED,
        "n = first ^ tl.arange(0, BLOCK_N) (the second)": ALIGNED,
        "inside = (n < N)[:, None] * (c < C)[None, :]": BOTH,
        "inside = (n < N)[:, None] * (c < C)[None, :] (the second)": BOTH,
    },
    "split_reduction": {
        "more_count = tl.load(row, mask=c < C, other= 2.0)": NOT_STORED,
        "more_count = tl.load(row, mask=c < C, other= 0.0)": NOT_STORED,
        "more_count = tl.load(row, mask=c <= C, other=1.0)": NOT_STORED,
        "more_mean = tl.load(row + C, mask=c < C, other= 1.0)": NOT_STORED,
        "more_mean = tl.load(row + C, mask=c < C, other= -1.0)": NOT_STORED,
        "more_mean = tl.load(row + C, mask=c <= C, other=0.0)": NOT_STORED,
        "more_m2 = tl.load(row + 2 * C, mask=c < C, other= 1.0)": NOT_STORED,
        "more_m2 = tl.load(row + 2 * C, mask=c < C, other= -1.0)": NOT_STORED,
        "c = tl.program_id(0) * BLOCK_C | tl.arange(0, BLOCK_C)": ALIGNED,
        "c = tl.program_id(0) * BLOCK_C | tl.arange(0, BLOCK_C) (the second)": ALIGNED,
        "c = tl.program_id(0) * BLOCK_C ^ tl.arange(0, BLOCK_C)": ALIGNED,
        "c = tl.program_id(0) * BLOCK_C ^ tl.arange(0, BLOCK_C) (the second)": ALIGNED,
        "n = split * BLOCK_N | tl.arange(0, BLOCK_N)": ALIGNED,
        "n = split * BLOCK_N ^ tl.arange(0, BLOCK_N)": ALIGNED,
        "count = tl.minimum(N ^ split * BLOCK_N, BLOCK_N).to(tl.float32)": ALIGNED,
        "inside = (n < N)[:, None] * (c < C)[None, :]": BOTH,
    },
    "backward_kernel": {
        "x = tl.load(x_pointer + place, mask=i < m, other= 1.0).to(tl.float32)": NO_GRADIENT,
        "x = tl.load(x_pointer + place, mask=i < m, other= -1.0).to(tl.float32)": NO_GRADIENT,
        "x = tl.load(x_pointer + place, mask=i < m, other= 1.0).to(tl.float32) (the second)": NOT_STORED,
        "x = tl.load(x_pointer + place, mask=i < m, other= -1.0).to(tl.float32) (the second)": NOT_STORED,
        "dy = tl.load(dy_pointer + place, mask=i < m, other= 1.0).to(tl.float32) (the second)": NOT_STORED,
        "dy = tl.load(dy_pointer + place, mask=i < m, other= -1.0).to(tl.float32) (the second)": NOT_STORED,
        "dbeta += tl.sum(dy, axis= -1)": ONE_AXIS,
        "dgamma += tl.sum(dy * x_hat, axis= -1)": ONE_AXIS,
        "i = first | tl.arange(0, BLOCK)": ALIGNED,
        "i = first | tl.arange(0, BLOCK) (the second)": ALIGNED,
        "i = first ^ tl.arange(0, BLOCK)": ALIGNED,
        "i = first ^ tl.arange(0, BLOCK) (the second)": ALIGNED,
        "if tl.program_id(1) <= 0:": "no program has a negative number",
    },
    "ghost_batch_norm": {
        "groups = x.reshape(- 2, group_size, x.shape[1])": ANY_NEGATIVE,
        "groups = x.reshape(~1, group_size, x.shape[1])": ANY_NEGATIVE,
    },
    "dropout_order": {
        'elif layer >= "relu":': "of the two kinds of layer that are left there, relu is the later in the alphabet",
    },
    "residual_branch": {
        'passed = 1 / 2 if before >= "relu" else 1': "nothing later in the alphabet comes before a linear layer",
        'if part <= "linear":': "of the parts, linear is first in the alphabet",
        "added = growth ** (1 / blocks) % 1": "a block without norm lets the mean square grow by less than 2",
    },
    "choose_placement": {
        "if batch > 8:": BATCHES,
        "if batch >= 7:": BATCHES,
        "if batch >= 9:": BATCHES,
    },
    "find_the_fault": {
        "if n <= 1:": "a batch is never empty",
        "loss = +np.log(p[np.arange(n), classes]).mean()": FINITE_ONLY,
        "loss = np.log(p[np.arange(n), classes]).mean()": FINITE_ONLY,
    },
    "fold_norm": {
        'if place <= "after":': "of the two places, after is the earlier in the alphabet",
        "own_group = np.repeat(np.arange(groups), outputs / groups)": "the number of repeats may be a whole float",
        "seen = np.arange(inputs).reshape(groups, - 2)[own_group]": ANY_NEGATIVE,
        "seen = np.arange(inputs).reshape(groups, ~1)[own_group]": ANY_NEGATIVE,
        "summed = weight.reshape(*seen.shape, - 2).sum(axis=2)": ANY_NEGATIVE,
        "summed = weight.reshape(*seen.shape, ~1).sum(axis=2)": ANY_NEGATIVE,
    },
    "which_convention": {
        "return momentum, int(from_unbiased <= from_biased)": "the two are never equal: the variances differ",
    },
}


class Variant(NamedTuple):
    """A wrong function, what it is called, and the faults that it holds (None where nobody knows).

    ``attempts`` gives what it does on some probes.
    """

    name: str
    attempts: Callable[[Sequence[Probe]], list[Attempt]]
    faults: frozenset[str] | None


def main(ids: list[str]) -> int:
    """Judge all variants of these exercises, or of all and record the matrix; say which wrong function was accepted."""
    start = time.perf_counter()
    # Kernels are judged in Triton's interpreter, for which one of these asks Triton and the other the banks.
    os.environ |= {"TRITON_INTERPRET": "1", "BNCOURSE_TEST_KERNELS": "1"}
    exercises = list_exercises()
    if unknown := set(ids) - {exercise.id for exercise in exercises}:
        print(
            f"expected exercises among {[exercise.id for exercise in exercises]}, got {sorted(unknown)}",
            file=sys.stderr,
        )
        return 2
    chosen = [exercise for exercise in exercises if not ids or exercise.id in ids]
    if any(exercise.kernels for exercise in chosen) and find_spec("triton") is None:
        print("kernels are judged in Triton's interpreter: pip install 'bncourse[kernels]'", file=sys.stderr)
        return 2
    matrices: dict[str, dict[str, dict[str, int]]] = {}
    equivalent: dict[str, dict[str, str]] = {}
    accepted = []
    workers = os.cpu_count() or 1
    # Forked, so that Triton and the banks are loaded once at the most in each.
    with get_context("fork").Pool(workers) as pool:
        for exercise in chosen:
            matrix = {bank: dict.fromkeys(OUTCOMES, 0) for bank in BANKS}
            shares = [(exercise.id, share, workers) for share in range(workers)]
            for bank, name, outcome in chain.from_iterable(pool.starmap(judge_share, shares, chunksize=1)):
                reason = EQUIVALENT.get(exercise.id, {}).get(name)
                if outcome == "accepted" and bank == "mutants" and reason:
                    outcome = "equivalent"
                    equivalent.setdefault(exercise.id, {})[name] = reason
                elif outcome == "accepted":
                    accepted.append(f"{exercise.id}, {bank}: {name}")
                matrix[bank][outcome] += 1
            matrices[exercise.id] = matrix
            print(exercise.id)
            for bank, row in matrix.items():
                found = ", ".join(f"{count} {outcome}" for outcome, count in row.items() if count)
                print(f"  {bank}: {found or 'none'}", flush=True)
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
    source = results.provenance(COMMAND, ["numpy", "cosmic-ray"], threads=workers, seconds=seconds)
    results.save(results.Record("diagnosis", settings, source, findings))
    return 0


def judge_share(id_: str, share: int, shares: int) -> list[tuple[str, str, str]]:
    """Bank, name and outcome of every so many-th variant of an exercise."""
    (exercise,) = (exercise for exercise in list_exercises() if exercise.id == id_)
    variants = ((bank, variant) for bank, members in banks(exercise) for variant in members)
    return [(bank, variant.name, judged(exercise, variant)) for bank, variant in islice(variants, share, None, shares)]


def fingerprint(exercise: Exercise) -> str:
    """A hash of the solution's code and of the faults: when either changes, the record is out of date.

    The docstring is the statement: its wording is nothing that a mutant or a fault could change.
    """
    text = "".join(map(_code, (exercise.solution_function, *exercise.further_functions)))
    text += repr(sorted((fault.id, fault.slots) for fault in exercise.faults))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _code(function: Callable[..., object]) -> str:
    """The source of a function without the lines of its docstring."""
    source = inspect.getsource(function)
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.FunctionDef)
    lines = source.splitlines()
    if ast.get_docstring(definition) is not None:
        docstring = definition.body[0]
        del lines[docstring.lineno - 1 : docstring.end_lineno]
    return "\n".join(lines)


def banks(exercise: Exercise) -> Iterator[tuple[str, Iterator[Variant]]]:
    """The four banks of one exercise."""
    yield "single faults", faulty(exercise, 1)
    yield "pairs of faults", faulty(exercise, 2)
    yield "written by hand", by_hand(exercise)
    yield "mutants", mutants(exercise)


def faulty(exercise: Exercise, size: int) -> Iterator[Variant]:
    """The exercise's own reference, with every compatible set of that many faults."""
    same = {pair.same_as: pair.named for pair in exercise.coincidences}
    for faults in compatible_sets(exercise.faults, size):

        def attempts(probes: Sequence[Probe], faults: frozenset[str] = faults) -> list[Attempt]:
            return [Attempt("ran", "", exercise.reference(faults, probe.arguments)) for probe in probes]

        yield Variant(" + ".join(sorted(faults)), attempts, same.get(faults, faults))


def by_hand(exercise: Exercise) -> Iterator[Variant]:
    """The mistakes of the tests, which share no code with the reference."""
    from tests.exercises.bank import name_of
    from tests.exercises.test_mistakes import BANK

    if exercise.id not in BANK:
        return
    bank = BANK[exercise.id]
    for name, function in bank.SINGLES.items():
        yield called(exercise, name, function, frozenset({name}))
    for function, faults in bank.IN_PLACE:
        yield called(exercise, name_of(function), function, frozenset(faults))
    for function in bank.UNNAMED:
        yield called(exercise, name_of(function), function, None)


def called(exercise: Exercise, name: str, function: object, faults: frozenset[str] | None) -> Variant:
    """A function, or a kernel, as a variant."""
    return Variant(name, lambda probes: attempt_all(function, probes, exercise.outputs), faults)


def mutants(exercise: Exercise) -> Iterator[Variant]:
    """The solution with one operator, comparison or number replaced; called by the line that changed."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    source = solution_code(exercise)
    names = exercise.function_names
    seen = {source}
    lines: Counter[str] = Counter()
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
            filename = f"<mutant {len(seen)} of {exercise.id}>"
            # Triton's interpreter looks up the text of a kernel.
            linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
            try:
                exec(compile(text, filename, "exec"), namespace)
            except Exception:
                continue  # it does not even define a function
            changed = set(text.splitlines()) - set(source.splitlines())
            functions = tuple(namespace[name] for name in names)
            function = functions[0] if len(functions) == 1 else functions
            line = " / ".join(line.strip() for line in sorted(changed))
            lines[line] += 1
            # The same line may stand in the source twice.
            yield called(exercise, line if lines[line] == 1 else f"{line} (the second)", function, None)


def judged(exercise: Exercise, variant: Variant) -> str:
    """What the check makes of a variant, over all seeds; accepted by one of them is accepted."""
    found = set()
    for seed in SEEDS:
        probes = exercise.make_probes(np.random.default_rng(seed))
        with np.errstate(all="ignore"):
            result = judge(exercise, probes, variant.attempts(probes))
        # Who hands in what was given has done nothing, and that is recognized by its faults.
        given = exercise.given_faults
        if result.outcome == "not attempted" and given is not None and variant.faults == given:
            found.add(("failed", given))
        else:
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
