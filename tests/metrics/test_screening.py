"""Distances screened in float32 decide as those in float64 do: the plain tiles are the slow twin."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genuq.metrics import membership, precision_recall, rarity, realism, screening
from genuq.metrics.distances import nearest_squared, open_ball, squared_distances, tiles
from genuq.metrics.screening import SPARE, can_screen, kth_squared, pair_squared, screened_tiles

DIGITS = {"near pairs": 1e-5, "far from the origin": 1e-7}  # which the products of the slow twin keep of differences
TILES = 2**15  # bytes: tiles of some twenty rows


def normal(count: int, dimension: int, seed: int, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def lattice(count: int, seed: int) -> torch.Tensor:
    """Most distances are exact ties and many points coincide, so that float32 leaves nearly all of them open."""
    found = torch.randint(0, 3, (count, 3), generator=torch.Generator().manual_seed(seed)).double()
    return torch.nn.functional.pad(found, (0, 61))


def clusters(count: int, seed: int) -> torch.Tensor:
    """Points nearer to each other, beside their norms, than float32 can tell."""
    return normal(count, 64, seed, torch.float64) * 1e-5 + normal(4, 64, 9, torch.float64)[torch.arange(count) % 4]


SETS = {
    "float32": (normal(150, 70, 0), normal(130, 70, 1)),
    "float64": (normal(120, 64, 2, torch.float64), 1.1 * normal(90, 64, 3, torch.float64)),
    "far from the origin": (normal(80, 64, 4, torch.float64) + 300, normal(90, 64, 5, torch.float64) + 300.2),
    "ties and duplicates": (lattice(130, 6), lattice(100, 7)),
    "near pairs": (clusters(120, 8), clusters(110, 10)),
    "copies": (normal(90, 64, 11), torch.cat([normal(90, 64, 11)[:30], normal(20, 64, 12)])),
    "tiny and large": (torch.cat([normal(60, 64, 13) * 1e-12, normal(60, 64, 14)]), normal(90, 64, 15)),
    "all the same": (torch.ones(20, 64), torch.ones(30, 64)),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("k", [1, 5])
def test_the_kth_neighbour_is_that_of_float64(name, k):
    for features in SETS[name]:
        expected = nearest_squared(features, k)[:, -1]
        scale = features.double().square().sum(1).max()  # what the products of the slow twin lose digits of
        for memory_bytes in (TILES, 2**26):
            torch.testing.assert_close(kth_squared(features, k, memory_bytes), expected, rtol=1e-9, atol=1e-14 * scale)


def test_neighbours_beyond_those_kept_are_found():
    """Far more near ties than are kept, and fewer samples than would be."""
    features = torch.cat([clusters(200, 20), lattice(40, 21)])
    for part in (features, features[: SPARE // 2]):
        expected = nearest_squared(part, 3)[:, -1]
        torch.testing.assert_close(kth_squared(part, 3, TILES), expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("name", SETS)
def test_the_pairs_within_are_those_of_float64(name):
    real, fake = SETS[name]
    limits_R, limits_N = (open_ball(nearest_squared(part, 4)[:, -1]) for part in (real, fake))
    squared = squared_distances(real, fake)
    by_row, by_column = (torch.zeros(squared.shape, dtype=torch.bool) for _ in range(2))
    for tile in screened_tiles(real, fake, TILES):
        row, column = tile.within_rows(limits_R[tile.rows])
        by_row[tile.rows.start + row, tile.columns.start + column] = True
        row, column = tile.within_columns(limits_N[tile.columns])
        by_column[tile.rows.start + row, tile.columns.start + column] = True
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
