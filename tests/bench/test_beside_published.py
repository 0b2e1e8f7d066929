"""Both sides of the whole job do the same: the same evaluations, and the same curvature."""

from __future__ import annotations

import pytest
import torch

from genuq.bench import beside_published
from genuq.bench.beside_published import DRAWS, STATES, Comparison, Size
from genuq.bench.published import LAPLACE_DIFFUSERS
from genuq.extractors import Pixels
from genuq.models import GenerativeModel
from genuq.networks import UNet
from genuq.posteriors.fitting.regression import RegressionBatch

SHAPE = (1, 8, 8)
SIZE = Size(images=6, samples=4, maps=2, steps=2, rounds=1)


def test_every_part_has_both_sides():
    pytest.importorskip("laplace")
    torch.manual_seed(0)
    model = GenerativeModel(UNet(SHAPE, (4, 8)), SHAPE).eval()
    torch.nn.init.normal_(model.head.weight, std=0.1)
    rows = torch.arange(6)
    batch = RegressionBatch(torch.randn(6, *SHAPE), torch.rand(6), None, torch.randn(6, *SHAPE), rows, 0 * rows)
    fit, our_fit, score, our_score, maps, recursion, default = Comparison(model, [batch], SIZE, Pixels(SHAPE)).rows()
    assert our_fit.values["mean curvature"] == pytest.approx(fit.values["mean curvature"], rel=1e-4)
    assert score.evaluations == our_score.evaluations == 4 * 2 * (1 + DRAWS)
    assert maps.evaluations == 2 * 2 * (1 + STATES) and (default.evaluations or 0) < (recursion.evaluations or 0)
    assert {row.side for row in (fit, score, maps)} == {LAPLACE_DIFFUSERS}
    assert all(row.ratio and row.over == LAPLACE_DIFFUSERS for row in (our_fit, our_score, recursion, default))


def test_without_the_libraries_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(beside_published, "find_spec", lambda name: None)
    found = beside_published.rows(SIZE)
    assert len(found) == 3 and all("genuq[peers]" in (row.reason or "") and row.ratio is None for row in found)
