"""The figure of what a score's settings find and cost, and the pilot in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from genuq.analysis.evaluation_entries import PilotEntry, SettingEntry
from genuq.analysis.results import Results
from genuq.analysis.score_entries import IntervalRow
from genuq.report.drawing.canvas import figure_of
from genuq.report.run import frontier, panels
from genuq.report.run.page import Samples, render_page
from support.made_run import typed

COSTS = (1.1, 1.2, 1.2, 1.5)
VALUES = (0.6, 0.9, 0.8, 1.0)
SETTINGS = [
    SettingEntry({"points": [0.3], "members": n + 1}, cost, 0.01, IntervalRow(value, value - 0.1, value), changed=0.1)
    for n, (cost, value) in enumerate(zip(COSTS, VALUES))
]
PILOT = PilotEntry("path_disagreement", 64, 1.25, None, None, 0.75, 0.1, SETTINGS[1], 0.88, None, None, SETTINGS)


@pytest.fixture
def piloted(run) -> Results:
    return replace(typed(run[0]), pilot=PILOT)


def test_dots_line_and_ring_stand_where_the_settings_do(piloted: Results) -> None:
    figure = figure_of([lambda axes: frontier.frontier(axes, piloted, "spearman")], panels.COSTS)
    dots, line, *_, ring = figure.axes[0].lines
    np.testing.assert_array_equal(dots.get_xydata(), list(zip(COSTS, VALUES)))
    np.testing.assert_array_equal(line.get_xydata(), [(1.1, 0.6), (1.2, 0.9), (1.5, 1.0)])
    np.testing.assert_array_equal(ring.get_xydata(), [(1.2, 0.9)])


def test_a_runs_own_settings_come_before_those_of_a_pilot(piloted: Results) -> None:
    known = [replace(entry, auroc=IntervalRow(0.7, 0.6, 0.8)) for entry in SETTINGS]
    assert frontier.measures_in(piloted) == ["spearman"]
    assert frontier.measures_in(replace(piloted, frontier=known)) == ["auroc", "spearman"]
    assert frontier.rows_in(piloted) == [SETTINGS[0], SETTINGS[1], SETTINGS[3]]
    assert "points 0.3; members 1: 0.600 at 1.1; and points 0.3; members 4" in frontier.describe(piloted, "spearman")


def test_the_pilot_in_words_says_how_far_it_can_be_trusted() -> None:
    told = frontier.pilot_words(PILOT)
    assert "64 samples chose points 0.3; members 2 among 4 settings under a budget of 1.25" in told
    assert "costs 1.2 times" in told and "0.900 [0.800, 0.900], 0.880 where one half" in told
    stopped = replace(PILOT, budget=None, stop="decision", tolerance=0.1, held_out=None, bound=0.089, stable=True)
    told = frontier.pilot_words(stopped)
    assert "budget" not in told and "decisions to keep 75% of the samples that differ is at most 0.089" in told
    assert "may be more than 0.1" in frontier.pilot_words(replace(stopped, stop="ranking", bound=None, stable=False))


def test_the_page_has_the_figure_and_only_where_there_is_something_to_show(run, piloted: Results) -> None:
    _, images, draws = run
    samples = Samples(np.asarray(images), np.asarray(draws))
    page = render_page(piloted, samples)
    assert 'id="costs"' in page and "A pilot of 64 samples" in page and "Spearman with the full score" in page
    own = replace(piloted, pilot=None, frontier=SETTINGS)  # too few bad samples are known for an AUROC
    assert 'id="costs"' in (page := render_page(own, samples)) and '<th scope="col">Cross-fitted AUROC' not in page
    plain = typed(run[0])
    assert 'id="costs"' not in render_page(plain, samples) and panels.costs(plain) == []
    assert frontier.rows_in(plain) == []
