"""Columns as they come in: types, lengths, classes, NaN."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genuq.analysis.inputs import class_column, column
from genuq.errors import DataError, NonFiniteError


@pytest.mark.parametrize("values", [[1, 2], (1.0, 2.0), np.array([1, 2]), torch.tensor([1.0, 2.0], requires_grad=True)])
def test_all_kinds_of_numbers_are_one_kind(values):
    found = column(values, "score")
    assert found.dtype == np.float64 and found.tolist() == [1.0, 2.0]


def test_infinities_have_a_rank_and_nan_has_none():
    assert column([np.inf, -np.inf], "score").tolist() == [np.inf, -np.inf]
    with pytest.raises(NonFiniteError, match="'score' is NaN for 2 of 3 samples"):
        column([np.nan, 1.0, np.nan], "score")


def test_another_shape_or_count_is_named():
    with pytest.raises(DataError, match=r"'score' must be one number per sample, not of shape \(2, 1\)"):
        column([[1], [2]], "score")
    with pytest.raises(DataError, match=r"one number for each of 3 samples, not of shape \(2,\)"):
        column([1, 2], "score", 3)


def test_classes_are_numbered_in_their_order():
    assert class_column(torch.tensor([7, 3, 7, 5]), 4).tolist() == [2, 0, 2, 1]
