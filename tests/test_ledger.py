"""The claims ledger: its entries, its correction for many tests, what it lists, runs, and checks."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bncourse import cli, results
from bncourse.ledger import ARTICLES, CLAIMS, NOT_RUN, command, running, select, states
from bncourse.ledger.holm import holm
from bncourse.results.verdicts import Effect, Verdict, recorded_verdicts

ROOT = Path(__file__).resolve().parents[1]
SOURCE = results.provenance("a command", ["numpy"], threads=1, seconds=2)
RECORDED = [name for name in running.experiments(CLAIMS) if (results.FOLDER / f"{name}.json").exists()]
WORDS = ("statement", "literature", "test", "estimand", "smallest", "rule")


def effect(estimate: float, low: float, high: float, **changes) -> Effect:
    plain = Effect("a ratio", estimate, low, high, no_effect=1, smallest=1.25, ratio=True, seeds=8)
    return dataclasses.replace(plain, **changes)


def record(folder: Path, name: str, *verdicts: Verdict, settings: dict | None = None) -> None:
    content = results.Record(name, settings or {}, SOURCE, {"a": 1}, [dataclasses.asdict(each) for each in verdicts])
    results.save(content, folder)


# Entries ------------------------------------------------------------------------------------------------------------


def test_there_are_25_claims_in_order_and_each_says_everything():
    assert [claim.id for claim in CLAIMS] == [f"C{number}" for number in range(1, 26)]
    for claim in CLAIMS:
        for part in WORDS:
            assert len(getattr(claim, part)) >= 8, (claim.id, part)
        assert claim.articles, claim.id
        assert set(claim.articles) <= set(ARTICLES)
        assert re.fullmatch(r"[1-7]\.[1-9]", claim.chapter), claim.id
        assert claim.seeds == 0 or claim.seeds >= 24, claim.id
        assert all(answer in claim.rule.lower() for answer in ("supported", "contradicted")), claim.id


def test_every_citation_is_in_the_bibliography():
    keys = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "references.bib").read_text(encoding="utf-8"), re.MULTILINE))
    for claim in CLAIMS:
        cited = re.findall(r"\{cite:[tp]\}`(\w+)`", claim.literature + claim.test + claim.rule)
        assert set(cited) <= keys, claim.id
        assert claim.literature.count("{cite") == len(re.findall(r"\{cite:[tp]\}`\w+`", claim.literature)), claim.id
    assert sum("{cite" in claim.literature for claim in CLAIMS) == len(CLAIMS)


def test_a_chapter_that_exists_names_the_claims_that_have_an_experiment():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    pages = [page["file"] for part in toc["parts"] for page in part["chapters"]]
    for claim in CLAIMS:
        part, number = claim.chapter.split(".")
        found = [page for page in pages if re.match(rf"book/{part}_\w+/{number}_", page)]
        if found:
            assert re.search(rf"\b{claim.id}\b", (ROOT / f"{found[0]}.ipynb").read_text(encoding="utf-8")), claim.id


def test_select_takes_any_spelling_and_names_what_it_does_not_know():
    assert [claim.id for claim in select(["c4", "C2"])] == ["C2", "C4"]
    assert select([]) == list(CLAIMS)
    with pytest.raises(LookupError, match="no claim C26, X; there are C1 to C25"):
        select(["C26", "C2", "x"])


@pytest.mark.parametrize("name", running.experiments(CLAIMS))
def test_an_experiment_settles_the_claims_that_name_it_as_registered(name):
    """Catches an experiment whose rule answers for another claim or in other words, or with fewer seeds."""
    module = running.load(name)
    claims = [claim for claim in CLAIMS if claim.experiment == name]
    settings = module.Settings()
    seeds = getattr(settings, "test_seeds", getattr(settings, "seeds", ()))
    assert {claim.seeds for claim in claims} == {len(seeds)}
    outcome = module.recorded() if name in RECORDED else module.run(module.with_seeds(module.REDUCED, 4))
    answered = {verdict.claim: verdict.statement for verdict in module.verdicts(outcome)}
    assert answered == {claim.id: claim.statement for claim in claims}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_verdicts_are_what_the_rules_say_of_the_recorded_outcome(name):
    """Catches a verdict that was edited by hand, and a rule that changed after its result."""
    module = running.load(name)
    assert recorded_verdicts(results.load(name)) == list(module.verdicts(module.recorded()))


# Many tests ---------------------------------------------------------------------------------------------------------


def test_holms_correction_is_that_of_a_worked_example():
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}, tests=4)
    assert found == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(0, 13))
def test_holms_correction_rejects_what_the_step_down_procedure_does(p_values, more):
    """The definition as a procedure: go up from the smallest, and stop at the first that is too large."""
    tests, level = len(p_values) + more, 0.05
    named = {str(place): p for place, p in enumerate(p_values)}
    rejected = set()
    for place, (name, p) in enumerate(sorted(named.items(), key=lambda item: item[1])):
        if (tests - place) * p > level:
            break
        rejected.add(name)
    assert {name for name, p in holm(named, tests).items() if p <= level} == rejected


def test_more_p_values_than_tests_are_refused():
    with pytest.raises(ValueError, match="at most 1 p-values"):
        holm({"a": 0.1, "b": 0.2}, tests=1)


bounds = st.tuples(*[st.floats(0.05, 20)] * 4)


@given(bounds, st.booleans())
def test_a_p_value_is_below_the_level_exactly_where_the_interval_excludes_the_smallest_effect(values, ratio):
    low, estimate, high = sorted(values[:3])
    smallest = values[3]
    inside = low <= smallest <= high
    if min(abs(smallest - low), abs(smallest - high)) < 1e-3 or min(estimate - low, high - estimate) < 1e-3:
        return
    assert (effect(estimate, low, high, smallest=smallest, ratio=ratio).p_value() > 0.05) == inside


def test_a_p_value_is_that_of_a_normal_estimate():
    """An estimate 1 with a standard error of 0.4 against 0: z = 2.5."""
    measured = effect(1, 1 - 0.4 * 1.959964, 1 + 0.4 * 1.959964, ratio=False, smallest=0)
    assert measured.p_value() == pytest.approx(0.012419, abs=1e-6)
    tight = effect(2, 2, 2)
    assert tight.p_value() == 0
    assert dataclasses.replace(tight, smallest=2).p_value() == 1
    with pytest.raises(ValueError, match="measured over seeds"):
        dataclasses.replace(tight, seeds=0).p_value()


# What is listed -----------------------------------------------------------------------------------------------------


def test_states_join_entries_and_records(tmp_path):
    strong = Verdict("C2", "x", "supported", "y", (effect(1.5, 1.4, 1.6),), 0.0001)
    weak = Verdict("C3", "x", "contradicted", "y", (effect(1.1, 1.0, 1.2),), 0.02)
    record(tmp_path, "convergence", strong, weak)
    sure = Verdict("C21", "x", "qualified", "y", (effect(0.5, 0, 1, seeds=0),))
    record(tmp_path, "output_variance", sure)
    found = {state.claim.id: state for state in states(tmp_path)}
    assert [state.claim.id for state in states(tmp_path)] == [claim.id for claim in CLAIMS]
    assert (found["C2"].answer, found["C2"].corrected_answer) == ("supported", "supported")
    # C21 comes first in Holm's order, which leaves 24 tests for C2 and 23 for C3.
    assert found["C2"].corrected_p == pytest.approx(24 * 0.0001)
    assert found["C3"].corrected_p == pytest.approx(23 * 0.02)
    assert (found["C3"].answer, found["C3"].corrected_answer) == ("contradicted", "inconclusive")
    assert (found["C21"].corrected_p, found["C21"].corrected_answer) == (None, "qualified")
    assert (found["C4"].answer, found["C4"].verdict, found["C4"].provenance) == (NOT_RUN, None, None)
    assert found["C2"].provenance == SOURCE


def test_listing_shows_every_claim_and_loads_nothing_heavy():
    code = (
        "import sys; from bncourse.cli import app\n"
        "try: app(['claims'])\n"
        "except SystemExit as end: assert not end.code\n"
        "print(*[name for name in ('torch', 'numpy', 'scipy', 'pandas', 'joblib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    *lines, loaded, _ = done.stdout.split("\n")
    assert loaded == ""
    shown = {line.split()[0]: line for line in lines if re.match(r"C\d", line)}
    assert len(shown) == 25
    for state in states():
        assert state.answer in shown[state.claim.id]
        assert state.claim.chapter in shown[state.claim.id]


def test_a_verdict_that_does_not_stand_after_correction_is_marked(tmp_path, monkeypatch, capsys):
    record(tmp_path, "convergence", Verdict("C3", "x", "supported", "y", (effect(2.5, 2.1, 3),), 0.01))
    monkeypatch.setattr(command, "states", lambda: states(tmp_path))
    assert command.show_list() == 0
    assert "supported [inconclusive]" in capsys.readouterr().out


# Running and checking -----------------------------------------------------------------------------------------------


def claims(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, ["claims", *arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def one_thread():
    """Running sets the number of threads for its process, which here is that of the tests."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def test_running_a_claim_writes_its_record_with_provenance(tmp_path):
    code, printed, _ = claims("run", "c21", "-o", str(tmp_path), "-j", "1")
    assert code == 0
    assert "C21 (the layer's output" in printed
    found = results.load("output_variance", tmp_path)
    assert found.provenance.command == "python -m bncourse.experiments.output_variance"
    assert found.provenance.threads == 1
    assert [each.claim for each in recorded_verdicts(found)] == ["C21"]
    assert {state.answer for state in states(tmp_path) if state.verdict} == {"qualified"}


def test_another_number_of_seeds_never_replaces_the_registered_run(tmp_path, monkeypatch):
    before = {path: path.read_bytes() for path in results.FOLDER.glob("*.json")}
    monkeypatch.chdir(tmp_path)
    assert claims("run", "C22", "--seeds", "4", "-j", "1")[0] == 0
    assert len(results.load("identity", tmp_path / "claims").settings["seeds"]) == 4
    assert {path: path.read_bytes() for path in results.FOLDER.glob("*.json")} == before


def test_what_cannot_be_run_is_said(monkeypatch):
    code, _, complaint = claims("run", "C99")
    assert (code, "no claim C99" in complaint) == (2, True)

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run", interrupted)
    code, _, complaint = claims("run", "C2", "-o", "nowhere")
    assert (code, "it goes on" in complaint) == (130, True)


def test_a_check_passes_on_a_true_record_and_fails_on_a_false_one(tmp_path):
    assert claims("run", "C21", "C22", "-o", str(tmp_path), "-j", "1")[0] == 0
    code, printed, _ = claims("check", "--records", str(tmp_path), "-j", "1")
    assert (code, printed.count("ok ")) == (0, 4)
    path = tmp_path / "identity.json"
    content = json.loads(path.read_text())
    last = content["verdicts"][0]["effects"][-1]
    last.update(estimate=0.3, low=0.29, high=0.31)
    path.write_text(json.dumps(content))
    code, printed, complaint = claims("check", "--records", str(tmp_path), "-j", "1")
    assert (code, printed.count("FAIL"), "excludes the recorded effect of C22" in complaint) == (1, 1, True)
    code, printed, _ = claims("check", "C21", "--records", str(tmp_path), "-j", "1")
    assert (code, "C22" in printed) == (0, False)


def test_a_check_fails_without_records_and_for_a_record_of_other_settings(tmp_path):
    code, _, complaint = claims("check", "--records", str(tmp_path))
    assert (code, "Nothing is recorded for C1 to C25" in complaint) == (1, True)
    record(tmp_path, "output_variance", settings={"eps": 1})
    code, _, complaint = claims("check", "C21", "--records", str(tmp_path))
    assert (code, "other settings" in complaint) == (2, True)


def test_an_effect_that_is_gone_fails_the_check():
    assert not running.Comparison("C2", effect(1.5, 1.4, 1.6), None).agrees


@pytest.mark.parametrize(
    ("reduced", "agrees"),
    [
        (effect(1.5, 1.4, 1.6), True),
        (effect(1.2, 1.1, 1.3), True),
        (effect(1.0, 0.8, 1.25), True),
        (effect(1.0, 0.98, 1.02), False),
        (effect(1.0, 0.98, 1.02, resolution=1.5), True),
        (effect(1.38, 1.38, 1.38), False),
        (effect(1.45, 1.45, 1.45), True),
        (effect(0.6, 0.5, 0.7), False),
        (effect(2.4, 2.2, 2.6), False),
        (effect(1.0, 0.9, 1.1, seeds=1000), False),
    ],
    ids=[
        "the same",
        "within reach of so few seeds",
        "a wide interval that leaves room",
        "a narrow one that does not",
        "but may move by a step of the grid",
        "all seeds agree, elsewhere",
        "all seeds agree, inside the recorded interval",
        "the other way round",
        "far above",
        "many seeds leave less room",
    ],
)
def test_a_reduced_run_agrees_unless_it_excludes_the_recorded_effect(reduced, agrees):
    assert running.agree(reduced, effect(1.5, 1.4, 1.6, seeds=32)) == agrees


def test_without_chance_a_check_asks_for_the_same_numbers():
    recorded = effect(0.5, 0.1, 1, seeds=0)
    assert running.agree(effect(0.5 + 1e-9, 0.1, 1, seeds=0), recorded)
    assert not running.agree(effect(0.5, 0.1001, 1, seeds=0), recorded)


def test_fewer_seeds_alone_do_not_fail_a_check():
    """A thousand reduced runs of eight seeds, each with its own luck, against one of 32."""
    import numpy as np

    from bncourse.lab import Interval

    generator = np.random.default_rng(0)

    def normal_interval(seeds):
        values = generator.normal(1.0, 0.5, seeds)
        half = 1.959964 * values.std(ddof=1) / seeds**0.5
        return Interval(values.mean(), values.mean() - half, values.mean() + half)

    def measured(seeds):
        return Effect.of("x", normal_interval(seeds), no_effect=0, smallest=0.3, seeds=seeds)

    recorded = measured(32)
    assert sum(not running.agree(measured(8), recorded) for _ in range(1000)) <= 3
