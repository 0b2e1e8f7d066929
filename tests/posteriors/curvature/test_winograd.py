"""Sums of squares from transformed tiles against plain convolutions, their slow twin, and against unfolded patches."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genuq.posteriors.curvature import winograd
from genuq.posteriors.curvature.head import ConvHead, Head, head_of
from support.posterior_oracles import relative_error

CASES = {
    "3x3": (lambda: nn.Conv2d(17, 2, 3, padding=1), (16, 16)),
    "3x3, no bias, sides that tiles do not fill": (lambda: nn.Conv2d(5, 2, 3, padding=1, bias=False), (19, 14)),
    "3x3, valid": (lambda: nn.Conv2d(4, 2, 3), (18, 30)),
    "3x3, padded by 2 and 0": (lambda: nn.Conv2d(4, 2, 3, padding=(2, 0)), (14, 34)),
}


@pytest.fixture(params=CASES, name="setting")
def setting_of(request):
    """(geometry, features, random matrix), of which tiles take less work."""
    torch.manual_seed(0)
    make, size = CASES[request.param]
    head, features = head_of(make()), F.silu(torch.randn(3, make().in_channels, *size))
    assert isinstance(head, ConvHead) and winograd.saves((3, *head._window(features.shape[2:])))
    return head, features, torch.randn(head.inputs, head.inputs, dtype=torch.float64)


@pytest.mark.parametrize("rows_at_once", [7, 1000])
def test_triangles_in_double_precision(setting, rows_at_once, monkeypatch):
    head, features, matrix = setting
    monkeypatch.setattr("genuq.posteriors.curvature.head.ROWS_AT_ONCE", rows_at_once)
    found = head.square_sums(features.double(), matrix.tril())
    assert found.dtype == torch.float64
    assert relative_error(found, Head._square_sums(head, features.double(), matrix.tril(), None)) < 1e-13


@pytest.mark.parametrize("values_at_once", [1, 20_000])
def test_weighted_sums_of_all_rows(setting, values_at_once, monkeypatch):
    head, features, matrix = setting
    monkeypatch.setitem(winograd.VALUES_AT_ONCE, "cpu", values_at_once)
    weights = torch.rand(3, head.inputs, dtype=torch.float64)
    found = head.square_sums(features.double(), matrix, weights)
    assert relative_error(found, Head._square_sums(head, features.double(), matrix, weights)) < 1e-13
    a_BKP = F.unfold(features.double(), 3, padding=head.layer.padding)
    a_BKP = F.pad(a_BKP, (0, 0, 0, 1), value=1.0) if head.bias else a_BKP
    assert relative_error(found.flatten(2), weights @ (matrix @ a_BKP).square()) < 1e-13


def test_single_precision_loses_no_more_than_plain_convolutions(setting):
    head, features, matrix = setting
    factor = torch.linalg.cholesky(head.gram(features) + torch.eye(head.inputs))
    matrix = torch.linalg.inv(factor).tril()
    exact = head.square_sums(features.double(), matrix)
    errors = (head.square_sums(features, matrix) / exact - 1).abs()
    plain = (Head._square_sums(head, features, matrix, None) / exact - 1).abs()
    assert errors.max() < 2e-6 and errors.mean() < 4 * plain.mean()


@pytest.mark.parametrize("positions", [(1, 8, 8), (100, 1, 20), (1000, 2, 3)])
def test_few_positions_or_thin_maps_are_left_to_plain_convolutions(positions):
    assert not winograd.saves(positions)
