"""Ranks under weights, against scipy's of the samples repeated by their weights."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from genuq.analysis.ranks import Groups, average_ranks

VALUES = np.array([2.0, -1.0, 2.0, 5.0, np.inf, -1.0, 0.0])
WEIGHTS = np.array([[1, 1, 1, 1, 1, 1, 1], [2, 0, 1, 3, 0, 1, 0], [0, 4, 0, 0, 2, 0, 1]], dtype=float)


def test_midranks_are_those_of_repeated_samples():
    found = Groups(VALUES).midranks(WEIGHTS)
    for ranks, weights in zip(found, WEIGHTS.astype(int)):
        wanted = rankdata(np.repeat(VALUES, weights))
        assert np.array_equal(np.repeat(ranks, weights), wanted)


def test_totals_are_sums_over_equal_values_in_ascending_order():
    amounts = np.arange(7.0)[None]
    assert Groups(VALUES).totals(amounts).tolist() == [[amounts[0, v == VALUES].sum() for v in np.unique(VALUES)]]


def test_centred_amounts_have_weighted_mean_zero_in_every_group():
    amounts = np.random.default_rng(0).normal(size=(3, 7))
    centred = Groups(VALUES).centre(amounts, WEIGHTS)
    for value in np.unique(VALUES):
        rows = value == VALUES
        for amount, one, weights in zip(amounts, centred, WEIGHTS):
            if weights[rows].sum():
                np.testing.assert_allclose(one[rows], amount[rows] - np.average(amount[rows], weights=weights[rows]))


@pytest.mark.parametrize("shape", [(1,), (9,), (3, 40), (2, 3, 25), (0,), (2, 0)])
@pytest.mark.parametrize("values", [3, 10_000])  # many ties, and few
def test_ranks_are_scipys(shape, values):
    drawn = np.random.default_rng(0).integers(0, values, shape).astype(float)
    assert np.array_equal(average_ranks(drawn), rankdata(drawn, axis=-1))


def test_a_row_without_a_number_has_no_ranks():
    rows = np.array([[1.0, np.nan, 2.0], [5.0, -np.inf, 5.0]])
    assert np.array_equal(average_ranks(rows), rankdata(rows, axis=-1), equal_nan=True)
