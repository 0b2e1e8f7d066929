"""The hierarchical bootstrap beside its variance in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from genuq.analysis import Interval, Resampling, TrainingSeed, Undefined, hierarchical_interval
from genuq.analysis.hierarchy import hierarchical_replicates
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
