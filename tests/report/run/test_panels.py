"""Panels of the page: room for what stands in them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from matplotlib.backends.backend_agg import FigureCanvasAgg

from genuq.report.drawing.canvas import Room, figure_of
from genuq.report.run import plots
from genuq.report.run.panels import FOREST, forest_room, lines_room
from support.made_run import typed


def test_many_scores_get_room_for_their_labels(results):
    few = typed(results)
    many = replace(few, scores=few.scores[:1] * 20)
    assert 72 * lines_room(many).height >= 11 * 21 and forest_room(many).height >= 20 * 0.2
    assert len(few.scores) == 7 and lines_room(few) == Room() and forest_room(few) == FOREST


def test_a_long_name_of_a_row_begins_inside_the_figure(results):
    found = typed(results)
    long = replace(found.scores[0], label="Re-noised disagreement of isotropic noise")
    found = replace(found, scores=[long, *found.scores[1:]])
    figure = figure_of([partial(plots.forest, results=found, target=plots.targets_in(found)[0])], forest_room(found))
    FigureCanvasAgg(figure).draw()
    names = figure.axes[0].get_yticklabels()
    assert names[0].get_text() == "Re-noised disagreement o…"
    assert all(name.get_window_extent().x0 > 0 for name in names)
