"""Points of any dimension in the plane."""

from __future__ import annotations

import numpy as np
import pytest

from genuq.report.drawing.plane import in_plane, plane_words


@pytest.mark.parametrize("shape", [(5, 2), (5, 3, 2), (5, 8), (5, 0, 8)])
def test_the_first_two_coordinates(shape):
    points = np.random.default_rng(0).normal(size=shape)
    assert (in_plane(points) == points[..., :2]).all() and in_plane(points).shape == (*shape[:-1], 2)


def test_a_line_lies_in_the_plane():
    assert in_plane(np.array([[1.0], [2.0]])).tolist() == [[1, 0], [2, 0]]


def test_what_is_not_shown_is_said():
    assert plane_words(2) == "" and "two of 8" in plane_words(8)
