"""Rank correlations against scipy, and partial ones against least squares on explicit one-hot columns."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from genuq.analysis import Interval, Undefined, correlation
from genuq.analysis.correlation import Kendall, Spearman
from genuq.analysis.intervals import bootstrap_weights
from genuq.errors import ConfigurationError, DataError, NonFiniteError

COUNT = 60


def columns(seed: int = 0, tied: bool = False) -> tuple[np.ndarray, np.ndarray]:
    source = np.random.default_rng(seed)
    score = source.normal(size=COUNT)
    target = score + source.normal(size=COUNT)
    return (np.round(score), np.round(target)) if tied else (score, target)


ORACLES = {"spearman": scipy.stats.spearmanr, "kendall": scipy.stats.kendalltau}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("statistic", ORACLES)
def test_agrees_with_scipy(statistic, tied):
    score, target = columns(tied=tied)
    found = correlation(score, target, statistic, bootstrap=50)
    assert found.value == pytest.approx(ORACLES[statistic](score, target).statistic, abs=1e-12)
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("statistic", ORACLES)
def test_every_replicate_equals_scipy_on_repeated_samples(statistic, tied):
    score, target = columns(1, tied)
    weights = next(bootstrap_weights(COUNT, 5, seed=0))
    assert (weights.sum(1) == COUNT).all()
    no_classes = np.zeros(COUNT)
    measure = Kendall(score, target) if statistic == "kendall" else Spearman(score, target, no_classes, [])
    for found, counts in zip(measure(weights), weights.astype(int), strict=True):
        expected = ORACLES[statistic](np.repeat(score, counts), np.repeat(target, counts)).statistic
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kinds", [(2, 300), (300, 300), (7, 1), (300, 16)])
def test_kendall_counts_what_all_pairs_count_bit_for_bit(kinds):
    """The slow twin looks at every pair."""
    source = np.random.default_rng(5)
    score, target = (source.integers(0, kind, 300).astype(float) for kind in kinds)
    pairs = np.sign(score[:, None] - score) * np.sign(target[:, None] - target)
    weights = np.concatenate(list(bootstrap_weights(300, 7, seed=2)))
    untied = [
        np.einsum("bn,bm,nm->b", weights, weights, (values[:, None] != values).astype(float))
        for values in (score, target)
    ]
    with np.errstate(invalid="ignore"):
        expected = np.einsum("bn,bm,nm->b", weights, weights, pairs) / np.sqrt(untied[0] * untied[1])
        np.testing.assert_array_equal(Kendall(score, target)(weights), expected)


def brute_force_partial(score, target, classes, controls):
    design = [classes == label for label in np.unique(classes)] + [scipy.stats.rankdata(c) for c in controls]
    design = np.stack(design, axis=1).astype(float)

    def residual(values):
        ranks = scipy.stats.rankdata(values)
        return ranks - design @ np.linalg.lstsq(design, ranks, rcond=None)[0]

    return scipy.stats.pearsonr(residual(score), residual(target)).statistic


def test_partial_correlation_agrees_with_residual_ranks_also_in_replicates():
    source = np.random.default_rng(2)
    score, target = columns(2, tied=True)
    classes, controls = source.integers(0, 4, COUNT), [score + source.normal(size=COUNT), source.normal(size=COUNT)]
    found = correlation(score, target, "partial_spearman", classes=classes, controls=controls, bootstrap=20)
    assert found.value == pytest.approx(brute_force_partial(score, target, classes, controls), abs=1e-10)
    weights = next(bootstrap_weights(COUNT, 3, seed=1))
    for value, counts in zip(Spearman(score, target, classes, controls)(weights), weights.astype(int), strict=True):
        repeated = [np.repeat(values, counts) for values in (score, target, classes, *controls)]
        assert value == pytest.approx(brute_force_partial(*repeated[:3], repeated[3:]), abs=1e-10)


def test_partial_correlation_sees_through_a_common_cause():
    """Score and target both follow complexity and nothing else: the plain correlation is high, the partial one nil."""
    source = np.random.default_rng(3)
    complexity = source.normal(size=400)
    score, target = (complexity + source.normal(size=400) for _ in range(2))
    plain = correlation(score, target, "spearman", bootstrap=200)
    partial = correlation(score, target, "partial_spearman", controls=[complexity], bootstrap=200)
    assert plain.low > 0.3
    assert partial.low < 0 < partial.high


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """Spearman of a bivariate normal has a closed form: 6 / pi arcsin(rho / 2)."""
    rho, trials, covered = 0.6, 150, 0
    truth = 6 / np.pi * np.arcsin(rho / 2)
    for trial in range(trials):
        source = np.random.default_rng(100 + trial)
        score, noise = source.normal(size=(2, 120))
        found = correlation(score, rho * score + np.sqrt(1 - rho**2) * noise, bootstrap=200, seed=trial)
        covered += found.low <= truth <= found.high
    assert 0.88 <= covered / trials <= 0.99


def test_same_seed_same_interval_and_infinities_have_ranks():
    score, target = columns(4)
    assert correlation(score, target, seed=3) == correlation(score, target, seed=3)
    assert correlation(score, target, seed=3) != correlation(score, target, seed=4)
    lifted = np.where(target == target.max(), np.inf, target)
    for statistic in ORACLES:
        assert correlation(score, lifted, statistic, bootstrap=20) == correlation(
            score, target, statistic, bootstrap=20
        )


@pytest.mark.parametrize("statistic", ["spearman", "kendall", "partial_spearman"])
def test_no_variation_has_no_correlation(statistic):
    score, _ = columns()
    assert isinstance(correlation(score, np.ones(COUNT), statistic, bootstrap=10), Undefined)
    assert isinstance(correlation(np.ones(COUNT), score, statistic, bootstrap=10), Undefined)


def test_a_target_explained_by_the_controls_has_no_partial_correlation():
    score, target = columns()
    classes = np.arange(COUNT) % 3
    assert isinstance(correlation(score, classes, "partial_spearman", classes=classes, bootstrap=10), Undefined)
    assert isinstance(correlation(score, target, "partial_spearman", controls=[target], bootstrap=10), Undefined)
    assert isinstance(correlation(score, classes, "spearman", bootstrap=10), Interval)


def test_unusable_columns_are_named():
    score, target = columns()
    with pytest.raises(ConfigurationError, match="Did you mean 'spearman'"):
        correlation(score, target, "spearmann")
    with pytest.raises(DataError, match="'target' must be one number for each of 60"):
        correlation(score, target[1:])
    with pytest.raises(NonFiniteError, match="'score' is NaN for 1 of 60"):
        correlation(np.where(np.arange(COUNT) == 3, np.nan, score), target)
    assert correlation([1, 2], [2, 1]) == Undefined("2 samples are too few for a correlation")
