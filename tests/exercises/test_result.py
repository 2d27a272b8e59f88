"""How a result, a hint and a solution are shown: once, readable without colour, and the same at every call."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from bncourse.exercises import Result, bn_forward, progress
from tests.exercises.bank import EXERCISES
from tests.exercises.forward_mistakes import SINGLES


def unattempted(*arguments, **keyword):
    raise NotImplementedError


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
@pytest.mark.parametrize("outcome", ["passed", "not attempted"])
def test_what_a_notebook_stores_is_the_same_at_every_call(exercise, outcome, capsys):
    """Catches a random number in a message: the stored outputs of the book would differ on every run."""
    function = exercise.solution_function if outcome == "passed" else unattempted
    seen = set()
    for _ in range(10):
        result = exercise.check(function)
        assert result.outcome == outcome
        seen.add((result.as_text(), result.as_html(), capsys.readouterr().out))
    assert len(seen) == 1


def test_the_probes_are_fresh_at_every_call():
    """Catches a fixed seed: the answers could then be looked up."""
    seen = []

    def spy(x, gamma, beta, eps):
        seen.append((x.tobytes(), gamma.tobytes(), beta.tobytes()))
        raise ZeroDivisionError

    bn_forward.check(spy)
    bn_forward.check(spy)
    assert len(seen) == len(set(seen))


def test_a_momentum_cannot_be_mistaken_for_its_complement_or_the_default():
    for seed in range(20):
        for probe in EXERCISES[2].make_probes(np.random.default_rng(seed)):
            momentum = probe.arguments["momentum"]
            assert min(abs(momentum - other) for other in (0, 0.1, 0.5, 1)) >= 0.1


def test_parts_to_merge_differ_in_everything_and_no_mean_is_near_zero():
    """Catches parts whose counts, means or m2 agree, and a mean so small that a relative tolerance on it is none."""
    for seed in range(20):
        probes = EXERCISES[3].make_probes(np.random.default_rng(seed))
        parts = [(probe.arguments["a"], probe.arguments["b"]) for probe in probes]
        both = [(a, b) for a, b in parts if a[0] and b[0]]
        assert any(a[0] > b[0] for a, b in both)
        assert any(a[0] < b[0] for a, b in both)
        assert all(abs(a[1] - b[1]) > 1e-3 * abs(a[1]) and a[1] * b[1] > 0 for a, b in both)
        assert {(a[0] > 0, b[0] > 0) for a, b in parts} == {(x, y) for x in (True, False) for y in (True, False)}


@pytest.mark.parametrize("exercise", EXERCISES[:3], ids=lambda exercise: exercise.id)
def test_the_probes_are_asymmetric(exercise):
    """Catches a bank of probes on which an axis, gamma, beta or the mean can be left out unseen."""
    for seed in range(20):
        probes = exercise.make_probes(np.random.default_rng(seed))
        shapes = [probe.arguments["x"].shape for probe in probes]
        assert any(n > c for n, c in shapes)
        assert any(n < c for n, c in shapes)
        assert any(n == c for n, c in shapes)
        assert len({probe.name for probe in probes}) == len(probes)
        assert any(probe.arguments.get("eps", 1) > 0.1 for probe in probes)
        for probe in probes:
            x = probe.arguments["x"]
            ratio = abs(x.mean(0)) / x.std(0)
            assert ratio.max() <= probe.condition, "the tolerance would be too tight"
            for name in ("gamma", "beta"):
                if name in probe.arguments:
                    assert abs(abs(probe.arguments[name]) - 1).min() > 0.1
                    assert abs(probe.arguments[name]).min() > 0.3
            if "dy" in probe.arguments:
                dy, x_hat = probe.arguments["dy"], (x - x.mean(0)) / x.std(0)
                assert abs(dy.mean(0)).max() > 0.1
                assert abs((dy * x_hat).mean(0)).max() > 0.1


class Outline(HTMLParser):
    """Checks that the tags are balanced and collects what an assistive tool needs."""

    def __init__(self, text):
        super().__init__()
        self.open, self.scopes, self.captions, self.styles, self.text = [], [], 0, [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.styles.append(dict(attributes).get("style", ""))
        self.captions += tag == "caption"
        if tag == "th":
            self.scopes.append(dict(attributes).get("scope"))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("name", ["unbiased_variance", "gamma_missing"])
def test_the_table_is_accessible(name):
    result = bn_forward.check(SINGLES[name])
    outline = Outline(result.as_html())
    assert outline.captions == 1
    assert set(outline.scopes) == {"col", "row"}
    assert "differs" in outline.text
    assert "failed" in outline.text
    for style in outline.styles:
        assert not re.search(r"#[0-9a-fA-F]{3}|rgb|background", style), "a fixed colour is illegible in one mode"


def test_what_the_learner_wrote_is_escaped():
    def broken(x, gamma, beta, eps):
        raise ValueError("<script>alert(1)</script>")

    result = bn_forward.check(broken)
    assert "<script>" not in result.as_html()
    assert "&lt;script&gt;" in result.as_html()


def test_in_a_terminal_a_result_is_printed_once_as_text(capsys):
    result = bn_forward.check(SINGLES["eps_missing"])
    out = capsys.readouterr().out
    assert out == result.as_text() + "\n"
    assert "<" not in out.replace("<U1", "")


class Kernel:
    """What a notebook's kernel is to the code that displays: a shell with a kernel and a count of cells."""

    kernel = object()
    execution_count = 7


@pytest.fixture
def notebook(monkeypatch):
    """Displayed bundles, collected, as if a kernel ran."""
    ipython = pytest.importorskip("IPython")
    import IPython.display

    displayed = []
    shell = Kernel()
    monkeypatch.setattr(ipython, "get_ipython", lambda: shell)
    monkeypatch.setattr(IPython.display, "display", lambda bundle, raw: displayed.append(bundle))
    return shell, displayed


def test_in_a_notebook_a_result_is_rendered_once(notebook, capsys):
    """Catches a cell that ends in a check and shows its verdict twice, or as HTML and as text."""
    shell, displayed = notebook
    result = bn_forward.check(SINGLES["eps_missing"])
    result._ipython_display_()
    assert [set(bundle) for bundle in displayed] == [{"text/plain", "text/html"}]
    assert capsys.readouterr().out == ""
    shell.execution_count += 1
    result._ipython_display_()
    assert displayed[1] == displayed[0], "named in a later cell, it shows again"


def test_progress_renders_once_in_a_notebook(notebook, capsys):
    _, displayed = notebook
    assert progress() is None
    assert len(displayed) == 1
    Outline(displayed[0]["text/html"])
    assert capsys.readouterr().out == ""


def test_an_unknown_outcome_is_refused():
    with pytest.raises(ValueError, match="expected outcome to be one of passed, failed"):
        Result("excellent", "")


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_hints_come_one_after_the_other_or_by_level(exercise, capsys):
    exercise._hint_level[0] = 0
    count = len(exercise.hints)
    assert count >= 3
    for level in range(1, count + 1):
        text = exercise.hint()
        assert max(map(len, text.splitlines())) <= 76, "a cell of the book would scroll"
        assert " ".join(text.split()).startswith(f"Hint {level} of {count}. {exercise.hints[level - 1]}")
        assert capsys.readouterr().out == text + "\n"
    assert exercise.hint().startswith(f"Hint {count} of {count}"), "the last one stays"
    assert f"{exercise.id}.solution()" in exercise.hint()
    assert exercise.hint(1).startswith("Hint 1 of")
    assert exercise.hint().startswith("Hint 2 of")


@pytest.mark.parametrize("level", [0, -1, 99])
def test_a_hint_that_does_not_exist_is_refused(level):
    with pytest.raises(ValueError, match=f"expected level from 1 to 3, got {level}"):
        bn_forward.hint(level)


def docstring_of(code):
    """Imports, signature and docstring: what stands above the first statement."""
    return code[: code.rindex('"""') + 3]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_the_starter_is_the_solution_without_its_body(exercise):
    """Where a function is to be repaired, the two have signature and docstring in common."""
    starter, solution = exercise.starter(), exercise.solution()
    assert max(map(len, solution.splitlines())) <= 76, "a cell of the book would scroll"
    if exercise.given_function is None:
        head = starter.removesuffix("    raise NotImplementedError")
    else:
        assert max(map(len, starter.splitlines())) <= 76
        head = docstring_of(starter)
    assert head != starter
    assert solution.startswith(head)
    equation = {
        "bn_backward_staged": "inv_std = (var + eps)**-0.5",
        "running_statistics": "(1 - momentum) * old",
        "merge": "m2 = sum((x - mean)**2)",
        "bn_backward_inference": "sqrt(running_var + eps)",
        "welford": "mean_k = mean_(k-1) + (x - mean_(k-1)) / k",
        "gradient_check": "(L(x + h e_i) - L(x - h e_i)) / (2 h)",
        "which_convention": "new_var = (1 - momentum) * old_var + momentum * var(x, ddof)",
        "gradient_growth": "q[0] = growth**(L - 1) * q[L - 1]",
        "fair_comparison": "mean accuracy of arm 1 less that of arm 0",
        "residual_branch": "h <- h + branch(h)",
        "choose_placement": "h <- h + branch(h)",
        "find_the_fault": "z_hat = (z - mean) / sqrt(var + eps)",
        "matching_rate": "v <- momentum * v + gradient + decay * w",
        "dropout_order": "ratio = variance in training / variance in inference",
    }
    assert equation.get(exercise.id, "sqrt(var + eps)") in starter, "the docstring states the equation"
    assert len(solution) > len(head) + 200, "the solution explains itself"
    assert "shown" not in starter
    assert starter._ipython_display_() is None
    assert "printed above" in repr(starter)
