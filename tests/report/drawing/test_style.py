"""The look of every plot: colours that can be read in both modes, and lines that can be told apart."""

from __future__ import annotations

import re

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from genuq.report.drawing.canvas import Room, figure_of
from genuq.report.drawing.style import PALETTE, inline_svg, png, series_of, svg
from genuq.report.run import plots
from genuq.report.study.data import KnownScore
from support.made_run import typed

SURFACES = {"light": ("#ffffff", "#faf9f6"), "dark": ("#1c2026", "#14171b")}  # as in page.css


def contrast(first: str, second: str) -> float:
    """WCAG 2.1 contrast ratio."""

    def luminance(colour: str) -> float:
        linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in to_rgb(colour)]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", [name for name in PALETTE if name not in ("plot-line", "plot-band")])
def test_text_in_every_colour_is_legible_in_both_modes(name):
    light, dark = PALETTE[name]
    assert min(contrast(light, surface) for surface in SURFACES["light"]) >= 4.5
    assert min(contrast(dark, surface) for surface in SURFACES["dark"]) >= 4.5


def test_each_light_colour_stands_for_one_variable():
    light = [pair[0] for pair in PALETTE.values()]
    assert len(set(light)) == len(light)


def drawn(plot, results, key):
    figure = figure_of([lambda axes: plot(axes, typed(results), key)], Room())
    return figure, figure.axes[0]


def test_each_kind_of_score_has_its_own_colours():
    kinds = [name for name in ("score", "baseline", "control", "oracle") for _ in range(6)]
    series = series_of([KnownScore(str(n), str(n), kind) for n, kind in enumerate(kinds)])
    hues = {kind: {one.variable for one in series if one.kind == kind} for kind in set(kinds)}
    assert [len(hues[kind]) for kind in ("score", "baseline", "control", "oracle")] == [6, 1, 1, 1]
    assert len(set.union(*hues.values())) == 9
    assert len({(one.variable, str(one.dash)) for one in series}) == len(series), "no two lines look the same"


def test_the_inline_svg_follows_the_page(run):
    figure, _ = drawn(plots.retention, run[0], "fid")
    text = inline_svg(figure, "plot-a")
    assert not [light for light, _ in PALETTE.values() if light in text]
    assert "var(--series-1)" in text and "<metadata" not in text and "font-family" not in text
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(set(ids)) == len(ids) and all(name.startswith("plot-a-") for name in ids)
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) <= set(ids)
    shown = {series.index for series in series_of(typed(run[0]).scores) if series.name != "random"}
    assert {int(index) for index in re.findall(r'data-series="(\d+)"', text)} == shown


def test_the_same_results_give_the_same_file(run):
    first, second = (svg(drawn(plots.bins, run[0], "recall")[0]) for _ in range(2))
    assert first == second


def test_drawing_leaves_the_settings_of_matplotlib_alone(run):
    before = dict(matplotlib.rcParams)
    png(drawn(plots.forest, run[0], "realism")[0])
    assert dict(matplotlib.rcParams) == before
