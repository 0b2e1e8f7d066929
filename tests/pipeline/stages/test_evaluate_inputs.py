"""What an evaluation reads off its run: where evaluations are charged, and which encoder scores."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from genuq.pipeline.columns import SPENT
from genuq.pipeline.stages.evaluate_inputs import Column, cost_of, encoder_name


def test_a_score_costs_what_was_counted_under_its_draws():
    column = Column("Entropy", "score", charged_to="laplace")
    samples = {f"{SPENT}laplace": torch.tensor([100.0, 200.0])}
    assert cost_of(SimpleNamespace(propagate=None), column, samples) == 150.0


def test_pixels_and_points_have_no_encoder():
    assert encoder_name(SimpleNamespace()) is None
    assert encoder_name(SimpleNamespace(extractor=SimpleNamespace(name="clip"))) == "clip"
