"""Records are checked when they are read, and complete when they are written."""

import json
import socket

import pytest

from bncourse import results

SOURCE = results.provenance("python -m somewhere", ["numpy"], threads=2, seconds=1.234)
RECORD = results.Record("trial", {"rates": [0.1, 0.2]}, SOURCE, {"table": [[1, None], [2.5, 3]], "name": "[a\nb]"})


def test_a_record_survives_writing_and_reading(tmp_path):
    assert results.save(RECORD, tmp_path) == tmp_path / "trial.json"
    assert results.load("trial", tmp_path) == RECORD
    assert [path.name for path in tmp_path.iterdir()] == ["trial.json"]


def test_a_list_of_values_takes_one_line(tmp_path):
    text = results.save(RECORD, tmp_path).read_text()
    assert len(text.splitlines()) < 35
    assert "[ 1, null ]" in text


def test_a_failed_write_leaves_the_old_record(tmp_path):
    results.save(RECORD, tmp_path)
    broken = results.Record("trial", {}, SOURCE, {"mean": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        results.save(broken, tmp_path)
    assert results.load("trial", tmp_path) == RECORD


def test_an_unknown_name_lists_what_there_is(tmp_path):
    results.save(RECORD, tmp_path)
    with pytest.raises(LookupError, match="no result is recorded for experiment 'trail'; recorded are: trial"):
        results.load("trail", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("outcome"), r"missing \['outcome'\]"),
        (lambda content: content.update(verdict="supported"), r"unknown \['verdict'\]"),
        (lambda content: content["provenance"].pop("versions"), r"provenance: .*missing \['versions'\]"),
        (lambda content: content.update(experiment="other"), "holds experiment 'other', expected 'trial'"),
        (lambda content: content.update(outcome=[1]), "expected outcome to be an object, got list"),
        (lambda content: content["outcome"].update(mean=float("inf")), "holds Infinity"),
    ],
)
def test_a_damaged_record_is_refused_with_the_reason(tmp_path, change, message):
    path = results.save(RECORD, tmp_path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        results.load("trial", tmp_path)


def test_half_a_file_is_refused(tmp_path):
    path = results.save(RECORD, tmp_path)
    path.write_text(path.read_text()[:100])
    with pytest.raises(ValueError, match=r"trial\.json is not a recorded result"):
        results.load("trial", tmp_path)


def test_provenance_says_what_ran_where_and_names_no_computer():
    assert SOURCE.versions.keys() == {"python", "numpy"}
    assert SOURCE.threads == 2
    assert SOURCE.machine["cores"] >= 1
    assert socket.gethostname() not in json.dumps(vars(SOURCE))


def test_every_recorded_result_is_valid_and_small():
    paths = list(results.FOLDER.glob("*.json"))
    assert paths
    for path in paths:
        assert results.load(path.stem).outcome
        assert path.stat().st_size < 300_000
