"""Panels of the page: room for what stands in them."""

from __future__ import annotations

from dataclasses import replace

from genuq.report.drawing.canvas import Room
from genuq.report.run.panels import FOREST, forest_room, lines_room
from support.made_run import typed


def test_many_scores_get_room_for_their_labels(results):
    few = typed(results)
    many = replace(few, scores=few.scores[:1] * 20)
    assert 72 * lines_room(many).height >= 11 * 21 and forest_room(many).height >= 20 * 0.2
    assert len(few.scores) == 7 and lines_room(few) == Room() and forest_room(few) == FOREST
