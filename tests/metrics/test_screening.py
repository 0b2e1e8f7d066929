"""Distances screened in float32 decide as those in float64 do: the plain tiles are the slow twin."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genuq.metrics import membership, precision_recall, rarity, realism, screening
from genuq.metrics.distances import nearest_squared, open_ball, squared_distances, tiles
from genuq.metrics.screening import can_screen, pair_squared, screened_tiles
from support.hard_features import SETS, TILES, normal

DIGITS = {"near pairs": 1e-5, "far from the origin": 1e-7}  # which the products of the slow twin keep of differences


@pytest.mark.parametrize("name", SETS)
def test_the_pairs_within_are_those_of_float64(name):
    real, fake = SETS[name]
    limits_R, limits_N = (open_ball(nearest_squared(part, 4)[:, -1]) for part in (real, fake))
    squared = squared_distances(real, fake)
    by_row, by_column, by_measure = (torch.zeros(squared.shape, dtype=torch.bool) for _ in range(3))
    for tile in screened_tiles(real, fake, TILES):
        row, column = tile.within_rows(limits_R[tile.rows])
        by_row[tile.rows.start + row, tile.columns.start + column] = True
        row, column = tile.within_columns(limits_N[tile.columns])
        by_column[tile.rows.start + row, tile.columns.start + column] = True
        row, column, measured = tile.measured_within_columns(limits_N[tile.columns])
        exact = pair_squared(real, tile.rows.start + row, fake, tile.columns.start + column)
        np.testing.assert_allclose(measured, exact, rtol=1e-7, atol=1e-13)
        by_measure[tile.rows.start + row, tile.columns.start + column] = True
    assert torch.equal(by_measure, by_column)
    assert torch.equal(by_row, squared < limits_R[:, None])
    assert torch.equal(by_column, squared < limits_N[None])


@pytest.mark.parametrize("name", SETS)
def test_the_metrics_are_those_of_the_plain_tiles(name, monkeypatch):
    real, fake = SETS[name]
    assert can_screen(real)
    fast = [metric(real, fake, 4, memory_bytes=TILES) for metric in (precision_recall, membership, realism, rarity)]
    monkeypatch.setattr(screening, "LEAST_DIMENSION", 10_000)
    slow = [metric(real, fake, 4, memory_bytes=TILES) for metric in (precision_recall, membership, realism, rarity)]
    assert fast[0] == slow[0]
    for found, expected in zip(fast[1:], slow[1:], strict=True):
        np.testing.assert_allclose(found, expected, rtol=DIGITS.get(name, 1e-9))


def test_the_bound_holds_and_is_no_wider_than_needed():
    """Oracle: differences in float64."""
    real, fake = normal(200, 2048, 30), normal(200, 2048, 31)
    (tile,) = screened_tiles(real, fake)
    row, column = (part.ravel() for part in np.indices(tile.squared.shape))
    exact = pair_squared(real, row, fake, column).reshape(tile.squared.shape) / tile.unit
    bound = tile.left_error[:, None] + tile.right_error[None]
    assert (np.abs(tile.squared - exact) <= bound).all()
    assert bound.max() < 3e-4 * exact.min()  # the spacing of the nearest neighbours is several times that


def test_few_dimensions_are_not_screened():
    features = normal(10, 64, 40)
    assert can_screen(features) and not can_screen(features[:, :16])


def test_plain_tiles_see_each_pair_once():
    real, fake = normal(50, 5, 50), normal(40, 5, 51)
    seen = torch.zeros(50, 40)
    for tile in tiles(real, fake, 1):
        seen[tile.rows, tile.columns] += 1
    assert bool((seen == 1).all())
