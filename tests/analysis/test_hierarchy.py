"""The hierarchical bootstrap beside its variance in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from genuq.analysis import Interval, Resampling, TrainingSeed, Undefined, hierarchical_interval
from genuq.analysis.hierarchy import Drawn, hierarchical_replicates, pooled
from genuq.analysis.intervals import STANDARD_ERRORS
from genuq.errors import DataError


def mean_of(values: np.ndarray, clusters: np.ndarray | None = None) -> TrainingSeed:
    return TrainingSeed(lambda weights_BN: weights_BN @ values / weights_BN.sum(1), Resampling(len(values), clusters))


def trainings(spread: float, seeds: int = 4) -> list[np.ndarray]:
    source = np.random.default_rng(0)
    return [spread * source.normal() + source.normal(size=60 + 10 * seed) for seed in range(seeds)]


@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0])
def test_the_variance_is_that_of_seeds_and_of_samples_within(spread):
    values = trainings(spread)
    drawn = hierarchical_replicates([mean_of(one) for one in values], 20_000, 0)
    between = np.var([one.mean() for one in values]) / 4
    within = np.mean([one.var() / len(one) for one in values]) / 4
    assert drawn.mean() == pytest.approx(np.mean([one.mean() for one in values]), abs=5 * (drawn.var() / 20_000) ** 0.5)
    assert drawn.var() == pytest.approx(between + within, rel=0.05)


def test_the_interval_is_around_the_mean_of_the_seeds():
    values = trainings(1.0)
    found = hierarchical_interval([mean_of(one) for one in values], 4000)
    error = (np.var([one.mean() for one in values]) / 4) ** 0.5
    assert found.value == pytest.approx(np.mean([one.mean() for one in values]))
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.25)
    assert found == hierarchical_interval([mean_of(one) for one in values], 4000)


def test_samples_of_a_seed_may_come_in_clusters():
    clusters = np.repeat(np.arange(10), 6)
    values = [np.random.default_rng(seed).normal(size=10)[clusters] for seed in range(3)]
    apart = hierarchical_replicates([mean_of(one) for one in values], 4000, 0)
    together = hierarchical_replicates([mean_of(one, clusters) for one in values], 4000, 0)
    within = np.mean([one.var() / 10 for one in values]) / 3
    assert together.var() == pytest.approx(np.var([one.mean() for one in values]) / 3 + within, rel=0.1)
    assert apart.var() < together.var()


def test_one_seed_has_no_spread_and_a_seed_without_a_value_is_said():
    with pytest.raises(DataError, match="1 training seeds have no spread"):
        hierarchical_interval([mean_of(np.arange(5.0))])
    nowhere = TrainingSeed(lambda weights_BN: weights_BN.sum(1) * np.nan, Resampling(5))
    assert isinstance(hierarchical_interval([mean_of(np.arange(5.0)), nowhere]), Undefined)
    assert isinstance(hierarchical_interval([mean_of(np.arange(5.0))] * 2, 50), Interval)


def test_pooled_replicates_are_those_of_the_hierarchical_interval() -> None:
    """The same up to the noise of the draws, whether replicates are drawn as needed or beforehand."""
    source = np.random.default_rng(1)
    groups = [source.normal(shift, 1, 80) for shift in (0.0, 0.4, 0.9)]
    seeds = [TrainingSeed(lambda weights_BN, v=v: weights_BN @ v / weights_BN.sum(1), Resampling(80)) for v in groups]
    drawn = [
        Drawn(float(v.mean()), np.concatenate([*map(one.statistic, one.resampling.weights(4000, place))]))
        for place, (v, one) in enumerate(zip(groups, seeds))
    ]
    ours, wanted = pooled(drawn), hierarchical_interval(seeds, 4000)
    assert ours.interval.value == pytest.approx(wanted.value, abs=1e-12)
    assert (ours.interval.low, ours.interval.high) == pytest.approx((wanted.low, wanted.high), abs=0.03)
    alone = pooled(drawn[:1])
    assert alone.error == pytest.approx(groups[0].std() / np.sqrt(80), rel=0.05)
    assert alone.p(alone.interval.value) == pytest.approx(1.0)
    assert alone.p(alone.interval.value - STANDARD_ERRORS * alone.error) == pytest.approx(0.05)


def test_pooled_of_what_is_not_defined_is_undefined() -> None:
    assert isinstance(pooled([Drawn(float("nan"), np.ones(3))]), Undefined)
    assert isinstance(pooled([Drawn(0.5, np.full(3, np.nan))]), Undefined)
    assert pooled([Drawn(0.0, np.zeros(3))]).p() == 1.0


@pytest.mark.parametrize(("between", "within"), [(1.0, 0.01), (1.0, 1.0), (0.0, 1.0)])
def test_with_three_trainings_and_no_effect_one_p_value_in_twenty_is_below_a_twentieth(between, within) -> None:
    """Wherever the variation is; the bootstrap's own interval misses a quarter where it is all between trainings."""
    source, small, missed, covered = np.random.default_rng(2), 0, 0, 0
    for _ in range(600):
        values = between * source.normal(size=3) + within * source.normal(size=3)
        found = pooled([Drawn(value, value + within * source.normal(size=1000)) for value in values])
        small += found.p() < 0.05
        covered += not found.student.excludes(0)
        missed += found.interval.excludes(0)
    assert 0.02 <= small / 600 <= 0.09
    assert covered == 600 - small
    if within < between:
        assert 0.2 < missed / 600 < 0.3


def test_p_and_interval_over_trainings_are_those_of_students_test() -> None:
    values, source = [0.1, 0.35, 0.2], np.random.default_rng(0)
    found = pooled([Drawn(value, value + 0.01 * source.normal(size=50)) for value in values])
    wanted = ttest_1samp(values, 0)
    assert found.p() == pytest.approx(wanted.pvalue)
    assert (found.student.low, found.student.high) == pytest.approx(tuple(wanted.confidence_interval(0.95)))
    alone = pooled([Drawn(0.1, 0.1 + 0.01 * source.normal(size=50))])
    assert alone.student == alone.interval
