"""Who repairs some of the faults is told of the others, whichever right batches are used; and the page's code runs."""

import inspect
import re
import warnings
from itertools import combinations, product
from pathlib import Path

import nbformat
import numpy as np
import pytest

from bncourse.exercises import find_the_fault, fold_norm, merge_ranks
from bncourse.exercises.attempt import Attempt
from bncourse.exercises.faults import Coincidence, Fault, compatible_sets, explain, repaired_in_part
from bncourse.exercises.faulty_runs import LAST_BATCHES, LEFT_OUT, faulty_training
from bncourse.exercises.judge import judge
from bncourse.exercises.tasks.find_the_fault import given_run
from tests.exercises.bank import SEEDS, defined, verdict
from tests.exercises.fault_edits import CHECK, GUARDED, ONE
from tests.exercises.fault_mistakes import SINGLES

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "book/7_practice/exercises.ipynb"
# What to replace in the given function, for each fault.
UPDATE = f"""        {GUARDED}
        running_mean = momentum * running_mean + (1 - momentum) * mean
        running_var = momentum * running_var + (1 - momentum) * unbiased
"""
REPAIRS = {
    # After the text of the update has moved, what it says may change.
    "nan_in_statistics": ((UPDATE, ""), (CHECK, CHECK + UPDATE)),
    "momentum_flipped": (
        ("momentum * running_mean + (1 - momentum) * mean", "(1 - momentum) * running_mean + momentum * mean"),
        ("momentum * running_var + (1 - momentum) * unbiased", "(1 - momentum) * running_var + momentum * unbiased"),
    ),
    "evaluated_on_batch": (
        ("(z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + eps)", "(z - running_mean) / np.sqrt(running_var + eps)"),
    ),
    "batch_of_one": (("        z = rows @ w\n", ONE + "        z = rows @ w\n"),),
}


def changed(*edits):
    source = inspect.getsource(given_run)
    for old, new in edits:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return defined(f"import numpy as np\n\n\n{source}", "given_run")


@pytest.mark.parametrize("done", [done for size in range(5) for done in combinations(REPAIRS, size)], ids="+".join)
def test_who_repairs_some_of_the_four_is_told_of_the_others(done):
    """Catches a diagnosis that knows the first step and the last, and not those between."""
    repaired = changed(*(edit for fault in REPAIRS if fault in done for edit in REPAIRS[fault]))
    for seed in SEEDS:
        result = verdict(find_the_fault, repaired, seed)
        outcome = {0: "not attempted", 4: "passed"}.get(len(done), "failed")
        left = set(REPAIRS) - set(done) if outcome == "failed" else set()
        assert (result.outcome, set(result.faults)) == (outcome, left), result.as_text()


def test_the_four_are_those_that_the_exercise_says():
    assert set(REPAIRS) == find_the_fault.given_faults


def test_the_given_run_complains_of_nothing_and_its_loss_falls():
    """What the statement says."""
    listening = changed(
        (
            "    gamma, beta = np.ones(len(v)), np.zeros(len(v))\n",
            "    gamma, beta, losses = np.ones(len(v)), np.zeros(len(v)), []\n",
        ),
        (CHECK, "        losses.append(loss)\n" + CHECK),
        ("return w, running_mean, running_var, np.tanh(gamma * z_hat + beta) @ v", "return losses"),
    )
    for seed in SEEDS:
        for probe in find_the_fault.make_probes(np.random.default_rng(seed)):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                losses = listening(**probe.arguments)
            each = len(losses) // probe.arguments["epochs"]
            assert np.nanmean(losses[-each:]) < 0.8 * np.nanmean(losses[:each])


def test_the_table_of_what_was_given_shows_where_the_weights_are_wrong():
    for seed in SEEDS:
        table = verdict(find_the_fault, given_run, seed).table
        found = {row[0]: row[2:] for row in table.rows}
        assert found.pop("one example left over") == ("fails",) * 4
        assert set(found.values()) == {("works", "fails", "fails", "fails")}


def test_a_right_network_learns_and_accuracy_shows_some_of_the_faults_only():
    """What the page says: catches tasks that nobody learns, and such in which accuracy would do as a check."""
    shares = {}
    for seed in range(12):
        for probe in find_the_fault.make_probes(np.random.default_rng(seed)):
            for name in ("", *find_the_fault.given_faults):
                said = find_the_fault.run(faulty_training(frozenset({name} - {""}), probe.arguments), probe)
                share, right = map(int, re.findall(r"(\d+)%", said) or (100, 100))
                shares.setdefault(name, []).append(0 if "NaN" in said else share)
                assert right >= 85
    means = {name: np.mean(found) for name, found in shares.items()}
    assert means["evaluated_on_batch"] < 80
    assert means["nan_in_statistics"] < 90
    assert min(means[name] for name in ("momentum_flipped", "batch_of_one")) > 95


CHOICES = [{**last, **left_out} for last, left_out in product(LAST_BATCHES, LEFT_OUT)]


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: " ".join(map(str, choice.values())))
def test_whichever_right_batches_are_used_a_run_passes_and_its_faults_are_named(choice):
    """Catches a diagnosis of those only who use the solution's batches."""
    # Other faults than these decide about the batches, or about what is divided by their size.
    decided = {"batch_of_one", "one_trained", "one_in_statistics", "divided_by_batch", "kept_by_batch"}
    sets = [chosen for chosen in compatible_sets(find_the_fault.faults, 1) if not chosen & decided]
    sets += repaired_in_part(find_the_fault.faults, find_the_fault.given_faults - decided, 3)
    probes = find_the_fault.make_probes(np.random.default_rng(0))
    for chosen in [frozenset(), *sets[:: 1 + len(sets) // 40]]:
        if chosen & decided or {"never_updated", "nan_in_statistics"} <= chosen:
            continue
        outputs = [find_the_fault.reference(chosen, {**probe.arguments, **choice}) for probe in probes]
        with np.errstate(all="ignore"):
            result = judge(find_the_fault, probes, [Attempt("ran", "", returned) for returned in outputs])
        assert (result.outcome, set(result.faults)) == ("failed" if chosen else "passed", chosen), result.as_text()


def test_the_choices_are_different_runs():
    """Catches two names for one way, and probes on which it makes no difference."""
    probes = find_the_fault.make_probes(np.random.default_rng(0))
    runs = {
        tuple(faulty_training(frozenset(), {**probe.arguments, **choice})[0].tobytes() for probe in probes)
        for choice in CHOICES
    }
    assert len(runs) == len(CHOICES)


@pytest.mark.parametrize("size", [3, 4, 5])
def test_more_faults_than_two_are_named_if_all_but_one_were_given(size):
    sets = repaired_in_part(find_the_fault.faults, find_the_fault.given_faults, size)
    assert all(len(chosen - find_the_fault.given_faults) <= 1 for chosen in sets)
    probes = find_the_fault.make_probes(np.random.default_rng(1))
    for chosen in sets[:: 1 + len(sets) // 12]:
        if {"never_updated", "nan_in_statistics"} <= chosen:
            continue  # a declared coincidence
        attempts = [Attempt("ran", "", find_the_fault.reference(chosen, probe.arguments)) for probe in probes]
        with np.errstate(all="ignore"):
            result = judge(find_the_fault, probes, attempts)
        if chosen == find_the_fault.given_faults:
            assert result.outcome == "not attempted"
        else:
            assert (result.outcome, set(result.faults)) == ("failed", chosen), result.as_text()


def test_larger_sets_are_tried_for_a_function_to_be_repaired_only():
    faults = tuple(Fault(name, name, (name,)) for name in "pqrs")
    wanted = frozenset("pqs")

    def matches(chosen):
        return chosen == wanted

    assert explain(faults, (), matches) is None
    assert explain(faults, (), matches, frozenset("pq")) == wanted
    assert explain(faults, (), matches, frozenset("pr")) is None, "two of them are new"
    same = Coincidence(frozenset("pq"), frozenset("pqs"), "s changes nothing")
    assert explain(faults, (same,), lambda chosen: chosen >= frozenset("pq"), frozenset("pq")) == frozenset("pq")


def test_nan_is_told_where_it_is():
    result = verdict(find_the_fault, SINGLES["nan_in_statistics"], 0)
    assert "NaN or infinity after training: running_mean, running_var, logits. (probe: an example" in result.message
    result = verdict(find_the_fault, SINGLES["evaluated_on_batch"], 0)
    assert re.search(r"Off after training: logits\. Test accuracy \d+%, and \d+% if all is right", result.message)


def page_code(exercise):
    name = f"{exercise.id.replace('_', '-')}-help"
    (cell,) = (cell for cell in nbformat.read(PAGE, as_version=4).cells if cell.id == name)
    (code,) = re.findall(r"```python\n(.*?)```", cell.source, re.DOTALL)
    assert max(map(len, code.splitlines())) <= 72, "it would scroll"
    return code


def printed(exercise, function, capsys):
    """The numbers that the page's code prints for this function, without those that say for what."""
    exec(page_code(exercise), {"np": np, exercise.function_names[0]: function})
    return capsys.readouterr().out


def test_on_the_page_all_ranks_together_do_what_one_machine_does(capsys):
    found = re.findall(r"by (\S+)", printed(merge_ranks, merge_ranks.solution_function, capsys))
    assert len(found) == 2
    assert max(map(float, found)) < 1e-12


def test_on_the_page_a_folded_convolution_is_right_at_the_edges_with_its_padding_only(capsys):
    pytest.importorskip("torch")
    found = re.findall(r"inside (\S+)  anywhere (\S+)", printed(fold_norm, fold_norm.solution_function, capsys))
    (inside, with_zeros), (_, with_padding) = (map(float, row) for row in found)
    assert inside < 1e-4
    assert with_padding < 1e-4
    assert with_zeros > 0.1


def test_on_the_page_a_right_function_says_the_same_of_an_example_alone(capsys):
    shares = {}
    for name, function in (("right", find_the_fault.solution_function), ("given", given_run)):
        shares[name] = [int(share) for share in re.findall(r"(\d+)%", printed(find_the_fault, function, capsys))]
        assert len(shares[name]) == 6
    assert len(set(shares["right"][:3])) == len(set(shares["right"][3:])) == 1
    assert min(shares["right"]) > 90
    assert len(set(shares["given"][:3])) > 1
    assert {shares["given"][2], shares["given"][5]} <= {80, 13, 7}, "every example alone gets the same class"
