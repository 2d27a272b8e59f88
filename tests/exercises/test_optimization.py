"""The exercises of part 4 say what holds for real networks and real comparisons."""

import inspect
import re
from itertools import combinations
from pathlib import Path

import nbformat
import numpy as np
import pytest

from bncourse.exercises import fair_comparison, gradient_growth, matching_rate
from bncourse.exercises.tasks.fair_comparison import given_comparison
from tests.exercises import matching_mistakes
from tests.exercises.bank import SEEDS, defined, verdict

PAGE = Path(__file__).parents[2] / "book/4_optimization/exercises.ipynb"


def page_code(exercise):
    """The code that the page offers to paste once the exercise has passed."""
    name = f"{exercise.id.replace('_', '-')}-help"
    (cell,) = (cell for cell in nbformat.read(PAGE, as_version=4).cells if cell.id == name)
    (code,) = re.findall(r"```python\n(.*?)```", cell.source, re.DOTALL)
    assert max(map(len, code.splitlines())) <= 72, "it would scroll"
    return code


def test_on_a_network_the_growth_is_that_of_theory(capsys):
    """With batch norm; without it, weights of this variance keep a gradient as it is, and narrow networks are off."""
    namespace = {"np": np, "measure_growth": gradient_growth.solution_function}
    exec(page_code(gradient_growth), namespace)
    assert capsys.readouterr().out == "measured 1.47, in theory 1.47\n"
    assert abs(namespace["growth"] - np.pi / (np.pi - 1)) < 0.02

    def growth_with(**changes):
        rng = np.random.default_rng(1)
        return namespace["measure_growth"](np.array([namespace["gradients_of"](rng, **changes) for _ in range(8)]))[1]

    assert growth_with(width=16) > 1.52
    namespace["batch_norm"] = lambda z, gamma, beta: (z, None)
    namespace["batch_norm_backward"] = lambda dy, cache: (dy, None, None)
    assert 0.93 < growth_with() < 1.03


def losses_with(function):
    """The losses of the original on the page, and those of its rescaled copy with these settings."""
    namespace = {"np": np, "matching_settings": function, "print": lambda *text: None}
    with np.errstate(all="ignore"):
        exec(page_code(matching_rate), namespace)
    return namespace["losses"], namespace["matched"]


def test_with_the_solution_a_rescaled_network_trains_as_the_original():
    losses, matched = losses_with(matching_rate.solution_function)
    assert len(losses) == 20
    assert np.ptp(losses) > 0.05, "it does train"
    np.testing.assert_allclose(matched, losses, rtol=1e-11)


@pytest.mark.parametrize("name", matching_mistakes.SINGLES)
def test_with_any_mistake_the_two_part(name):
    """Catches a fault that is none: a setting on which nothing depends."""
    losses, matched = losses_with(matching_mistakes.SINGLES[name])
    assert not abs(matched - losses).max() < 1e-7


REPAIRS = {
    "rate_of_arm_1": [
        (
            "best = test[1][:, tuning[1]].mean(axis=1).argmax()",
            "best = [test[arm][:, tuning[arm]].mean(axis=1).argmax() for arm in range(2)]",
        ),
        ("np.array([rates[best], rates[best]])", "rates[best]"),
        ("test[arm, best]", "test[arm, best[arm]]"),
    ],
    "tuned_on_test": [("best = test[1]", "best = validation[1]"), ("best = [test[arm]", "best = [validation[arm]")],
    "not_paired": [
        ("[~tuning[arm]] for", "[~tuning[arm]][np.argsort(seeds[arm][~tuning[arm]])] for"),
        ("np.sqrt(sum(variances))", "np.std(scores[1] - scores[0], ddof=1) / len(scores[0]) ** 0.5"),
    ],
}


def repaired(*choices):
    source = inspect.getsource(given_comparison)
    for choice in sorted(choices):
        for old, new in REPAIRS[choice]:
            source = source.replace(old, new)
    return defined(f"import numpy as np\n\n\n{source}", "given_comparison")


@pytest.mark.parametrize("choices", [chosen for size in range(4) for chosen in combinations(REPAIRS, size)])
def test_who_repairs_some_of_the_three_is_told_of_the_others(choices):
    """Catches a diagnosis that knows the first step and the last, and not those between."""
    for seed in SEEDS:
        result = verdict(fair_comparison, repaired(*choices), seed)
        outcome = {0: "not attempted", 3: "passed"}.get(len(choices), "failed")
        left = set(REPAIRS) - set(choices) if outcome == "failed" else set()
        assert (result.outcome, set(result.faults)) == (outcome, left), result.as_text()


def test_the_table_of_what_was_given_shows_where_each_unfair_choice_matters():
    for seed in SEEDS:
        table = verdict(fair_comparison, given_comparison, seed).table
        found = {row[0]: row[2:] for row in table.rows}
        assert found["one rate suits everybody"] == ("agrees", "agrees", "differs")
        for name in ("each arm has its own best rate", "validation and test disagree"):
            assert found[name] == ("differs", "differs", "differs")


def test_either_arm_may_be_the_better_one_and_pairing_helps():
    """Catches tables in which a size passes for a difference, and such in which pairs share no luck."""
    for seed in SEEDS:
        probes = fair_comparison.make_probes(np.random.default_rng(seed))
        effects, paired, unpaired = [], [], []
        for probe in probes:
            _, effect, error = fair_comparison.reference(frozenset(), probe.arguments)
            effects.append(effect)
            paired.append(error)
            unpaired.append(fair_comparison.reference(frozenset({"not_paired"}), probe.arguments)[2])
        assert min(effects) < -0.02
        assert max(effects) > 0.02
        assert np.median(np.divide(unpaired, paired)) > 3


def test_accuracies_are_accuracies():
    for seed in SEEDS:
        for probe in fair_comparison.make_probes(np.random.default_rng(seed)):
            for split in ("validation", "test"):
                accuracies = probe.arguments[split]
                assert 0 < accuracies.min() < accuracies.max() < 1
            first, second = probe.arguments["seeds"]
            assert sorted(first) == sorted(second)
            assert set(probe.arguments["tuning_seeds"]) < set(first)
