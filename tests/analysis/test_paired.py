"""Differences of AUROCs: DeLong beside the structural components of every pair, and intervals where truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from genuq.analysis import Undefined, auroc_difference, auroc_within, delong, delong_difference
from genuq.errors import DataError


def scored(seed: int, count: int = 90, effects: tuple[float, ...] = (1.0, 0.5)) -> tuple[np.ndarray, np.ndarray]:
    """K correlated scores (K, N), rounded so that there are ties, and which samples are bad."""
    source = np.random.default_rng(seed)
    bad = source.random(count) < 0.3
    shared = source.normal(size=count)
    return np.round([shared + source.normal(size=count) + 1.4 * effect * bad for effect in effects], 1), bad


def brute_force(scores: np.ndarray, bad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong's V10 and V01 from every pair of a bad and a good sample."""
    wins = np.array(
        [[[(x > y) + 0.5 * (x == y) for y in score[~bad]] for x in score[bad]] for score in scores]
    )  # (K, bad, good)
    covariance = np.cov(wins.mean(2)) / bad.sum() + np.cov(wins.mean(1)) / (~bad).sum()
    return wins.mean((1, 2)), covariance


def test_delong_is_that_of_all_pairs():
    scores, bad = scored(0, effects=(1.0, 0.5, 0.0))
    found = delong(scores, bad)
    aurocs, covariance = brute_force(scores, bad)
    np.testing.assert_allclose(found.aurocs_K, aurocs, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.covariance_KK, covariance, rtol=1e-10, atol=1e-15)
    assert found.aurocs_K[0] == pytest.approx(roc_auc_score(bad, scores[0]), abs=1e-12)


def test_the_difference_has_delongs_interval_and_p():
    scores, bad = scored(1)
    found = delong_difference(*scores, bad)
    aurocs, covariance = brute_force(scores, bad)
    error = (covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]) ** 0.5
    gap = aurocs[0] - aurocs[1]
    assert (found.interval.value, found.interval.low) == pytest.approx((gap, gap + norm.ppf(0.025) * error), abs=1e-10)
    assert found.p == pytest.approx(2 * norm.sf(abs(gap) / error), rel=1e-9)


def test_one_score_alone_has_a_variance_and_infinities_have_ranks():
    scores, bad = scored(2)
    moved = scores[:1].copy()
    moved[moved == moved.max()] = np.inf
    assert delong(moved, bad).covariance_KK == pytest.approx(delong(scores[:1], bad).covariance_KK)
    assert delong(moved, bad).covariance_KK.shape == (1, 1)


def test_a_score_does_not_differ_from_itself():
    scores, bad = scored(3)
    found = delong_difference(scores[0], np.exp(scores[0]), bad)
    assert (found.interval.value, found.interval.low, found.p) == pytest.approx((0, 0, 1), abs=1e-7)
    by_bootstrap = auroc_difference(scores[0], np.exp(scores[0]), bad, bootstrap=50)
    assert (by_bootstrap.value, by_bootstrap.low, by_bootstrap.high) == (0, 0, 0)


def test_too_few_of_either_kind():
    bad = np.arange(20) == 4
    assert delong([np.arange(20)], bad) == Undefined("1 bad and 19 good samples are too few for a variance")
    assert isinstance(delong_difference(np.arange(20), np.arange(20), bad), Undefined)
    assert isinstance(auroc_difference(np.arange(20), np.arange(20), bad & False), Undefined)
    with pytest.raises(DataError, match="each of 20 samples"):
        delong([np.arange(19)], bad)


def test_the_bootstrap_of_independent_samples_agrees_with_delong():
    scores, bad = scored(4, 600)
    ours, closed = auroc_difference(*scores, bad, bootstrap=4000), delong_difference(*scores, bad).interval
    assert ours.value == pytest.approx(closed.value, abs=1e-12)
    assert ours.high - ours.low == pytest.approx(closed.high - closed.low, rel=0.08)


def test_within_classes_only_pairs_of_one_class_count():
    scores, bad = scored(5)
    classes = np.arange(len(bad)) % 3
    found = auroc_difference(*scores, bad, classes=classes, within=True, bootstrap=20)
    apart = [auroc_within(score, bad, classes, bootstrap=20).value for score in scores]
    assert found.value == pytest.approx(apart[0] - apart[1], abs=1e-12)
    whole = auroc_difference(*scores, bad, classes=classes, bootstrap=20)
    assert whole.value == pytest.approx(roc_auc_score(bad, scores[0]) - roc_auc_score(bad, scores[1]), abs=1e-12)
    lonely = auroc_difference(*scores, bad, classes=bad, within=True)
    assert lonely == Undefined("no class has both bad and good samples")


def clustered(source: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """40 noise seeds, each with 6 samples that are bad or good together more often than not; scores of equal worth."""
    clusters = np.repeat(np.arange(40), 6)
    bad = source.normal(size=40)[clusters] + 0.5 * source.normal(size=240) > 0.6
    ours, other = (source.normal(size=40)[clusters] + 0.5 * source.normal(size=240) + bad for _ in range(2))
    return ours, other, bad, clusters


def test_intervals_hold_the_true_difference_at_their_level():
    """Two scores of equal worth: of 200 intervals about 95 % hold 0; where samples come in clusters, only those of the
    bootstrap that knows them do."""
    source = np.random.default_rng(6)
    independent = [delong_difference(*scored(seed, 150, (0.7, 0.7))[0], scored(seed, 150)[1]) for seed in range(200)]
    assert np.mean([found.interval.excludes(0) for found in independent]) == pytest.approx(0.05, abs=0.05)
    trials = [clustered(source) for _ in range(120)]
    known = [auroc_difference(a, b, bad, clusters=own, bootstrap=200).excludes(0) for a, b, bad, own in trials]
    unknown = [delong_difference(a, b, bad).interval.excludes(0) for a, b, bad, _ in trials]
    assert np.mean(known) < 0.13 < 0.2 < np.mean(unknown)
