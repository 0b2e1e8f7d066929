"""Intervals beside scipy, and beside simulations in which the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from genuq.analysis.intervals import (
    Interval,
    Undefined,
    bootstrap_interval,
    bootstrap_weights,
    half_samples,
    percentile_interval,
    standard_interval,
    wilson_interval,
)


def mean_of(values: np.ndarray):
    return lambda weights_BN: weights_BN @ values / weights_BN.sum(1)


@pytest.mark.parametrize(("count", "replicates"), [(7, 1), (1000, 300)])
def test_bootstrap_weights_are_counts_of_as_many_draws(count, replicates):
    weights = np.concatenate(list(bootstrap_weights(count, replicates, seed=0)))
    assert weights.shape == (replicates, count) and (weights.sum(1) == count).all() and (weights >= 0).all()
    assert (weights == np.round(weights)).all()
    assert np.array_equal(weights, np.concatenate(list(bootstrap_weights(count, replicates, seed=0))))


def test_the_bootstrap_of_a_mean_is_the_normal_interval():
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap_interval(mean_of(values), 400, 4000, seed=0)
    error = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - error, abs=0.1 * error)
    assert found.high == pytest.approx(values.mean() + error, abs=0.1 * error)


def test_a_statistic_without_a_value_has_a_reason_and_replicates_without_one_are_left_out():
    assert isinstance(bootstrap_interval(lambda w: w[:, 0] * np.nan, 5, 10, 0), Undefined)
    found = bootstrap_interval(lambda w: np.where(w[:, 0] > 0, 2.0, np.nan), 5, 50, 0)
    assert (found.low, found.value, found.high) == (2.0, 2.0, 2.0)


def test_an_interval_holds_its_value_and_knows_what_it_excludes():
    found = percentile_interval(5.0, np.linspace(0, 4, 101))
    assert found.low == pytest.approx(0.1) and found.high == 5.0
    assert Interval(1.0, 0.5, 2.0).excludes(0.0) and Interval(1.0, 0.5, 2.0).excludes(3.0)
    assert not Interval(1.0, -0.5, 2.0).excludes(0.0)


def test_half_samples_are_sorted_halves_without_copies():
    halves = half_samples(11, 6, seed=3)
    assert len(halves) == 6 and all(len(rows) == 5 and (np.diff(rows) > 0).all() for rows in halves)
    assert len({tuple(rows) for rows in halves}) > 1


def test_the_spread_over_halves_is_the_standard_error_of_a_mean():
    values = np.random.default_rng(0).normal(size=1000)
    replicates = np.array([values[rows].mean() for rows in half_samples(1000, 800, seed=0)])
    low, high = standard_interval(np.array(0.0), replicates, np.array(-1.0), np.array(1.0))
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 1000**0.5, rel=0.1)
    low, high = standard_interval(np.array(0.0), replicates, np.array(-0.01), np.array(0.02))
    assert (low, high) == (-0.01, 0.02)


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (3, 7), (7, 7), (40, 120)])
def test_wilson_agrees_with_scipy(successes: int, trials: int) -> None:
    found = wilson_interval(successes, trials)
    assert isinstance(found, Interval) and found.value == successes / trials
    known = binomtest(successes, trials).proportion_ci(0.95, "wilson")
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-9)
