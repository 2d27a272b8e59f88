"""The house style: colours that stay apart, text that stays legible, intervals where they belong."""

import itertools
import subprocess
import sys

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.colors import to_rgb

from bncourse import plots

PALETTE = (plots.BATCH_NORM, plots.NONE, plots.REFERENCE, *plots.OTHERS)

# Machado, Oliveira and Fernandes (2009), full severity, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def linear(color):
    value = np.array(to_rgb(color))
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast_to_white(color):
    return 1.05 / (linear(color) @ [0.2126, 0.7152, 0.0722] + 0.05)


def cielab(rgb):
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = to_xyz @ np.clip(rgb, 0, 1) / [0.95047, 1, 1.08883]
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(first, second, vision):
    return np.linalg.norm(cielab(VISION[vision] @ linear(first)) - cielab(VISION[vision] @ linear(second)))


@pytest.fixture
def axes():
    with matplotlib.rc_context():
        plots.use_style()
        figure, ax = plt.subplots()
        yield ax
        plt.close(figure)


@pytest.mark.parametrize("vision", VISION)
def test_colours_stay_apart_for_every_kind_of_vision(vision):
    """A palette with a red and a green of one lightness fails here (a distance of 2 is just noticeable)."""
    assert distance(plots.BATCH_NORM, plots.NONE, vision) > 40
    for first, second in itertools.combinations(PALETTE, 2):
        assert distance(first, second, vision) > 10, (first, second)


def test_the_distance_sees_red_and_green_as_alike_where_a_reader_does():
    assert distance("#9C6B00", "#7B7B00", "normal") > 2.5 * distance("#9C6B00", "#7B7B00", "deuteranopia")


@pytest.mark.parametrize("color", PALETTE)
def test_a_label_is_legible_on_white_and_keeps_its_hue(axes, color):
    text = plots.label(axes, "batch norm", 0.5, 0.5, color)
    assert contrast_to_white(text.get_color()) >= 4.5 - 0.05
    ratio = np.array(to_rgb(text.get_color())) / np.maximum(to_rgb(color), 1e-9)
    assert np.ptp(ratio[np.array(to_rgb(color)) > 0]) < 0.02


def test_a_colour_with_a_meaning_is_dark_enough_to_be_the_text_of_its_label(axes):
    for color in (plots.BATCH_NORM, plots.NONE, plots.REFERENCE):
        assert to_rgb(plots.label(axes, "x", 0, 0, color).get_color()) == pytest.approx(to_rgb(color), abs=1 / 255)


def test_a_label_stands_on_the_side_that_its_offset_names(axes):
    assert plots.label(axes, "x", 0, 0, offset=(6, 0)).get_ha() == "left"
    assert plots.label(axes, "x", 0, 0, offset=(-6, 0)).get_ha() == "right"
    assert plots.label(axes, "x", 0, 0, offset=(0, 6), ha="center").get_ha() == "center"


def test_a_band_spans_the_interval_around_the_estimate(axes):
    plots.band(axes, [1, 2, 4], [10, 20, 30], [8, 15, 29], [11, 26, 35], plots.NONE)
    assert axes.lines[0].get_ydata().tolist() == [10, 20, 30]
    outline = axes.collections[0].get_paths()[0].vertices
    for x, low, high in [(1, 8, 11), (2, 15, 26), (4, 29, 35)]:
        heights = outline[outline[:, 0] == x, 1]
        assert (heights.min(), heights.max()) == (low, high)


def test_whiskers_run_from_top_to_bottom_in_the_order_given(axes):
    plots.whiskers(axes, ["first", "second"], [1.5, 3], [1.2, 2], [2, 5], reference=1)
    reference, first, dot, second, _ = axes.lines
    assert set(reference.get_xdata()) == {1}
    assert first.get_xdata().tolist() == [1.2, 2]
    assert dot.get_xdata().tolist() == [1.5]
    assert first.get_ydata()[0] > second.get_ydata()[0]
    names = {tick.get_text(): height for tick, height in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)}
    assert names == {"first": first.get_ydata()[0], "second": second.get_ydata()[0]}


def test_whiskers_refuse_quantities_without_names(axes):
    with pytest.raises(ValueError, match=r"1 labels and arrays of shapes \(2,\)"):
        plots.whiskers(axes, ["only one"], [1, 2], [0, 1], [2, 3])


def test_figures_are_white_with_dark_ink_and_sharp(axes):
    assert to_rgb(matplotlib.rcParams["figure.facecolor"]) == (1, 1, 1)
    assert matplotlib.rcParams["figure.dpi"] >= 150
    assert contrast_to_white(matplotlib.rcParams["text.color"]) > 12


def test_without_matplotlib_the_error_names_the_remedy():
    code = "import sys; sys.modules['matplotlib'] = None; from bncourse import plots; plots.use_style()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'bncourse[lab]'" in done.stderr.splitlines()[-1]


def test_importing_plots_does_not_load_matplotlib():
    code = "import sys, bncourse.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
