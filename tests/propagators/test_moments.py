"""Moments of linear combinations against dense matrices."""

from __future__ import annotations

import pytest
import torch

from genuq.propagators.moments import Moments
from genuq.solvers import Heun
from support.toy_runs import random_model


def test_moments_are_those_of_the_linear_combinations():
    """Heun's two stages by hand: every quantity as a combination of three independent sources."""
    to_end, correct = Heun().stages(random_model().process, "flow", [0.8, 0.6])
    moments = Moments(torch.Size([1, 1]), 2, torch.device("cpu"))
    moments.matrix += 4.0
    slopes, rests = (0.7, -0.4), (0.5, 0.3)
    x = torch.tensor([2.0, 0, 0], dtype=torch.float64)
    f = slopes[0] * x + torch.tensor([0, rests[0] ** 0.5, 0], dtype=torch.float64)
    y = to_end.x[0] * x + to_end.f[0] * f
    g = slopes[1] * y + torch.tensor([0, 0, rests[1] ** 0.5], dtype=torch.float64)
    z = correct.x[0] * y + correct.x[1] * x + correct.f[0] * g + correct.f[1] * f
    for stage, slope, rest, expected in zip((to_end, correct), slopes, rests, (y, z)):
        moments.evaluate(torch.full((1, 1), slope, dtype=torch.float64), torch.full((1, 1), rest, dtype=torch.float64))
        moments.step(stage, noise=0.0)
        assert float(moments.variance) == pytest.approx(float(expected @ expected), rel=1e-12)
    before = float(moments.variance)
    moments.step(to_end.__class__(0.6, 0.5, (1.0,), (0.0,)), noise=0.5)
    assert float(moments.variance) == pytest.approx(before + 0.25)
