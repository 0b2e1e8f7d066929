"""The plots: legible in both modes, labelled without overlap, silent about what is missing."""

import itertools
import re
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from scipy.optimize import minimize

from genuq.report.drawing.canvas import Room, figure_of, spread
from genuq.report.drawing.style import PALETTE, inline_svg, png, series_of, svg
from genuq.report.run import plots
from genuq.report.run.panels import FOREST, forest_room, lines_room
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


@pytest.mark.parametrize("seed", range(5))
def test_spread_is_the_least_movement_that_keeps_the_gap(seed):
    wanted = np.random.default_rng(seed).uniform(0, 40, 6)
    order = np.argsort(wanted)
    gaps = [{"type": "ineq", "fun": lambda y, a=a, b=b: y[b] - y[a] - 11} for a, b in itertools.pairwise(order)]
    start = np.empty(6)
    start[order] = 15.0 * np.arange(6)
    oracle = minimize(lambda y: np.sum((y - wanted) ** 2), start, constraints=gaps, method="SLSQP", tol=1e-12)
    np.testing.assert_allclose(spread(wanted, 11), oracle.x, atol=1e-4)


def test_spread_leaves_distant_positions_alone():
    np.testing.assert_array_equal(spread([50.0, 0.0, 20.0], 11), [50.0, 0.0, 20.0])
    assert spread([], 11).shape == (0,)


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


def test_a_score_of_another_posterior_is_labelled_by_it(run):
    results = run[0]
    results["scores"][1]["label"] = "Generative uncertainty: deep ensemble"
    _, axes = drawn(plots.retention, results, "fid")
    assert {"Generative uncertainty", "deep ensemble"} <= {text.get_text() for text in axes.texts}


def test_many_scores_get_room_for_their_labels(results):
    few = typed(results)
    many = replace(few, scores=few.scores[:1] * 20)
    assert 72 * lines_room(many).height >= 11 * 21 and forest_room(many).height >= 20 * 0.2
    assert len(few.scores) == 7 and lines_room(few) == Room() and forest_room(few) == FOREST


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


def test_a_curve_shows_its_values_and_labels(run):
    results, _, _ = run
    _, axes = drawn(plots.retention, results, "fid")
    line = next(line for line in axes.lines if line.get_gid() == "series-0" and len(line.get_xdata()) > 2)
    np.testing.assert_array_equal(line.get_ydata(), results["scores"][0]["curves"]["fid"]["value"])
    assert axes.get_xlim()[0] > axes.get_xlim()[1], "filtering goes from left to right"
    texts = {text.get_text() for text in axes.texts}
    assert {"Generative uncertainty", "Random, equal N", "lower is better"} <= texts
    assert "Random" not in texts, "the random score is the band"


def test_missing_points_are_left_out(run):
    results = run[0]
    results["scores"][0]["curves"]["fid"]["value"][3] = None
    results["scores"][1]["curves"]["fid"]["value"] = [None] * 11
    del results["scores"][2]["curves"]["fid"]
    _, axes = drawn(plots.retention, results, "fid")
    lines = {line.get_gid(): line for line in axes.lines if len(line.get_xdata()) > 2}
    assert len(lines["series-0"].get_ydata()) == 10
    assert "series-1" not in lines and "series-2" not in lines and "series-4" in lines


def test_a_name_with_dollars_is_not_mathematics(run):
    results = run[0]
    results["scores"][0]["label"] = "$\\frac{1}{0$ <b>"
    text = svg(drawn(plots.retention, results, "fid")[0])
    assert "$\\frac{1}{0$ &lt;b&gt;" in text


def test_forest_panels_share_one_range(run):
    limits = {drawn(plots.forest, run[0], target)[1].get_xlim() for target in plots.targets_in(typed(run[0]))}
    assert len(limits) == 1


def test_captions_name_extractor_k_and_n(run):
    text = plots.provenance(typed(run[0]))
    assert "fashion_mnist_classifier" in text and "k = 5" in text and "N = 64" in text
    assert plots.provenance(typed(run[0] | {"judge": None})) == ""


def test_a_curve_is_also_told_in_words(run):
    results, _, _ = run
    curve = results["scores"][0]["curves"]["fid"]
    text = plots.describe_retention(typed(results), "fid")
    assert f"{curve['value'][0]:.1f}" in text and f"{curve['random_value'][-1]:.1f}" in text
