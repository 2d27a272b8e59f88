"""Chapter 3.8 with a record and without: it must run and say what is so in both states."""

import matplotlib as mpl
import nbformat
import pytest

from bncourse import results
from bncourse.kernels.bench.suite import DTYPES, FORMATS, FUSIONS, OURS, SHAPES
from tests.book.chapters import ROOT
from tests.kernels.made_up import kept, made_up_record, part, row

CHAPTER = ROOT / "book/3_kernel/8_the_race.ipynb"
NEEDED = ("imports", "verdicts", "origin", "table", "race-figure")


def everything_measured():
    """A row for every shape, the tiny one warm only, and one that failed."""
    rows = []
    for shape in SHAPES:
        for layout in FORMATS if len(shape) > 2 else FORMATS[:1]:
            for fusion in FUSIONS:
                times = part({OURS: 2.0, "PyTorch": 3.6, "PyTorch native": 3.5, "torch.compile": 2.2}, copy=1.8)
                rows.append(row(shape, DTYPES[0], fusion, layout, forward=times, backward=times))
    tiny = part({OURS: 2.0})
    tiny["peers"][OURS] = {"warm": tiny["peers"][OURS]["cold"]}
    tiny["copy"] = {"warm": tiny["copy"]["cold"]}
    return [
        *(one for one in rows if one["shape"] != [8, 16, 4, 4]),
        row((8, 16, 4, 4), fusion="+add+relu", forward=tiny, backward=tiny),
        row((8, 16, 4, 4), format="channels_last", fusion="+add+relu", forward={"peers": {}}, backward={"peers": {}}),
    ]


@pytest.fixture
def chapter(monkeypatch, tmp_path, capsys):
    """Runs the cells that depend on a record, in a package whose results are in an empty folder."""
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    cells = {cell.id: cell.source for cell in nbformat.read(CHAPTER, as_version=4).cells}
    drawn = []

    def run():
        with mpl.rc_context({"backend": "agg"}):
            from matplotlib import pyplot as plt

            monkeypatch.setattr(plt, "show", lambda: drawn.extend(plt.get_fignums()))
            namespace = {}
            for name in NEEDED:
                exec(cells[name], namespace)
            plt.close("all")
        return capsys.readouterr().out, drawn

    return run


def test_without_a_record_it_draws_nothing_and_says_why(chapter):
    text, drawn = chapter()
    assert drawn == []
    for sentence in ("Device measurements are not recorded yet.", "not measured yet", "Nothing to draw"):
        assert sentence in text
    assert "held" not in text


def test_with_a_record_it_shows_it_and_no_longer_says_that_there_is_none(chapter, tmp_path):
    kept(made_up_record(everything_measured()), tmp_path)
    text, drawn = chapter()
    assert len(drawn) == 1
    for part_of in ("NVIDIA H100", "256x256x56x56  first   90%  90%", "1.10x compile", "(warm)", "failed"):
        assert part_of in text
    assert "held: 90% in the median" in text
    assert "29 lines drawn" in text
    for sentence in ("not recorded", "not measured", "Nothing to draw"):
        assert sentence not in text
