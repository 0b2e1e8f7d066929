"""A study's figures show what the table says, and the same file at any time."""

from __future__ import annotations

import re

import numpy as np
import pytest

from genuq.analysis.score_entries import Curve
from genuq.analysis.seeds import Reading, gain
from genuq.report.drawing.canvas import Room, figure_of
from genuq.report.drawing.style import pdf, svg
from genuq.report.study.figures import forest, study_figures
from support.made_table import AUROC, COLUMNS, ROWS, make_table


def curve(*gaps: float) -> Curve:
    """Values that lie `gaps` above random ones."""
    random = [8.0, 8.5, 9.5][: len(gaps)]
    fraction = [1.0, 0.75, 0.5][: len(gaps)]
    value = list(np.add(random, gaps))
    return Curve(fraction, value, value, value, random, random, random)


GAINS = {
    (ROWS[0], "pixel"): gain({"0": curve(0, -0.2, -0.6), "1": curve(0, -0.4, -0.8)}),
    (ROWS[2], "pixel"): gain({"0": curve(0, 0.1, 0.2)}),
}


def test_a_gain_is_the_mean_difference_from_random_over_seeds():
    found = GAINS[ROWS[0], "pixel"]
    assert found.fraction == (1.0, 0.75, 0.5)
    assert [entry.mean for entry in found.over_seeds] == pytest.approx([0, -0.3, -0.7])
    assert found.over_seeds[1].error == pytest.approx(0.1)


def test_curves_at_other_fractions_are_not_averaged():
    assert gain({"0": curve(0, 1, 2), "1": curve(0, 1)}) is None
    assert gain({}) is None


def drawn(table):
    (axes,) = figure_of([lambda axes: forest(axes, table, AUROC)], Room()).axes
    return axes


def test_every_estimate_is_a_dot_with_its_interval():
    axes = drawn(make_table())
    table = make_table()
    cells = [table.cell(row, column, AUROC) for column in COLUMNS for row in ROWS]
    there = [cell.estimate for cell in cells if cell.estimate]
    dots = [line.get_xdata()[0] for line in axes.lines if line.get_marker() != "None"]
    bars = [tuple(line.get_xdata()) for line in axes.lines if line.get_marker() == "None"]
    assert dots == pytest.approx([entry.mean for entry in there])
    assert bars == [(entry.low, entry.high) for entry in there]


def test_a_single_seed_is_hollow():
    axes = drawn(make_table())
    hollow = [line.get_xdata()[0] for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert hollow == [0.69]


def test_a_row_without_a_run_says_so_and_shows_no_number():
    axes = drawn(make_table({(ROWS[0], "pixel", AUROC.name): {"0": Reading(0.5)}}))
    assert [text.get_text() for text in axes.texts] == ["no number", "no number"]
    assert len(axes.lines) == 1


def test_there_is_a_figure_for_each_measure_and_each_metric_with_curves():
    found = study_figures(make_table(), {"fid": GAINS, "recall": {}})
    assert list(found) == ["figure-entropy-auroc", "figure-fid", "figure-retention-fid"]
    (axes,) = found["figure-retention-fid"].axes  # nothing of the column without curves
    labels = [text.get_text() for text in axes.texts]
    assert labels == ["ddpm · KFAC Laplace", "flow matching · KFAC Laplace"]
    lines = [list(line.get_ydata()) for line in axes.lines if len(line.get_ydata()) == 3]
    assert lines == [pytest.approx([0, -0.3, -0.7]), pytest.approx([0, 0.1, 0.2])]


def test_a_study_without_any_run_has_figures_that_say_so():
    found = study_figures(make_table({}), {})
    assert svg(found["figure-fid"]).count("no number") == 3
    assert "2 of 15 runs are missing" in svg(found["figure-fid"])


def test_files_are_the_same_at_any_time():
    for _, figure in study_figures(make_table(), {"fid": GAINS}).items():
        printed, drawn = pdf(figure), svg(figure)
        assert printed == pdf(figure) and drawn == svg(figure)
        assert not re.search(rb"/(CreationDate|ModDate)", printed)
        assert "dc:date" not in drawn
    again = study_figures(make_table(), {"fid": GAINS})["figure-retention-fid"]
    assert svg(again) == drawn
