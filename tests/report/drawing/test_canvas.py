"""Where panels and labels go: the least movement that keeps labels apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy.optimize import minimize

from genuq.report.drawing.canvas import EndLabel, Room, figure_of, label_ends, spread


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


def test_a_bold_label_of_as_many_characters_as_fit_ends_inside_the_figure() -> None:
    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1])
        label_ends(axes, [EndLabel(1, 1, "Re-noised disagreement of isotropic noise", "k", True, None)], x=11)

    figure = figure_of([draw], Room())
    FigureCanvasAgg(figure).draw()
    (text,) = figure.axes[0].texts
    assert text.get_text().endswith("…") and text.get_window_extent().x1 < figure.bbox.x1
