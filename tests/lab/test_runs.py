"""Runs are spread over processes and clusters, done once, and lose nothing when something dies."""

import os
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch

from bncourse.lab import RunError, cache_folder, run_all
from bncourse.lab.fingerprint import code_hash
from tests.book.chapters import ROOT
from tests.lab.runnable import Job, Number, reciprocal, starts, trained, wrong_kind

pytestmark = pytest.mark.slow

SEEDS = [(1,), (2, 3), (4,), (5, 6, 7), (8,), (9, 1)]


@pytest.fixture(autouse=True)
def _own_cache(own_cache):
    pass


@pytest.fixture
def log(tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    return folder


def bits(frames: list[pd.DataFrame]) -> list[tuple[bytes, ...]]:
    return [tuple(frame[name].to_numpy().tobytes() for name in ("seed", "value")) for frame in frames]


def test_results_come_in_the_order_of_the_settings_and_equal_settings_run_once(log):
    values = [4.0, 0.5, 4.0, 8.0, 0.25]
    results = run_all(reciprocal, [Number(value, str(log)) for value in values], jobs=2)
    assert [float(result["reciprocal"]) for result in results] == [1 / value for value in values]
    assert Counter(path.name.rpartition(".")[0] for path in log.iterdir()) == {str(value): 1 for value in set(values)}


def test_each_run_has_one_thread_and_several_processes_share_the_work():
    results = run_all(reciprocal, [Number(value) for value in range(1, 9)], jobs=2)
    assert {int(result["threads"][0]) for result in results} == {1}
    assert os.getpid() not in {int(result["threads"][1]) for result in results}


def test_one_job_runs_here_on_one_thread_and_gives_the_threads_back():
    torch.set_num_threads(2)
    try:
        (result,) = run_all(reciprocal, [Number(3)], jobs=1)
        assert result["threads"].tolist() == [1, os.getpid()]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_processes_compute_what_one_computes_bit_by_bit(log):
    jobs = [Job(seeds, str(log)) for seeds in SEEDS]
    serial = run_all(trained, jobs, jobs=1, cache=False)
    assert bits(run_all(trained, jobs, jobs=2, cache=False)) == bits(serial)
    assert len({*bits(serial)}) == len(SEEDS)


def test_what_was_computed_is_read_from_the_cache_and_is_the_same(log):
    jobs = [Job(seeds, str(log)) for seeds in SEEDS[:3]]
    first = run_all(trained, jobs[:2], jobs=1)
    again = run_all(trained, jobs, jobs=1)
    for old, new in zip(first, again, strict=False):
        pd.testing.assert_frame_equal(old, new, check_exact=True)
    assert [len(starts(job)) for job in jobs] == [1, 1, 1]
    run_all(trained, jobs, jobs=1, cache=False)
    assert [len(starts(job)) for job in jobs] == [2, 2, 2]


def test_without_the_cache_nothing_is_written(own_cache):
    run_all(reciprocal, [Number(3)], jobs=1, cache=False)
    assert not own_cache.exists()


def test_a_result_can_be_changed_without_changing_another(log):
    """Catches one frame that is handed out twice."""
    first, second = run_all(trained, [Job((1,), str(log)), Job((1,), str(log))], jobs=1)
    first.loc[0, "value"] = 99.0
    assert second["value"][0] != 99


def test_a_damaged_entry_is_computed_again(log):
    (before,) = run_all(trained, [Job((1,), str(log))], jobs=1)
    (entry,) = (cache_folder() / "runs").iterdir()
    entry.write_bytes(entry.read_bytes()[:-1])
    (after,) = run_all(trained, [Job((1,), str(log))], jobs=1)
    pd.testing.assert_frame_equal(before, after, check_exact=True)
    assert len(starts(Job((1,), str(log)))) == 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_names_its_settings_and_the_other_results_are_kept(log, jobs):
    values = [4.0, 0.0, 8.0, 5.0]
    asked = [Number(value, str(log)) for value in values]
    with pytest.raises(RunError) as caught:
        run_all(reciprocal, asked, jobs=jobs)
    message = str(caught.value)
    assert "1 of 4 runs of tests.lab.runnable.reciprocal failed" in message
    assert repr(asked[1]) in message
    assert "ZeroDivisionError: no reciprocal" in message
    assert all(repr(other) not in message for other in asked[:1] + asked[2:])
    run_all(reciprocal, [asked[0], *asked[2:]], jobs=1)
    assert len(list(log.iterdir())) == 4


def test_equal_errors_are_told_once_with_all_their_settings():
    with pytest.raises(RunError) as caught:
        run_all(wrong_kind, [Number(value) for value in (1.5, 2.5)], jobs=1)
    message = str(caught.value)
    assert message.count("TypeError: expected a frame, or a dictionary of arrays and frames by name, got float") == 1
    assert "value=1.5" in message
    assert "value=2.5" in message


def test_a_killed_process_is_reported_and_the_same_call_goes_on(log):
    jobs = [Job((seed,), str(log), kills=seed == 3) for seed in range(1, 5)]
    with pytest.raises(RunError, match=r"the processes that ran trained stopped: .* the same call goes on from there"):
        run_all(trained, jobs, jobs=2)
    assert len(starts(jobs[2])) == 1
    kept = len(list((cache_folder() / "runs").glob("*.result")))
    begun = sum(len(starts(job)) for job in jobs)
    assert len(run_all(trained, jobs, jobs=1)) == 4
    assert sum(len(starts(job)) for job in jobs) - begun == 4 - kept


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_call_resumes(log, how):
    """What had ended before the kill, or before Ctrl-C, is not computed again."""
    jobs = [Job((seed,), str(log), seconds=0.3) for seed in range(6)]
    # Where tests run in the background, a shell has switched Ctrl-C off, and children inherit that.
    listen = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)"
    work = f"from tests.lab.runnable import *\nfrom bncourse.lab import run_all\nrun_all(trained, {jobs!r}, jobs=2)"
    running = subprocess.Popen(
        [sys.executable, "-c", f"{listen}\n{work}"], cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True
    )
    results = cache_folder() / "runs"
    deadline = time.monotonic() + 120
    while len(list(results.glob("*.result"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(running.pid, how)
    assert running.wait(60) != 0
    kept = len(list(results.glob("*.result")))
    assert 2 <= kept < 6
    begun = {job: len(starts(job)) for job in jobs}

    frames = run_all(trained, jobs, jobs=1)
    assert [frame["seed"][0] for frame in frames] == list(range(6))
    assert sum(len(starts(job)) - begun[job] for job in jobs) == 6 - kept


def test_a_worker_with_other_code_is_refused(monkeypatch):
    """Catches a result that is stored under the key of code that did not make it."""
    # Undone on its own: the test's cache is patched in as well.
    with monkeypatch.context() as patch:
        patch.setattr("bncourse.lab.fingerprint.code_hash", lambda module: "changed since")
        with pytest.raises(RunError, match="another version of the code"):
            run_all(reciprocal, [Number(3), Number(4)], jobs=2)
    code_hash.cache_clear()
    assert not list(cache_folder().rglob("*.result"))


def test_a_cache_that_cannot_be_written_costs_a_warning_and_no_result(own_cache):
    own_cache.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="results are not kept") as caught:
        results = run_all(reciprocal, [Number(value) for value in (2, 4)], jobs=1)
    assert [float(result["reciprocal"]) for result in results] == [0.5, 0.25]
    assert len(caught) == 1


def test_a_bar_is_shown_only_where_asked_for(capsys):
    run_all(reciprocal, [Number(3)], jobs=1)
    assert capsys.readouterr() == ("", "")
    run_all(reciprocal, [Number(3), Number(4)], jobs=1, progress=True)
    shown = capsys.readouterr().err
    assert "reciprocal" in shown
    assert "2/2" in shown


def test_nothing_asked_gives_nothing():
    assert run_all(reciprocal, [], jobs=1) == []


def test_a_worker_of_a_cluster_dies_half_way_and_nothing_is_lost(log):
    """Two worker processes under Dask; one is killed inside its third run at the latest."""
    from distributed import Client, LocalCluster
    from joblib import parallel_config

    jobs = [Job(seeds, str(log), kills=number == 2) for number, seeds in enumerate(SEEDS)]
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
        Client(cluster) as client,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        before = set(client.run(os.getpid).values())
        with parallel_config(backend="dask"):
            frames = run_all(trained, jobs)
        ran = {int(Path(start).name.split(".")[1]) for job in jobs for start in starts(job)}
        assert len(before) == 2
        assert os.getpid() not in ran
        assert ran & before
        assert len(starts(jobs[2])) == 2
    assert bits(frames) == bits(run_all(trained, jobs, jobs=1, cache=False))
    assert len(list((cache_folder() / "runs").glob("*.result"))) == len(SEEDS)
