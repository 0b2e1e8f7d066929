"""Means and differences over seeds, beside scipy and beside simulations in which the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from genuq.analysis.seeds import Reading, difference, estimate


def readings(values, first: int = 0) -> dict[str, Reading]:
    return {str(first + seed): Reading(float(value)) for seed, value in enumerate(values)}


VALUES = np.random.default_rng(0).normal(0.6, 0.05, (40, 7))


@pytest.mark.parametrize("count", [2, 3, 7])
def test_mean_error_and_interval_are_those_of_scipy(count):
    values = VALUES[0, :count]
    found = estimate(readings(values))
    low, high = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    assert (found.n, found.source) == (count, "seeds")
    assert (found.mean, found.error) == pytest.approx((values.mean(), stats.sem(values)), rel=1e-12)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)


def test_one_seed_has_its_own_interval_and_no_standard_error():
    found = estimate({"3": Reading(0.6, 0.5, 0.75)})
    assert (found.n, found.mean, found.error, found.low, found.high, found.source) == (1, 0.6, None, 0.5, 0.75, "run")


@pytest.mark.parametrize("reading", [Reading(8.0), Reading(8.0, 7.0, None)])
def test_one_seed_without_an_interval_has_none(reading):
    found = estimate({"0": reading})
    assert (found.mean, found.low, found.high, found.source) == (8.0, None, None, "none")


def test_an_interval_ends_at_the_bounds_of_the_measure():
    free, bound = (estimate(readings([0.99, 0.1]), *bounds) for bounds in ([], [(0.0, 1.0)]))
    assert free.low < 0 and free.high > 1
    assert (bound.low, bound.high, bound.mean, bound.error) == (0.0, 1.0, free.mean, free.error)
    within = estimate(readings([0.5, 0.52]), (0.0, 1.0))
    assert within == estimate(readings([0.5, 0.52]))


def test_no_seed_is_no_estimate():
    assert estimate({}) is None


def test_shared_seeds_are_paired():
    ours, other = VALUES[1, :5], VALUES[2, :6]
    found, how = difference(readings(ours), readings(other))
    oracle = stats.ttest_rel(ours, other[:5]).confidence_interval(0.95)
    assert how == "paired"
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), rel=1e-10)
    assert found.value == pytest.approx((ours - other[:5]).mean(), rel=1e-12)


@pytest.mark.parametrize("first", [4, 9])
def test_other_seeds_are_compared_as_welch_does(first):
    """With one shared seed, too: one difference has no spread."""
    ours, other = VALUES[3, :5], VALUES[4, :3]
    found, how = difference(readings(ours), readings(other, first))
    oracle = stats.ttest_ind(ours, other, equal_var=False).confidence_interval(0.95)
    assert how == "welch"
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), rel=1e-10)


def test_single_runs_are_compared_by_their_own_intervals():
    """For symmetric intervals the method is that of independent normal errors."""
    ours, other = {"0": Reading(0.7, 0.6, 0.8)}, {"0": Reading(0.5, 0.45, 0.55)}
    found, how = difference(ours, other)
    reach = np.hypot(0.1, 0.05)
    assert how == "intervals"
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.2 - reach, 0.2 + reach), rel=1e-12)


def test_skewed_intervals_lend_the_side_that_looks_at_the_other():
    ours, other = {"0": Reading(1.0, 0.9, 5.0)}, {"0": Reading(0.0, -5.0, 0.1)}
    found, _ = difference(ours, other)
    assert found.low == pytest.approx(1 - np.hypot(0.1, 0.1))
    assert found.high == pytest.approx(1 + np.hypot(4.0, 5.0))
    back, _ = difference(other, ours)
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))


def test_single_runs_without_intervals_cannot_be_told_apart():
    assert difference({"0": Reading(1.0)}, {"0": Reading(2.0)}) == (None, "none")


def test_a_single_seed_varies_as_the_others_do():
    """The oracle is the slope of a regression on which of the two a value belongs to."""
    several = VALUES[5, :6]
    for sign, pair in ((1, (readings([0.8], 9), readings(several))), (-1, (readings(several), readings([0.8], 3)))):
        found, how = difference(*pair)
        oracle = stats.linregress([1, *[0] * 6], [0.8, *several])
        reach = stats.t.ppf(0.975, 5) * oracle.stderr
        assert how == "single"
        assert found.value == pytest.approx(sign * oracle.slope)
        assert found.high - found.value == pytest.approx(reach, rel=1e-9)
        assert found.value - found.low == pytest.approx(reach, rel=1e-9)


def test_equal_values_differ_by_nothing():
    found, _ = difference(readings([0.5, 0.6]), readings([0.5, 0.6]))
    assert (found.value, found.low, found.high) == (0, 0, 0)
    apart, _ = difference(readings([0.5, 0.5]), readings([0.4, 0.4], first=7))
    assert (apart.low, apart.high) == pytest.approx((0.1, 0.1))


def test_the_paired_interval_covers_the_true_difference_at_its_level():
    """Runs whose seed moves both: 95 % of 4,000 intervals hold the difference, and pairing makes them narrow."""
    source = np.random.default_rng(1)
    seeds = source.normal(0, 1.0, (4000, 5))
    ours, other = (seeds + source.normal(centre, 0.1, (4000, 5)) for centre in (0.3, 0.0))
    found = [difference(readings(a), readings(b))[0] for a, b in zip(ours, other)]
    covered = np.mean([interval.low <= 0.3 <= interval.high for interval in found])
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 4000))
    assert np.median([interval.high - interval.low for interval in found]) < 0.6
