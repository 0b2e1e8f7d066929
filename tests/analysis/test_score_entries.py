"""What stands in scores.json of one score: found by name, and intervals only where they are whole."""

from __future__ import annotations

import pytest

from genuq.analysis.intervals import Interval
from genuq.analysis.score_entries import NOTHING, Curve, IntervalRow
from support.made_evaluation import SCORE


def test_correlations_are_found_by_target_and_statistic():
    assert SCORE.correlation("realism", "spearman").interval.value == -0.5
    assert SCORE.correlation("realism", "kendall") is None


@pytest.mark.parametrize("row", [NOTHING, IntervalRow(0.5, None, 0.75), IntervalRow(0.5, 0.25, None)])
def test_an_interval_that_lacks_an_end_is_none(row):
    assert row.interval is None
    whole = Interval(0.5, 0.25, 0.75)
    assert IntervalRow.of(whole).interval == whole


def test_a_curve_gives_its_own_numbers_and_those_of_random_subsets_at_a_fraction():
    curve = Curve([1.0, 0.5], [4.0, 3.0], [3.5, 2.5], [4.5, 3.5], [4.0, 5.0], [3.0, 4.5], [5.0, 5.5])
    assert curve.at(1) == IntervalRow(3.0, 2.5, 3.5)
    assert curve.random_at(1) == IntervalRow(5.0, 4.5, 5.5)
