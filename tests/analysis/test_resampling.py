"""Clusters are drawn whole and classes keep their sizes; the variance of a mean is that of its clusters' means."""

from __future__ import annotations

import numpy as np
import pytest

from genuq.analysis import Resampling


def drawn(resampling: Resampling, replicates: int = 200, seed: int = 0) -> np.ndarray:
    return np.concatenate(list(resampling.weights(replicates, seed)))


def test_each_sample_for_itself_is_the_plain_bootstrap():
    weights = drawn(Resampling(50), 4000)
    assert weights.shape == (4000, 50) and (weights.sum(1) == 50).all()
    assert weights.mean() == 1.0 and weights.var() == pytest.approx(49 / 50, abs=0.02)
    assert np.array_equal(weights, drawn(Resampling(50), 4000)) and not np.array_equal(
        weights, drawn(Resampling(50), 4000, seed=1)
    )


def test_clusters_are_drawn_whole():
    weights = drawn(Resampling(7, [5, 2, 5, 9, 2, 9, 9]))
    for first, second in ((0, 2), (1, 4), (3, 5), (5, 6)):
        assert np.array_equal(weights[:, first], weights[:, second])
    assert (weights[:, [0, 1, 3]].sum(1) == 3).all()


def test_clusters_within_a_class_keep_the_classes():
    classes = np.repeat([0, 1, 2], [10, 4, 6])
    clusters = np.arange(20) // 2
    weights = drawn(Resampling(20, clusters, classes))
    for label, size in enumerate((10, 4, 6)):
        assert (weights[:, classes == label].sum(1) == size).all()


def test_a_noise_seed_of_every_class_carries_its_classes_with_it():
    classes, clusters = np.tile(np.arange(4), 9), np.repeat(np.arange(9), 4)
    weights = drawn(Resampling(36, clusters, classes))
    assert all((weights[:, classes == label].sum(1) == 9).all() for label in range(4))
    assert (weights.reshape(200, 9, 4) == weights.reshape(200, 9, 4)[:, :, :1]).all()


def test_the_variance_of_a_mean_is_that_of_its_clusters():
    source = np.random.default_rng(0)
    clusters = np.repeat(np.arange(30), 5)
    values = source.normal(size=30)[clusters] + 0.2 * source.normal(size=150)
    weights = drawn(Resampling(150, clusters), 20_000)
    means = values.reshape(30, 5).mean(1)
    assert (weights @ values / 150).var() == pytest.approx(means.var() / 30, rel=0.05)
