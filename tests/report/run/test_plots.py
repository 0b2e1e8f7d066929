"""The plots: legible in both modes, labelled without overlap, silent about what is missing."""

import numpy as np

from genuq.report.drawing.canvas import Room, figure_of
from genuq.report.drawing.style import svg
from genuq.report.run import plots
from support.made_run import typed


def drawn(plot, results, key):
    figure = figure_of([lambda axes: plot(axes, typed(results), key)], Room())
    return figure, figure.axes[0]


def test_a_score_of_another_posterior_is_labelled_by_it(run):
    results = run[0]
    results["scores"][1]["label"] = "Generative uncertainty: deep ensemble"
    _, axes = drawn(plots.retention, results, "fid")
    assert {"Generative uncertainty", "deep ensemble"} <= {text.get_text() for text in axes.texts}


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
