"""Manifold metrics against prdc, and against loops that read like the papers' definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from prdc import compute_prdc

from genuq.errors import ConfigurationError, DataError, NonFiniteError
from genuq.metrics import knn_radii, membership, neighbourhood, precision_recall, rarity, realism
from genuq.metrics.neighbours import fellows_of


def gaussian(count: int, dimension: int, seed: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dimension)) * scale


def lattice(count: int, seed: int) -> np.ndarray:
    """Integer points: most distances are exact ties, and many points coincide."""
    return np.random.default_rng(seed).integers(0, 4, size=(count, 3)).astype(np.float64)


PAIRS = {
    "gaussian": (gaussian(150, 6, 0), gaussian(120, 6, 1, scale=1.2)),
    "float32": (gaussian(100, 9, 2).astype(np.float32), gaussian(110, 9, 3).astype(np.float32)),
    "far from the origin": (gaussian(90, 4, 4) + 300, gaussian(90, 4, 5) + 300.5),
    "ties and duplicates": (lattice(120, 6), lattice(100, 7)),
    "disjoint": (gaussian(40, 5, 8), gaussian(40, 5, 9) + 100),
    "fakes among copies of reals": (
        gaussian(60, 5, 10),
        np.concatenate([gaussian(60, 5, 10)[:20], gaussian(30, 5, 11)]),
    ),
}


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("name", PAIRS)
def test_agrees_with_prdc(name, k):
    real, fake = PAIRS[name]
    expected = compute_prdc(real.astype(np.float64), fake.astype(np.float64), k)
    assert precision_recall(real, fake, k)._asdict() == pytest.approx(expected, abs=1e-6)


def loop_radii(points, k):
    return [sorted(math.dist(p, q) for j, q in enumerate(points) if j != i)[k - 1] for i, p in enumerate(points)]


def test_radii_agree_with_a_loop_also_with_duplicates():
    for points in (gaussian(40, 3, 12), lattice(40, 13)):
        np.testing.assert_allclose(knn_radii(points, 2), loop_radii(points, 2), atol=1e-9)


def test_realism_agrees_with_the_definition():
    real, fake = gaussian(31, 3, 14), gaussian(25, 3, 15, scale=1.5)
    radii = np.array(loop_radii(real, 3))
    small = np.argsort(radii)[:16]  # 31 balls: the median and those below it stay
    for kept, prune in ((small, True), (range(31), False)):
        expected = [max(radii[i] / math.dist(real[i], point) for i in kept) for point in fake]
        np.testing.assert_allclose(realism(real, fake, 3, prune=prune), expected, rtol=1e-9)


def test_rarity_agrees_with_the_definition():
    real, fake = gaussian(40, 2, 16), gaussian(60, 2, 17, scale=2.0)
    radii = loop_radii(real, 3)
    expected = []
    for point in fake:
        holding = [radius for centre, radius in zip(real, radii) if math.dist(centre, point) < radius]
        expected.append(min(holding) if holding else math.nan)
    assert 0 < np.isnan(expected).sum() < 60
    np.testing.assert_allclose(rarity(real, fake, 3), expected, rtol=1e-9)


def test_the_three_views_of_the_manifold_agree():
    """Inside a ball <=> unpruned realism above 1 <=> rarity defined, and their mean is precision."""
    real, fake = gaussian(200, 4, 18), gaussian(150, 4, 19, scale=1.5)
    member = membership(real, fake, 4)
    assert torch.equal(member, realism(real, fake, 4, prune=False) > 1)
    assert torch.equal(member, ~rarity(real, fake, 4).isnan())
    assert float(member.double().mean()) == pytest.approx(precision_recall(real, fake, 4).precision)


def test_a_copy_of_a_real_sample_is_infinitely_real():
    real = gaussian(30, 5, 20).astype(np.float32)
    found = realism(real, real[:3], 3, prune=False)
    assert bool(found.isinf().all())
    assert bool(membership(real, real, 3).all())


def test_a_distance_equal_to_the_radius_is_outside():
    """On copies every ball's edge is a fake: rounding must not let it in, whatever tile it was computed in."""
    real = gaussian(64, 7, 21)
    for memory_bytes in (1, 2**26):
        found = precision_recall(real, real, 4, memory_bytes=memory_bytes)
        assert found == (1.0, 1.0, 1.0, 1.0)  # density: itself and the 3 neighbours nearer than the fourth, of k = 4


@pytest.mark.parametrize("memory_bytes", [1, 2**14, 2**17])
def test_tile_size_does_not_matter(memory_bytes):
    real, fake = PAIRS["gaussian"]
    assert precision_recall(real, fake, 5, memory_bytes=memory_bytes) == precision_recall(real, fake, 5)
    for metric in (realism, rarity, membership):
        np.testing.assert_allclose(metric(real, fake, 5, memory_bytes=memory_bytes), metric(real, fake, 5), rtol=1e-9)
    np.testing.assert_allclose(
        knn_radii(real, 70, memory_bytes), knn_radii(real, 70), rtol=1e-9
    )  # k above a tile's side


def test_impossible_requests_are_refused():
    real, fake = PAIRS["gaussian"]
    with pytest.raises(ConfigurationError, match=r"k = 0.*metric\.k"):
        precision_recall(real, fake, 0)
    with pytest.raises(
        DataError, match=r"5 real features are too few.*at least 6.*metric\.reference_images.*metric\.k"
    ):
        realism(real[:5], fake, 5)
    with pytest.raises(DataError, match=r"5 fake features are too few.*sampler\.samples"):
        precision_recall(real, fake[:5], 5)
    with pytest.raises(DataError, match="dimension 6 and fake features 3"):
        membership(real, fake[:, :3], 5)
    with pytest.raises(NonFiniteError, match="real features has 0 NaN and 6 infinite"):
        rarity(np.where(np.arange(150)[:, None] == 2, np.inf, real), fake, 5)
    with pytest.raises(DataError, match="at least 4"):
        knn_radii(real[:3], 3)


@pytest.mark.parametrize("dimension", [3, 80])  # plain tiles, and screened ones
def test_one_pass_says_what_each_metric_says(dimension):
    """With copies of real samples among the fake ones, and reals that coincide."""
    source = torch.Generator().manual_seed(3)
    real, fake = (torch.randn(count, dimension, generator=source) for count in (90, 60))
    real[:10], fake[:7] = real[10:20], real[40:47]
    for memory_bytes in (2**15, 2**26):
        found = neighbourhood(real, fake, 3, memory_bytes=memory_bytes)
        assert torch.equal(found.realism_N, realism(real, fake, 3, memory_bytes=memory_bytes))
        assert torch.equal(found.membership_N, membership(real, fake, 3))
        whole = precision_recall(real, fake, 3)
        assert len(found.real_P) / (3 * len(fake)) == pytest.approx(whole.density)
        assert len(found.real_P.unique()) / len(real) == pytest.approx(whole.coverage)


@pytest.mark.parametrize("dimension", [3, 80])
def test_fellows_are_found_on_the_way(dimension):
    source = torch.Generator().manual_seed(5)
    real, fake = (torch.randn(count, dimension, generator=source) for count in (90, 60))
    for memory_bytes in (2**15, 2**26):
        found = neighbourhood(real, fake, 3, fellows=7, memory_bytes=memory_bytes).fellows
        alone = fellows_of(real, fake, 7, memory_bytes)
        assert torch.equal(found.squared_NJ, alone.squared_NJ) and torch.equal(found.index_NJ, alone.index_NJ)
        pairs = [
            {(start + place, real): squared for start, band in one.bands() for place, real, squared in zip(*band)}
            for one in (found, alone)
        ]
        assert pairs[0].keys() == pairs[1].keys() and len(pairs[0]) > 60
        assert pairs[0] == pytest.approx(pairs[1], rel=1e-9)
    assert neighbourhood(real, fake, 3).fellows is None


def test_reals_that_all_coincide_have_a_neighbourhood():
    """No ball is wider than the median."""
    found = neighbourhood(torch.ones(9, 2), torch.zeros(4, 2), 3)
    assert found.realism_N.tolist() == [0.0] * 4 and not found.membership_N.any()
