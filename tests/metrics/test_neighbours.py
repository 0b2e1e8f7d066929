"""Neighbours found by way of float32 are those of all distances in float64: the plain tiles are the slow twin."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genuq.metrics import neighbours
from genuq.metrics.distances import nearest_squared, open_ball, squared_distances
from genuq.metrics.neighbours import SPARE, fellows_of, kth_squared, nearest_others, screened_others
from support.hard_features import SETS, TILES, clusters, lattice, normal


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
@pytest.mark.parametrize("count", [1, 7])
def test_the_nearest_others_are_those_of_float64(name, count):
    """Ties may be in any order, so that what is compared is how far the samples are that were named."""
    for features in SETS[name]:
        expected = nearest_squared(features, count)
        close = {"rtol": 1e-9, "atol": 1e-14 * float(features.double().square().sum(1).max())}
        for memory_bytes in (TILES, 2**26):
            squared_NJ, index_NJ = screened_others(features, count, memory_bytes)
            torch.testing.assert_close(squared_NJ, expected, **close)
            named = squared_distances(features, features).gather(1, index_NJ.long())
            torch.testing.assert_close(named, expected, **close)
            assert bool((index_NJ != torch.arange(len(features))[:, None]).all())
            assert all(len(set(row)) == count for row in index_NJ.tolist())


def test_others_beyond_those_kept_are_found():
    """Far more near ties than are kept; and few samples, of which all are."""
    features = torch.cat([clusters(200, 20), lattice(40, 21)])
    for part, count in ((features, 3), (features[:9], 8)):
        squared_NJ, _ = screened_others(part, count, TILES)
        torch.testing.assert_close(squared_NJ, nearest_squared(part, count), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("worth", [1, 10**6])
def test_either_way_is_taken(worth, monkeypatch):
    features = normal(90, 64, 70)
    monkeypatch.setattr(neighbours, "WORTH", worth)
    squared_NJ, index_NJ = nearest_others(features, 5, TILES)
    torch.testing.assert_close(squared_NJ, nearest_squared(features, 5))
    named = (features[:, None] - features[index_NJ.long()]).double().square().sum(2)
    torch.testing.assert_close(named, squared_NJ, rtol=1e-5, atol=0)


@pytest.mark.parametrize("dimension", [3, 64])  # plain tiles, and screened ones
@pytest.mark.parametrize("memory_bytes", [TILES, 2**26])
def test_the_reals_among_a_samples_fellows_are_all_that_are_as_near(dimension, memory_bytes):
    real, fake = normal(70, dimension, 72), normal(50, dimension, 71)
    real[:4] = fake[:4]
    found = fellows_of(real, fake, 9, memory_bytes)
    squared_NJ, index_NJ = nearest_others(fake, 9, memory_bytes)
    assert torch.equal(found.squared_NJ, squared_NJ) and torch.equal(found.index_NJ, index_NJ)
    seen = torch.full((50, 70), np.inf, dtype=torch.float64)
    pairs = 0
    for start, (place_P, real_P, squared_P) in found.bands():
        seen[start + place_P, real_P] = torch.from_numpy(squared_P)
        pairs += len(squared_P)
    expected = squared_distances(fake, real)
    within = expected < open_ball(squared_NJ[:, -1:])
    assert torch.equal(seen.isfinite(), within) and pairs == within.sum() > 100
    torch.testing.assert_close(seen[within], expected[within], rtol=1e-12, atol=0)
