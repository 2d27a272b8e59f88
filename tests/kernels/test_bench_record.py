"""What is left of a race that was interrupted, or whose peers took the process down; and the command."""

import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from bncourse import cli, results
from bncourse.kernels import floor
from bncourse.kernels.bench import command
from bncourse.kernels.bench.command import LOST, Options, work
from bncourse.kernels.bench.peers import Peer
from bncourse.kernels.bench.record import SOURCES, Record, blame, fingerprint
from bncourse.kernels.bench.suite import OURS, PEER_NAMES, cases
from tests.kernels.racing import CPU, MACHINE, NAMED, ON_CPU, Clock


def options(folder, **changed):
    small = cases([(4, 3, 2, 2), (6, 2)], ["float32"])
    return Options(**{"cases": tuple(small), "peers": ON_CPU, "folder": folder, "rounds": 3} | changed)


def test_the_record_survives_a_round_trip_and_is_gone_on_with(tmp_path, capsys):
    first = options(tmp_path)
    half = options(tmp_path, cases=first.cases[:4])
    assert work(half, Clock(), CPU, MACHINE) == 0
    clock = Clock()
    assert work(first, clock, CPU, MACHINE) == 0
    assert clock.plans
    record = results.load("kernels", tmp_path)
    assert [tuple(row["shape"]) for row in record.outcome["rows"]] == [case.shape for case in first.cases]
    assert record.provenance.machine["gpu"] == "a clock"
    assert record.provenance.versions["torch"] == torch.__version__
    assert record.provenance.command == "bncourse bench kernels"
    assert record.settings["rounds"] == 3
    capsys.readouterr()
    idle = Clock()
    assert work(first, idle, CPU, MACHINE) == 0
    assert idle.plans == []
    assert "9 rows; data not in the cache before:" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [tmp_path / "kernels.json"]


@pytest.mark.parametrize(
    ("changed", "machine"),
    [({"rounds": 4}, MACHINE), ({"peers": ON_CPU[:2]}, MACHINE), ({}, {**MACHINE, "gpu": "another clock"})],
)
def test_rows_that_cannot_be_compared_are_not_mixed(changed, machine, tmp_path, capsys):
    assert work(options(tmp_path), Clock(), CPU, MACHINE) == 0
    assert work(options(tmp_path, **changed), Clock(), CPU, machine) == 2
    assert "measured otherwise" in capsys.readouterr().err
    assert work(options(tmp_path, fresh=True, **changed), Clock(), CPU, machine) == 0
    assert len(results.load("kernels", tmp_path).outcome["rows"]) == 9


def test_results_know_the_kernels_that_they_are_of(tmp_path):
    for name in (*SOURCES, "floor.py"):
        shutil.copy(Path(floor.__file__).parent / name, tmp_path)
    assert fingerprint(tmp_path) == fingerprint() == Record(tmp_path / "new", MACHINE, {}).settings["kernels"]
    (tmp_path / "floor.py").write_text("")
    assert fingerprint(tmp_path) == fingerprint()
    (tmp_path / "forward.py").write_text("")
    assert fingerprint(tmp_path) != fingerprint()


def test_another_driver_does_not_keep_a_second_lease_from_going_on(tmp_path):
    assert work(options(tmp_path), Clock(), CPU, MACHINE) == 0
    assert work(options(tmp_path), Clock(), CPU, {**MACHINE, "driver": "2"}) == 0


def test_it_stops_in_time_and_says_how_far_it_came(tmp_path, capsys):
    assert work(options(tmp_path, deadline=time.time() - 1), Clock(), CPU, MACHINE) == 0
    assert "Out of time after 0 of 9 cases; run it again to go on." in capsys.readouterr().out


def test_a_case_that_fails_as_a_whole_is_a_row_that_says_why(tmp_path, monkeypatch):
    def refuse(case, device):
        raise MemoryError("too large")

    monkeypatch.setattr("bncourse.kernels.bench.measure.make_batch", refuse)
    assert work(options(tmp_path), Clock(), CPU, MACHINE) == 0
    rows = results.load("kernels", tmp_path).outcome["rows"]
    assert [row["failed"] for row in rows] == [{"case": "MemoryError: too large"}] * 9


def test_a_peer_that_takes_the_gpu_down_is_left_out_and_the_rest_goes_on(tmp_path, monkeypatch):
    """Catches a row that is lost, one that is tried for ever, and a peer that is blamed for another's fault."""
    clock = Clock()

    def killer(case):
        def function(batch):
            clock.dead = True
            raise RuntimeError("an illegal memory access was encountered")

        return function

    peers = (NAMED["PyTorch"], Peer("killer", killer, takes=lambda case: len(case.shape) == 2), NAMED[OURS])
    monkeypatch.setattr("bncourse.kernels.bench.peers.PEERS", peers)
    asked = options(tmp_path, peers=("PyTorch", "killer", OURS))
    codes = []
    while not codes or codes[-1] == LOST:
        clock.dead = False
        codes.append(work(asked, clock, CPU, MACHINE))
    assert codes == [LOST] * 3 + [0]
    for row in results.load("kernels", tmp_path).outcome["rows"]:
        assert set(row["forward"]["peers"]) == {"PyTorch", OURS}
        assert list(row["failed"]) == (["killer"] if len(row["shape"]) == 2 else [])
        assert "illegal memory" in row["failed"].get("killer", "illegal memory")


def test_a_process_that_is_killed_is_followed_by_another(tmp_path, monkeypatch):
    """A crash is put down to the peer that ran, once; a second one at the same place ends the run."""
    asked = options(tmp_path)
    record = Record(tmp_path, MACHINE, {})
    exits = []

    class Process:
        def __init__(self, target, args):
            self.options = args[0]

        def start(self):
            self.exitcode = exits.pop(0)
            if self.exitcode < 0:
                record.note(asked.cases[0], "PyTorch")

        def join(self):
            pass

    monkeypatch.setattr(command.multiprocessing, "get_context", lambda kind: SimpleNamespace(Process=Process))
    exits[:] = [-11, LOST, 0]
    assert command.run(asked) == 0
    assert record.failed_before(asked.cases[0]) == {"PyTorch": "the process ended with signal 11"}
    assert record.failed_before(asked.cases[1]) == {}
    exits[:] = [-11]
    assert command.run(asked) == 1
    exits[:] = [2]
    assert command.run(asked) == 2
    assert not blame(tmp_path / "elsewhere", "nobody")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_command_says_so_and_prints_the_floor():
    result = CliRunner().invoke(cli.app, ["bench", "kernels", "--device", "T4", "--dtype", "float32"])
    assert result.exit_code == 0
    assert result.output.startswith("Nothing is measured: ")
    assert "T4" in result.output
    assert "24.125" in result.output
    shown = floor.bound("forward", (8192, 1024), 0.320e12, "float32")
    assert f"{shown:.4g}" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "Abacus"], "expected device to be one of T4, L4"),
        (["--dtype", "int8"], "expected dtype to be one of bfloat16"),
        (["--peer", "nobody"], "expected peer to be one of bncourse, PyTorch native"),
        (["--shape", "huge"], "expected a shape such as 32x64x56x56, got 'huge'"),
    ],
)
def test_the_command_names_what_it_does_not_know(arguments, message):
    result = CliRunner().invoke(cli.app, ["bench", "kernels", *arguments])
    assert result.exit_code == 2
    assert message in result.output


def test_the_command_says_which_library_is_missing_and_needs_none_for_the_floor(monkeypatch, capsys):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    assert command.bench(None, None, None, False, None, None, False, "L4") == 0
    assert "torch is not installed: pip install 'bncourse[kernels]'" in capsys.readouterr().out


def test_with_a_gpu_the_options_become_the_suite(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(command, "missing", lambda: "")
    monkeypatch.setattr(command, "run", lambda options: asked.append(options) or 0)
    call = ["bench", "kernels", "--quick", "--minutes", "9", "--output", str(tmp_path), "--peer", "PyTorch"]
    assert CliRunner().invoke(cli.app, call).exit_code == 0
    assert CliRunner().invoke(cli.app, ["bench", "kernels", "--shape", "4x5", "--shape", "2x3x4x4"]).exit_code == 0
    quick, two = asked
    assert {case.dtype for case in quick.cases} == {"bfloat16"}
    assert quick.peers == (OURS, "PyTorch")
    assert (quick.folder, quick.rounds) == (tmp_path, command.QUICK_ROUNDS)
    assert 500 < quick.deadline - time.time() <= 540
    assert len(two.cases) == (1 + 2) * 3 * 3
    assert (two.peers, two.folder, two.deadline) == (PEER_NAMES, results.FOLDER, float("inf"))
