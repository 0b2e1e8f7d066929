"""Where panels and labels go: the least movement that keeps labels apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize

from genuq.report.drawing.canvas import spread


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
