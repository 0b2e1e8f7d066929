"""Posteriors that hold out no images are told how their network is read, too."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genuq.data import as_dataset
from genuq.models import GenerativeModel
from genuq.posteriors import DoubtfulFitWarning
from genuq.posteriors.fitting.doubts import UNREAD, read
from genuq.training.ensembles import finetune_ensemble


class Ideal(nn.Module):
    """E[noise - x_0 | x_t] of standard normal points on the straight path."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2, bias=False)
        nn.init.eye_(self.head.weight)

    def forward(self, x: torch.Tensor, t_B: torch.Tensor, y_B: object) -> torch.Tensor:
        t = t_B[:, None]
        return self.head(x * (2 * t - 1) / (t**2 + (1 - t) ** 2))


POINTS = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))


def test_a_right_reading_is_not_doubted_and_a_wrong_one_is_named() -> None:
    reading, doubts = read(GenerativeModel(Ideal(), (2,)), as_dataset(POINTS))
    assert reading is not None and not doubts
    _, (doubt,) = read(GenerativeModel(Ideal(), (2,), prediction="minus_flow"), as_dataset(POINTS))
    assert "do not fit what it is read to predict: the slope of the targets over the answers is -1" in doubt


def test_an_ensemble_notices_it_before_its_members_are_made() -> None:
    model = GenerativeModel(Ideal(), (2,), prediction="minus_flow")
    with pytest.warns(DoubtfulFitWarning, match="do not fit what it is read to predict"):
        finetune_ensemble(model, POINTS, members=2, steps=1, batch_size=2)


def test_few_images_judge_nothing_and_that_is_said() -> None:
    reading, doubts = read(GenerativeModel(Ideal(), (2,), prediction="minus_flow"), as_dataset(POINTS[:15]))
    assert reading is None and not doubts
    assert "is not checked" in UNREAD and "16 images" in UNREAD
