"""The heads of the benchmark are as large as their names say."""

from __future__ import annotations

import pytest
import torch

from genuq.bench.cases import CASES, OUTPUTS, QUICK, Case


@pytest.mark.parametrize("case", [*CASES.values(), *QUICK.values()], ids=lambda case: case.name)
def test_a_case_is_called_after_its_channels(case):
    assert case.name in (str(case.channels[0]), "adm128") and case.inputs == 9 * case.channels[0] + 1
    assert case.head == f"3x3, {case.channels[0]} channels, 3x{case.size}x{case.size}"


def test_model_batch_and_features_fit_each_other_and_are_the_same_again():
    case = Case("tiny", (8, 8), 8, 2)
    model, batch = case.model(), case.batch()
    layer = model.head
    assert layer.weight[0].numel() + 1 == case.inputs and layer.weight.shape[0] == OUTPUTS
    assert all(bool(parameter.any()) for parameter in model.parameters() if parameter.ndim > 1)
    assert model(batch.x, batch.t, None).shape == batch.x.shape
    assert layer(case.features()).shape == (2, OUTPUTS, 8, 8)
    assert torch.equal(case.features(), case.features()) and torch.equal(case.batch().x, batch.x)
