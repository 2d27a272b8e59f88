"""What is printed of the race: with no record the plain statement, and with one the numbers that it holds."""

import math
import subprocess
import sys

import pytest

from bncourse import results
from bncourse.kernels.bench import predictions, record, scoreboard
from bncourse.kernels.bench.command import Options, work
from bncourse.kernels.bench.suite import FUSIONS, OURS, cases
from tests.kernels.made_up import kept, made_up_record, part, row
from tests.kernels.racing import CPU, MACHINE, ON_CPU, Clock

EVERYBODY = {OURS: 2.0, "PyTorch": 8.0, "torch.compile": 3.0, "one program per channel": 5.0}


def test_without_a_record_it_says_so_and_how_to_make_one(tmp_path):
    assert scoreboard.recorded(tmp_path) is None
    assert scoreboard.recorded() is None or scoreboard.recorded().experiment == "kernels"
    text = "\n".join(scoreboard.origin(None))
    assert "not recorded yet" in text
    assert "bncourse bench kernels" in text
    lines = list(predictions.verdicts(None))
    assert lines[1::2] == ["   not measured yet"] * len(predictions.PREDICTIONS)
    assert all(prediction.says in line for prediction, line in zip(predictions.PREDICTIONS, lines[::2], strict=True))


def test_a_record_says_of_which_device_versions_and_kernels_it_is(tmp_path):
    found = kept(made_up_record([row((256, 64, 56, 56)), row((9, 9))]), tmp_path)
    text = "\n".join(scoreboard.origin(found))
    for fact in ("NVIDIA H100 80GB HBM3, 132 multiprocessors, 50 MiB", "torch 2.13.0", "triton 3.7.1", "driver 580.1"):
        assert fact in text
    # A shape of one's own counts for no case of the suite.
    assert f"1 of the suite's {len(cases())} cases, 25 rounds" in text
    assert "earlier version" not in text
    other = made_up_record([], kernels="0123456789abcdef")
    assert "The kernels have been changed since" in "\n".join(scoreboard.origin(kept(other, tmp_path)))


def test_standings_are_in_the_order_of_the_suite_and_of_one_dtype_and_fusion():
    rows = [
        row((7, 7)),
        row((64, 8192)),
        row((256, 256, 56, 56), format="channels_last"),
        row((256, 256, 56, 56), dtype="float32"),
        row((256, 256, 56, 56), fusion="+relu"),
    ]
    found = scoreboard.standings(rows, "bfloat16", "")
    assert [(one.shape, one.format) for one in found] == [
        ("256x256x56x56", "channels_last"),
        ("64x8192", "channels_first"),
        ("7x7", "channels_first"),
    ]


def test_the_data_of_the_figure_counted_by_hand():
    """A copy of so many bytes takes 1.5, we 2, the fastest other one 3; backward a copy takes 4, we 5, the other 4."""
    one = row(
        (256, 64, 56, 56),
        forward=part({**EVERYBODY, OURS: 2.0}, copy=1.5),
        backward=part({OURS: 5.0, "PyTorch native": 4.0}, copy=4.0),
    )
    [found] = scoreboard.standings([one], "bfloat16", "")
    assert (found.forward.of_copy, found.forward.ratio, found.forward.best) == (0.75, 1.5, "torch.compile")
    assert (found.backward.of_copy, found.backward.ratio, found.backward.best) == (0.8, 0.8, "PyTorch native")


def test_a_batch_that_is_always_in_the_cache_stands_with_its_warm_times_and_says_so():
    small = {"bytes": 100, "copy": {"warm": [1, 1, 1]}, "peers": {OURS: {"warm": [2, 2, 2]}}}
    tiny = row((8, 16, 4, 4), forward=small, backward=small)
    [found] = scoreboard.standings([tiny], "bfloat16", "")
    assert (found.state, found.forward.of_copy, found.forward.best) == ("warm", 0.5, "")
    *_, line = scoreboard.table([tiny], "bfloat16", "")
    assert line.endswith("(warm)")


def test_the_table_holds_the_numbers_and_fits_a_page():
    shapes = ((256, 1024, 14, 14), (8, 64, 16, 56, 56))
    rows = [row(shape, forward=part(EVERYBODY, copy=1.5)) for shape in shapes]
    rows.append({**row((8192, 1024)), "failed": {"case": "MemoryError: no"}, "forward": {}, "backward": {}})
    lines = list(scoreboard.table(rows, "bfloat16", ""))
    assert max(map(len, lines)) <= 78
    assert lines[0] == "bfloat16, batch norm"
    by_shape = {line.split()[0]: line.split() for line in lines[3:]}
    assert by_shape["256x1024x14x14"] == [
        "256x1024x14x14",
        "first",
        "75%",
        "50%",
        "1.50x",
        "compile",
        "2.00x",
        "PyTorch",
    ]
    assert by_shape["8192x1024"] == ["8192x1024", "first", "-", "-", "failed", "failed"]
    assert list(scoreboard.table(rows, "float16", "+relu")) == ["float16+relu: not measured"]


def test_the_longest_names_fit_their_columns():
    for peer in record_peers():
        one = row((256, 1024, 14, 14), forward=part({OURS: 1.0, peer: 123.456}))
        *_, line = scoreboard.table([one], "bfloat16", "")
        assert "123.46x " in line
        assert len(line) <= 78


def record_peers():
    from bncourse.kernels.bench.suite import PEER_NAMES

    return [name for name in PEER_NAMES if name != OURS]


def judged(rows, cores=132):
    """What each prediction says of these rows, in their order."""
    return [prediction.check(rows, cores) for prediction in predictions.PREDICTIONS]


@pytest.mark.parametrize(("copy", "held"), [(1.7, True), (1.5, False)])
def test_the_share_of_a_copy_counts_large_batches_that_are_alone(copy, held):
    large = row((256, 64, 56, 56), forward=part({OURS: 2.0}, copy=copy), backward=part({OURS: 2.0}, copy=copy))
    cached = part({OURS: 2.0}, copy=0.1)
    cached["peers"][OURS]["warm"] = [1, 1, 1]
    others = [row((8, 8), forward=cached, backward=cached), row((9, 9), fusion="+relu", forward=part({OURS: 9.0}))]
    found = judged([large, *others])[0]
    assert (found.held, found.number) == (held, f"{50 * copy:.0f}% in the median of 2")
    assert judged(others)[0] is None


@pytest.mark.parametrize(("behind", "held"), [(1.4, True), (1.2, False)])
def test_fusion_is_judged_by_the_bytes_against_the_fastest_that_fuses_nothing(behind, held):
    """Bytes promise 16 / 8.125 forwards and 16 / 12.125 backwards, 1.61 in the mean; 80 % of that is 1.29."""
    times = {OURS: 2.0, "PyTorch": 2.0 * behind, "cuDNN": 99.0, "torch.compile": 2.0}
    one = row((256, 64, 56, 56), fusion="+add+relu", forward=part(times), backward=part(times))
    found = judged([one])[1]
    promised = math.sqrt(16 / 8.125 * 16 / 12.125)
    assert (found.held, found.number) == (held, f"{behind:.2f}x, where the bytes promise {promised:.2f}x")


def test_the_nearest_is_looked_for_in_every_fused_row():
    fused = [row((9, 9), fusion=fusion, forward=part(EVERYBODY), backward=part(EVERYBODY)) for fusion in FUSIONS]
    found = judged(fused)[2]
    assert (found.held, found.number) == (True, "in 4 of 4")
    slow = {**EVERYBODY, "torch.compile": 99.0}
    found = judged([*fused[:2], *[row((8, 8), fusion="+relu", forward=part(slow), backward=part(slow))] * 2])[2]
    assert (found.held, found.number) == (False, "in 2 of 6")


def test_few_channels_are_fewer_than_this_device_has_multiprocessors():
    lag = {64: 6.0, 256: 3.0}
    rows = []
    for channels, theirs in lag.items():
        times = part({OURS: 2.0, "one program per channel": theirs})
        rows.append(row((256, channels, 56, 56), forward=times, backward=times))
    found = judged(rows)[3]
    assert (found.held, found.number) == (True, "3.00x with fewer, 1.50x with as many or more")
    # On a GPU with 40 multiprocessors nobody starves.
    assert judged(rows, cores=40)[3] is None
    assert judged(rows[::-1], cores=0)[3] is None


@pytest.mark.parametrize(("theirs", "held"), [(8.2, True), (7.5, False)])
def test_the_same_code_under_two_names_measures_the_noise(theirs, held):
    times = part({OURS: 2.0, "PyTorch": 8.0, "PyTorch native": theirs})
    same = row((256, 64), forward=times, backward=times, selected="Native")
    other = row((256, 64, 2, 2), forward=part({OURS: 2.0, "PyTorch": 8.0, "PyTorch native": 99.0}), selected="Cudnn")
    found = judged([same, other])[4]
    assert found.held is held
    assert found.number == f"{100 * abs(8 / theirs - 1):.1f}% apart in the median of 2"
    assert judged([other])[4] is None


@pytest.mark.parametrize(("first", "held"), [(3.0, True), (1.5, False)])
def test_odd_maps_are_compared_with_themselves_in_the_other_format(first, held):
    def pair(shape, first, last, **changed):
        for layout, time in (("channels_first", first), ("channels_last", last)):
            times = part({OURS: time})
            yield row(shape, format=layout, forward=times, backward=times, **changed)

    odd = [*pair((32, 2048, 7, 7), first, 2.0), *pair((256, 2048, 7, 7), first, 2.0, dtype="float32")]
    others = [*pair((32, 64, 8, 8), 99.0, 1.0), row((9, 9)), row((5, 5, 3, 3))]
    found = judged([*odd, *others])[5]
    assert (found.held, found.number) == (held, f"{first / 2:.2f}x as long, over 4 pairs")
    assert judged(others)[5] is None


@pytest.mark.parametrize(("share", "held"), [(0.8, True), (0.95, False)])
def test_shares_of_a_copy_are_compared_between_dtypes_of_the_same_batch(share, held):
    """Catches the backward pass, cached batches, other fusions and batches without a counterpart among the pairs."""

    def one(shape, share, dtype, **changed):
        parts = part({OURS: 2.0}, copy=2.0 * share), part({OURS: 2.0}, copy=0.2)
        return row(shape, dtype=dtype, forward=parts[0], backward=parts[1], **changed)

    shapes = ((256, 64, 56, 56), (8192, 1024))
    pairs = [one(shape, *how) for shape in shapes for how in ((share, "bfloat16"), (0.9, "float32"))]
    cached = one((9, 9), 0.1, "float32")
    cached["forward"]["peers"][OURS]["warm"] = [1, 1, 1]
    others = [cached, one((9, 9), 0.3, "bfloat16"), one((9, 8), 0.1, "bfloat16"), one((7, 7), 0.1, "float16")]
    others += [one((5, 5), how, dtype, fusion="+relu") for how, dtype in ((0.1, "bfloat16"), (0.2, "float32"))]
    others += [one((6, 6, 2, 2), 0.1, "bfloat16"), one((6, 6, 2, 2), 0.2, "float32", format="channels_last")]
    found = judged([*pairs, *others])[6]
    assert (found.held, found.number) == (held, f"90% in float32, {100 * share:.0f}% in bfloat16, over 2 pairs")
    assert judged(others)[6] is None


def test_what_the_suite_itself_writes_can_be_shown(tmp_path):
    """Catches a key that the measurement renames: the record here is made by the command's own code."""
    small = tuple(cases([(4, 3, 2, 2), (6, 2)], ["float32"]))
    assert work(Options(small, ON_CPU, tmp_path, 3), Clock(), CPU, MACHINE) == 0
    found = scoreboard.recorded(tmp_path)
    assert "a clock" in next(scoreboard.origin(found))
    standings = scoreboard.standings(found.outcome["rows"], "float32", "+add+relu")
    assert [one.shape for one in standings] == ["4x3x2x2", "4x3x2x2", "6x2"]
    assert all(one.forward and one.backward for one in standings)
    assert len(list(predictions.verdicts(found))) == 2 * len(predictions.PREDICTIONS)
    assert found.settings["kernels"] == record.fingerprint()


def test_it_needs_no_torch():
    code = (
        "import sys\n"
        "import bncourse.kernels.bench.scoreboard, bncourse.kernels.bench.predictions\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_file_that_is_no_record_is_an_error_and_not_silence(tmp_path):
    (tmp_path / "kernels.json").write_text("{}")
    with pytest.raises(ValueError, match="expected the parts"):
        scoreboard.recorded(tmp_path)
    assert results.FOLDER.is_dir()
